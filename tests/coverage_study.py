"""How often the intervals of kapoc.stats cover and its tests raise a false alarm, by simulation.

`python tests/coverage_study.py --simulations 2000 --out reports/statistics.md`; minutes on one core.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kapoc.stats import Sample, holm, paired_difference, paired_sample, proportion, share_above, share_below
from kapoc.stats.evidence import MeanEvidence, evidence_of
from kapoc.stats.score import quantile

Floats = NDArray[np.float64]
LEVEL = 0.05
HOLM_CORRELATION = 0.3


@dataclass(frozen=True)
class Layout:
    """Clusters of a set, and the correlations within them that are tried."""

    name: str
    sizes: tuple[int, ...]
    correlations: tuple[float, ...] = (0.0, 0.3, 0.6)

    @property
    def clusters(self) -> list[int]:
        """The cluster of each item."""
        return [cluster for cluster, size in enumerate(self.sizes) for _ in range(size)]


@dataclass(frozen=True)
class Setting:
    """Shares of items that are gained and lost."""

    name: str
    gained: float
    lost: float


LAYOUTS = (
    Layout("30 x 1", (1,) * 30, (0.0,)),
    Layout("10 x 3", (3,) * 10),
    Layout("29 x 4", (4,) * 29),
    Layout("29 x 1-7", tuple(1 + number % 7 for number in range(29))),
    Layout("105 x 4", (4,) * 105),
)
SETTINGS = (
    Setting("no change, 2% discordant", 0.01, 0.01),
    Setting("no change, 5% discordant", 0.025, 0.025),
    Setting("no change, 10% discordant", 0.05, 0.05),
    Setting("no change, 40% discordant", 0.2, 0.2),
    Setting("small gain with churn", 0.10, 0.05),
    Setting("small loss with churn", 0.01, 0.04),
    Setting("2 points lost, none gained", 0.0, 0.02),
    Setting("5 points lost, none gained", 0.0, 0.05),
    Setting("before at 0, after .05", 0.05, 0.0),
    Setting("before at 0, after .15", 0.15, 0.0),
    Setting("before at 0, after .50", 0.5, 0.0),
    Setting("before at 0, after .90", 0.9, 0.0),
    Setting("before at 0, after .99", 0.99, 0.0),
)


@dataclass(frozen=True)
class Row:
    """What one setting on one layout gave; rates are shares of simulations."""

    setting: str
    layout: str
    correlation: float
    truth: float
    coverage: float
    nearby: float
    plain_t: float
    two_sided: float | None
    above: float
    above_nearby: float
    below: float
    below_nearby: float
    width: float
    informative: float


def changes(gained: Floats, lost: Floats, layout: Layout, correlation: float, generator: np.random.Generator) -> Floats:
    """Differences -1, 0 or 1 of shape (simulations, items), correlated within clusters.

    A Pólya urn: an item repeats one of its cluster's earlier items with the chance that gives every pair of items the
    wanted correlation, and is drawn afresh otherwise.
    """
    num, largest = len(gained), max(layout.sizes)
    drawn = generator.random((num, len(layout.sizes), largest))
    found = np.where(drawn < gained[:, None, None], 1.0, np.where(drawn > 1 - lost[:, None, None], -1.0, 0.0))
    for place in range(1, largest if correlation else 0):
        repeats = generator.random(found.shape[:2]) < place * correlation / (1 + (place - 1) * correlation)
        earlier = generator.integers(0, place, found.shape[:2])[..., None]
        source = np.take_along_axis(found[..., :place], earlier, axis=2)[..., 0]
        found[..., place] = np.where(repeats, source, found[..., place])
    kept = np.arange(largest) < np.array(layout.sizes)[:, None]
    return found[:, kept]


def nearby(setting: Setting, layout: Layout, num: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Shares around a setting's: the rarer of changed and unchanged moves by up to half a cluster's worth."""
    discordant = setting.gained + setting.lost
    rare = min(discordant, 1 - discordant)
    moved = rare + generator.uniform(-1, 1, num) * min(rare, 0.5 / len(layout.sizes))
    scale = (moved if discordant <= 0.5 else 1 - moved) / discordant
    return setting.gained * scale, setting.lost * scale


def measure_binary(
    setting: Setting, layout: Layout, correlation: float, num: int, generator: np.random.Generator
) -> Row:
    """Simulate one setting at its point and around it."""
    gained, lost = np.full(num, setting.gained), np.full(num, setting.lost)
    point = [
        _judge(row, layout, truth, weights=None)
        for row, truth in zip(changes(gained, lost, layout, correlation, generator), gained - lost, strict=True)
    ]
    gained, lost = nearby(setting, layout, num, generator)
    around = [
        _judge(row, layout, truth, weights=None)
        for row, truth in zip(changes(gained, lost, layout, correlation, generator), gained - lost, strict=True)
    ]
    return _row(setting.name, layout, correlation, setting.gained - setting.lost, point, around)


def measure_continuous(name: str, layout: Layout, correlation: float, num: int, generator: np.random.Generator) -> Row:
    """Simulate a continuous measure: normal differences, or skewed ones weighted by unequal sizes."""
    clusters, shape = np.array(layout.clusters), (num, sum(layout.sizes))
    shared = generator.normal(size=(num, len(layout.sizes)))[:, clusters]
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * generator.normal(size=shape)
    if name == "normal":
        values, truth, weights = noise, 0.0, None
    else:
        values, truth = np.exp(0.5 * noise) - np.exp(0.125), 0.0
        weights = list(generator.integers(200, 1800, shape[1]).astype(float))
    judged = [_judge(row, layout, truth, weights) for row in values]
    return _row(f"continuous, {name}", layout, correlation, truth, judged, judged)


@dataclass(frozen=True)
class _Judged:
    covers: bool
    plain_t: bool
    two_sided: bool
    above: bool
    below: bool
    width: float
    informative: int


def _judge(row: Floats, layout: Layout, truth: float, weights: Sequence[float] | None) -> _Judged:
    is_binary = weights is None and bool(np.isin(row, (-1, 0, 1)).all())
    before = (row < 0).astype(float).tolist() if is_binary else np.zeros(len(row)).tolist()
    after = (row > 0).astype(float).tolist() if is_binary else row.tolist()
    found = paired_difference(before, after, layout.clusters, weights)
    sample = paired_sample(before, after, layout.clusters, weights)
    evidence = evidence_of(sample)
    return _Judged(
        covers=found.low <= truth <= found.high,
        plain_t=_plain_t_covers(sample, truth),
        two_sided=found.p_value <= LEVEL,
        above=evidence.above(truth) <= LEVEL,
        below=evidence.below(truth) <= LEVEL,
        width=found.high - found.low,
        informative=len(np.unique(sample.clusters[sample.values != 0])),
    )


def _plain_t_covers(sample: Sample, truth: float) -> bool:
    found = evidence_of(replace(sample, is_binary=False))
    assert isinstance(found, MeanEvidence)
    return abs(found.estimate - truth) <= quantile(found.degrees, 0.975) * found.error


def _row(
    name: str, layout: Layout, correlation: float, truth: float, point: list[_Judged], around: list[_Judged]
) -> Row:
    def rate(judged: list[_Judged], attribute: str) -> float:
        return float(np.mean([getattr(one, attribute) for one in judged]))

    return Row(
        setting=name,
        layout=layout.name,
        correlation=correlation,
        truth=truth,
        coverage=rate(point, "covers"),
        nearby=rate(around, "covers"),
        plain_t=rate(point, "plain_t"),
        two_sided=rate(point, "two_sided") if abs(truth) < 1e-12 else None,
        above=rate(point, "above"),
        above_nearby=rate(around, "above"),
        below=rate(point, "below"),
        below_nearby=rate(around, "below"),
        width=rate(point, "width"),
        informative=rate(point, "informative"),
    )


def measure_share(share: float, layout: Layout, correlation: float, num: int, generator: np.random.Generator) -> Row:
    """Simulate a share of right answers, as a floor is asked of it."""
    near = nearby(Setting("", share, 0), layout, num, generator)[0]
    judged: list[list[_Judged]] = []
    for shares in (np.full(num, share), near):
        rows = changes(shares, np.zeros(num), layout, correlation, generator)
        judged.append([_judge_share(row, layout, truth) for row, truth in zip(rows, shares, strict=True)])
    return _row(f"share {share:g}", layout, correlation, share, *judged)


def _judge_share(row: Floats, layout: Layout, truth: float) -> _Judged:
    outcomes, clusters = row.tolist(), layout.clusters
    found = proportion(outcomes, clusters)
    sample = paired_sample([0.0] * len(outcomes), outcomes, clusters)
    return _Judged(
        covers=found.low <= truth <= found.high,
        plain_t=_plain_t_covers(sample, truth),
        two_sided=False,
        above=share_above(outcomes, clusters, truth).is_shown,
        below=share_below(outcomes, clusters, truth).is_shown,
        width=found.high - found.low,
        informative=len(np.unique(sample.clusters[row != 1])),
    )


def family_error(layout: Layout, num_false: int, num: int, generator: np.random.Generator) -> float:
    """How often Holm's method over six checks, the first of which are truly met, shows one that is not.

    The six: two of superiority, two of non-inferiority (5 points), a regression (5 points) and a gain of 10 points,
    all at the boundary of their hypotheses where they are not met and far beyond it where they are.
    """
    at_boundary = ((0.05, 0.05, 0.0), (0.2, 0.2, 0.0), (0.01, 0.06, -0.05), (0.0, 0.05, -0.05), (0.01, 0.06, -0.05))
    checks = (*at_boundary, (0.1, 0.0, 0.1))
    p_values = np.empty((num, len(checks)))
    for number, (gained, lost, threshold) in enumerate(checks):
        shares = (0.8, 0.0) if number < num_false else (gained, lost)
        rows = changes(np.full(num, shares[0]), np.full(num, shares[1]), layout, HOLM_CORRELATION, generator)
        for trial, row in enumerate(rows):
            before, after = (row < 0).astype(float).tolist(), (row > 0).astype(float).tolist()
            evidence = evidence_of(paired_sample(before, after, layout.clusters))
            is_regression = number == 4
            p_values[trial, number] = evidence.below(threshold) if is_regression else evidence.above(threshold)
    alarms = [min(holm(row.tolist())[num_false:]) <= LEVEL for row in p_values]
    return float(np.mean(alarms))


def run(
    num: int, seed: int, report: Callable[[str], object]
) -> tuple[list[Row], list[Row], list[tuple[str, int, float]]]:
    """All settings on all layouts, each with a generator of its own."""
    differences: list[Row] = []
    shares: list[Row] = []
    for place, layout in enumerate(LAYOUTS):
        for correlation in layout.correlations:
            key = [seed, place, round(100 * correlation)]
            report(f"{layout.name}, correlation {correlation:g}\n")
            for number, setting in enumerate(SETTINGS):
                generator = np.random.default_rng([*key, number])
                differences.append(measure_binary(setting, layout, correlation, num, generator))
            for number, name in enumerate(("normal", "skewed and weighted")):
                generator = np.random.default_rng([*key, 100 + number])
                differences.append(measure_continuous(name, layout, correlation, num, generator))
            for number, share in enumerate((0.02, 0.5, 0.9, 0.98)):
                generator = np.random.default_rng([*key, 200 + number])
                shares.append(measure_share(share, layout, correlation, num, generator))
    families = [
        (layout.name, num_false, family_error(layout, num_false, num, np.random.default_rng([seed, 300, place])))
        for place, layout in enumerate(LAYOUTS)
        for num_false in (0, 3)
    ]
    return differences, shares, families


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _table(rows: Iterable[Row]) -> list[str]:
    lines = [
        "| setting | set | ICC | truth | covers | nearby | plain t | two-sided | above | nearby | below | nearby "
        "| width | clusters changed |",
        "| --- | --- " + "| ---: " * 12 + "|",
    ]
    for row in rows:
        rates = (row.coverage, row.nearby, row.plain_t, row.two_sided, row.above, row.above_nearby)
        cells = [row.setting, row.layout, f"{row.correlation:g}", f"{row.truth:+.2f}"]
        cells += [_percent(rate) for rate in (*rates, row.below, row.below_nearby)]
        lines.append("| " + " | ".join([*cells, f"{row.width:.3f}", f"{row.informative:.1f}"]) + " |")
    return lines


def _named(rows: Iterable[Row], is_named: Callable[[Row], bool], tell: Callable[[Row], str]) -> list[str]:
    found = [f"- {r.setting}; {r.layout}, ICC {r.correlation:g}: {tell(r)}" for r in rows if is_named(r)]
    return found or ["- none"]


def render(
    num: int, seed: int, differences: list[Row], shares: list[Row], families: list[tuple[str, int, float]]
) -> str:
    """The report: what was simulated, what fell outside the bar, and every number."""
    rows = differences + shares
    noise = 100 * np.sqrt(LEVEL * (1 - LEVEL) / num)
    inside = sum(0.93 <= row.nearby <= 0.97 for row in rows)
    around = [rate for row in rows for rate in (row.above_nearby, row.below_nearby)]
    point = [rate for row in rows for rate in (row.above, row.below, row.two_sided or 0.0)]
    clearly = 0.06 + 2 * np.sqrt(0.06 * 0.94 / num)
    lines = [
        "# Statistics: coverage and false alarms",
        "",
        f"Made by `python tests/coverage_study.py --simulations {num} --seed {seed}`. Nominal 95%",
        "intervals, one-sided and two-sided tests at 5%; all numbers in percent, with a simulation error of about",
        f"{noise:.1f} (one standard error).",
        "",
        "- **covers**: how often the interval holds the truth. **plain t**: the same for a cluster-robust t interval,",
        "  which is what one would use without a score interval.",
        "- **two-sided**: false alarms of the sign-flip test, where there is truly no change on average.",
        "- **above**, **below**: false alarms of the one-sided claims with the truth exactly at their threshold:",
        "  superiority, non-inferiority or a floor (above), regression, equivalence's other half or a ceiling (below).",
        "- **nearby**: the rate averaged over shares around the setting's (the rarer of changed and unchanged items",
        "  moves by up to half a cluster's worth). Counts are whole numbers, so at a single share any interval wanders",
        "  above and below its level; the average is what a score interval is judged by.",
        "- **ICC**: correlation of two items of one cluster. Correlated items come from a Pólya urn.",
        "- **clusters changed**: the mean number of clusters that hold a changed item (for shares: a wrong one).",
        "",
        "## In short",
        "",
        f"- {inside} of {len(rows)} settings cover within 93-97% nearby; "
        f"{sum(row.nearby < 0.93 for row in rows)} cover less, {sum(row.nearby > 0.97 for row in rows)} more.",
        f"- Lowest coverage nearby: {_percent(min(row.nearby for row in rows))}; at a point: "
        f"{_percent(min(row.coverage for row in rows))}. The plain t interval's lowest: "
        f"{_percent(min(row.plain_t for row in rows))}.",
        f"- Highest false alarm nearby: {_percent(max(around))}; at a point: {_percent(max(point))}.",
        f"- Above 6% by more than two simulation errors: {sum(rate > clearly for rate in around)} of {len(around)} "
        f"nearby, {sum(rate > clearly for rate in point)} of {len(point)} at a point.",
        f"- Highest family-wise error of Holm over six checks: {_percent(max(error for *_, error in families))}.",
        "",
        "### Cover less than 93%, at the point or nearby",
        "",
        *_named(
            rows,
            lambda row: min(row.coverage, row.nearby) < 0.93,
            lambda row: f"{_percent(row.coverage)}, nearby {_percent(row.nearby)}",
        ),
        "",
        "### False alarms above 6%, at the point or nearby",
        "",
        "Skewed differences whose mean is zero are not what a sign flip tests: that before and after could be",
        "exchanged.",
        "",
        *_named(
            rows,
            lambda row: max(row.above, row.above_nearby, row.below, row.below_nearby, row.two_sided or 0) > 0.06,
            lambda row: (
                f"above {_percent(row.above)}, nearby {_percent(row.above_nearby)}; "
                f"below {_percent(row.below)}, nearby {_percent(row.below_nearby)}"
                + ("" if row.two_sided is None else f"; two-sided {_percent(row.two_sided)}")
            ),
        ),
        "",
        "### Cautious: cover more than 97% nearby",
        "",
        "Few clusters changed, so that the correlation within them cannot be known and is taken as high, or so few",
        "discordant items that an interval can miss on one side only.",
        "",
        *_named(
            rows,
            lambda row: row.nearby > 0.97,
            lambda row: f"{_percent(row.nearby)}, {row.informative:.1f} clusters changed",
        ),
        "",
        "## Differences",
        "",
        *_table(differences),
        "",
        "## Shares",
        "",
        *_table(shares),
        "",
        "## Holm over six checks",
        "",
        f"Two of superiority, two of non-inferiority, a regression, a gain of 10 points; ICC {HOLM_CORRELATION:g}.",
        "",
        "| set | of them truly met | family-wise error |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {num_false} | {_percent(error)} |" for name, num_false, error in families),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the study and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    report = render(given.simulations, given.seed, *run(given.simulations, given.seed, sys.stderr.write))
    given.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
