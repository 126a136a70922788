"""What the coverage study found, and the page made of it: which claim holds where, and every number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
LOWEST, HIGHEST, MOST_ALARMS = 0.93, 0.97, 0.06
HOLM_CORRELATION = 0.3


@dataclass(frozen=True)
class Rates:
    """Shares of simulations, but for the width and the number of clusters, which are means.

    Attributes:
        covers, plain_t: the truth lies in the interval; in a cluster-robust t interval.
        two_sided, above, below: false alarms; `two_sided` counts only where the truth is no change.
        width: of the interval.
        informative: clusters that hold a changed item.
    """

    covers: float
    plain_t: float
    two_sided: float
    above: float
    below: float
    width: float
    informative: float


@dataclass(frozen=True)
class Row:
    """What one setting on one layout gave, at its point and over shares around it (else the point again)."""

    setting: str
    layout: str
    correlation: float
    truth: float
    point: Rates
    nearby: Rates

    @property
    def two_sided(self) -> float | None:
        """False alarms of the two-sided test; none where there is something to find."""
        return self.point.two_sided if abs(self.truth) < 1e-12 else None

    @property
    def alarms_at_point(self) -> tuple[float, float, float]:
        """Every test's false alarms at the point."""
        return self.point.above, self.point.below, self.two_sided or 0.0

    @property
    def alarms_nearby(self) -> tuple[float, float]:
        """The one-sided claims' false alarms around it."""
        return self.nearby.above, self.nearby.below


@dataclass(frozen=True)
class Family:
    """How often Holm's method over six checks, so many of which are truly met, showed one that is not."""

    layout: str
    num_met: int
    error: float


@dataclass(frozen=True)
class Study:
    """All rows: those at the sizes and changes of a comparison, from more simulations, and the rest."""

    num: int
    num_headline: int
    seed: int
    headline: list[Row]
    differences: list[Row]
    shares: list[Row]
    families: list[Family]


def render(study: Study) -> str:
    """The report: what holds where, what fell outside, and every number."""
    rows = study.differences + study.shares
    sections = [
        [
            "# Statistics: coverage and false alarms",
            f"Made by `python tests/coverage_study.py --simulations {study.num} --seed {study.seed}`: nominal 95% "
            "intervals,\none-sided and two-sided tests at 5%. All numbers in percent.",
        ],
        ["## In short", *_headline_in_short(study), *_rest_in_short(study, rows)],
        ["## How to read it", _how_to_read(study)],
        ["## At the sizes and changes a comparison has", *_headline(study)],
        ["## Beyond", *_outside(rows)],
        ["## Differences", _table(study.differences)],
        ["## Shares", _table(study.shares)],
        ["## Holm over six checks", *_holm(study.families)],
    ]
    return "\n\n".join(part for section in sections for part in section) + "\n"


def _headline_in_short(study: Study) -> list[str]:
    rows = study.headline
    coverages = [row.point.covers for row in rows]
    inside = sum(LOWEST <= coverage <= HIGHEST for coverage in coverages)
    alarms = [rate for row in rows for rate in row.alarms_at_point]
    return [
        "**At the sizes and changes a comparison has**: 30, 116 and 420 items, alone or four to a fact, 10 or 15% of\n"
        "them changed, or a continuous normal measure. Judged at each setting itself:",
        f"- {inside} of {len(rows)} settings cover within 93-97%, from {_percent(min(coverages))} to "
        f"{_percent(max(coverages))}.\n"
        f"- The highest false alarm of any test is {_percent(max(alarms))}.\n"
        f"- The highest family-wise error of Holm over six checks is "
        f"{_percent(max(family.error for family in study.families))}, on any of the sets.",
    ]


def _rest_in_short(study: Study, rows: list[Row]) -> list[str]:
    around = [rate for row in rows for rate in row.alarms_nearby]
    point = [rate for row in rows for rate in row.alarms_at_point]
    clearly = MOST_ALARMS + 2 * np.sqrt(MOST_ALARMS * (1 - MOST_ALARMS) / study.num)
    inside = sum(LOWEST <= row.nearby.covers <= HIGHEST for row in rows)
    return [
        f"**Beyond**: {len(rows)} settings that reach to few discordant items, few clusters of correlated items,\n"
        "shares near 0 and 1, and skewed weighted measures. There the 93-97% do not hold throughout:",
        f"- {inside} of {len(rows)} settings cover within 93-97% nearby; "
        f"{sum(row.nearby.covers < LOWEST for row in rows)} cover less, "
        f"{sum(row.nearby.covers > HIGHEST for row in rows)} more.\n"
        f"- Lowest coverage nearby: {_percent(min(row.nearby.covers for row in rows))}; at a point: "
        f"{_percent(min(row.point.covers for row in rows))}. The plain t interval's lowest: "
        f"{_percent(min(row.point.plain_t for row in rows))}.\n"
        f"- Highest false alarm nearby: {_percent(max(around))}; at a point: {_percent(max(point))}.\n"
        f"- Above 6% by more than two simulation errors: {sum(rate > clearly for rate in around)} of {len(around)} "
        f"nearby, {sum(rate > clearly for rate in point)} of {len(point)} at a point.",
    ]


def _how_to_read(study: Study) -> str:
    return (
        "- **covers**: how often the interval holds the truth. **plain t**: the same for a cluster-robust t interval,\n"
        "  which is what one would use without a score interval.\n"
        "- **two-sided**: false alarms of the sign-flip test, where there is truly no change on average.\n"
        "- **above**, **below**: false alarms of the one-sided claims with the truth exactly at their threshold:\n"
        "  superiority, non-inferiority or a floor (above), regression, equivalence's other half or a ceiling\n"
        "  (below).\n"
        "- **nearby**: the rate averaged over shares around the setting's (the rarer of changed and unchanged items\n"
        "  moves by up to half a cluster's worth). Counts are whole numbers, so at a single share any interval\n"
        "  wanders above and below its level; the average is what a score interval is judged by.\n"
        "  Continuous measures have no such neighbours; their number stands twice.\n"
        "- **ICC**: correlation of two items of one cluster. Correlated items come from a Pólya urn.\n"
        "- **clusters changed**: the mean number of clusters that hold a changed item (for shares: a wrong one).\n"
        f"- One standard error of simulation at 5% is {_noise(study.num_headline):.1f} in the first table "
        f"({study.num_headline:,} simulations a setting)\n  and {_noise(study.num):.1f} elsewhere ({study.num:,})."
    )


def _headline(study: Study) -> list[str]:
    lines = [
        "| setting | set | ICC | covers | two-sided | above | below |",
        "| --- | --- " + "| ---: " * 5 + "|",
    ]
    for row in study.headline:
        point = row.point
        rates = [_percent(rate) for rate in (point.covers, row.two_sided, point.above, point.below)]
        cells = [row.setting, row.layout, f"{row.correlation:g}", *rates]
        lines.append("| " + " | ".join(cells) + " |")
    outside = _named(
        study.headline,
        lambda row: not LOWEST <= row.point.covers <= HIGHEST or max(row.alarms_at_point) > MOST_ALARMS,
        lambda row: f"covers {_percent(row.point.covers)}, highest false alarm {_percent(max(row.alarms_at_point))}",
    )
    return ["\n".join(lines), "Outside 93-97%, or a false alarm above 6%:", outside]


def _outside(rows: list[Row]) -> list[str]:
    return [
        "### Cover less than 93%, at the point or nearby",
        _named(
            rows,
            lambda row: min(row.point.covers, row.nearby.covers) < LOWEST,
            lambda row: f"{_percent(row.point.covers)}, nearby {_percent(row.nearby.covers)}",
        ),
        "### False alarms above 6%, at the point or nearby",
        "Skewed differences whose mean is zero are not what a sign flip tests: that before and after could\n"
        "be exchanged.",
        _named(
            rows,
            lambda row: max(*row.alarms_at_point, *row.alarms_nearby) > MOST_ALARMS,
            lambda row: (
                f"above {_percent(row.point.above)}, nearby {_percent(row.nearby.above)}; "
                f"below {_percent(row.point.below)}, nearby {_percent(row.nearby.below)}"
                + ("" if row.two_sided is None else f"; two-sided {_percent(row.two_sided)}")
            ),
        ),
        "### Cautious: cover more than 97% nearby",
        "Few clusters changed, so that the correlation within them cannot be known and is taken as high, or so few\n"
        "discordant items that an interval can miss on one side only. Over few discordant items an interval must\n"
        "cover more: with 30 items of which 2% change, more than half of all samples (0.98^30 = 55%) hold no\n"
        "discordant item at all, and where the truth is no change an interval that then contains zero covers always.",
        _named(
            rows,
            lambda row: row.nearby.covers > HIGHEST,
            lambda row: f"{_percent(row.nearby.covers)}, {row.point.informative:.1f} clusters changed",
        ),
    ]


def _table(rows: Iterable[Row]) -> str:
    lines = [
        "| setting | set | ICC | truth | covers | nearby | plain t | two-sided | above | nearby | below | nearby "
        "| width | clusters changed |",
        "| --- | --- " + "| ---: " * 12 + "|",
    ]
    for row in rows:
        point, around = row.point, row.nearby
        rates = (point.covers, around.covers, point.plain_t, row.two_sided, point.above, around.above)
        cells = [row.setting, row.layout, f"{row.correlation:g}", f"{row.truth:+.2f}"]
        cells += [_percent(rate) for rate in (*rates, point.below, around.below)]
        lines.append("| " + " | ".join([*cells, f"{point.width:.3f}", f"{point.informative:.1f}"]) + " |")
    return "\n".join(lines)


def _holm(families: Iterable[Family]) -> list[str]:
    lines = ["| set | of them truly met | family-wise error |", "| --- | ---: | ---: |"]
    lines += [f"| {family.layout} | {family.num_met} | {_percent(family.error)} |" for family in families]
    asked = f"Two of superiority, two of non-inferiority, a regression, a gain of 10 points; ICC {HOLM_CORRELATION:g}."
    return [asked, "\n".join(lines)]


def _named(rows: Iterable[Row], is_named: Callable[[Row], bool], tell: Callable[[Row], str]) -> str:
    found = [f"- {r.setting}; {r.layout}, ICC {r.correlation:g}: {tell(r)}" for r in rows if is_named(r)]
    return "\n".join(found or ["- none"])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _noise(num: int) -> float:
    return float(100 * np.sqrt(LEVEL * (1 - LEVEL) / num))
