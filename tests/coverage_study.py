"""How often the intervals of kapoc.stats cover and its tests raise a false alarm, by simulation.

`python tests/coverage_study.py --simulations 2000 --out reports/statistics.md`; minutes on one core. The settings of
the first table get five times as many simulations. `tests/coverage_report.py` makes the page.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from coverage_report import HOLM_CORRELATION, LEVEL, Family, Rates, Row, Study, render
from numpy.typing import NDArray

from kapoc.stats import Sample, holm, paired_difference, paired_sample, proportion, share_above, share_below
from kapoc.stats.evidence import MeanEvidence, evidence_of
from kapoc.stats.score import quantile

Floats = NDArray[np.float64]
HEADLINE_TIMES = 5


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
    """Shares of items that are gained and lost; `alone` of those that are alone in their cluster, if others."""

    name: str
    gained: float
    lost: float
    alone: tuple[float, float] | None = None

    def shares(self, layout: Layout) -> tuple[Floats, Floats]:
        """What is gained and lost in each cluster."""
        is_alone = np.array(layout.sizes) == 1
        gained, lost = self.alone or (self.gained, self.lost)
        return np.where(is_alone, gained, self.gained), np.where(is_alone, lost, self.lost)

    def truth(self, layout: Layout) -> float:
        """The mean difference of an item."""
        gained, lost = self.shares(layout)
        return float(np.average(gained - lost, weights=layout.sizes))


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


MIXED = Layout("29 x 16, 13 x 4, 120 x 1", (16,) * 29 + (4,) * 13 + (1,) * 120)
"""The answers that end by themselves: to probes of facts, and to off-topic prompts."""
MIXED_SETTINGS = (
    Setting("5% discordant, alone 5%", 0.025, 0.025, (0.025, 0.025)),
    Setting("2% discordant, alone 30% lost", 0.01, 0.01, (0.02, 0.3)),
    Setting("none lost, alone 30%", 0.0, 0.0, (0.02, 0.3)),
    Setting("10% lost, alone none", 0.0, 0.1, (0.0, 0.0)),
)
HEADLINE_LAYOUTS = (
    Layout("30 x 1", (1,) * 30, (0.0,)),
    Layout("29 x 4", (4,) * 29, (0.0, 0.3)),
    Layout("105 x 4", (4,) * 105, (0.0, 0.3)),
)
HEADLINE_SETTINGS = (
    Setting("no change, 10% discordant", 0.05, 0.05),
    Setting("small gain: 10% gained, 5% lost", 0.10, 0.05),
    Setting("small loss: 5% gained, 10% lost", 0.05, 0.10),
)


def changes(gained: Floats, lost: Floats, layout: Layout, correlation: float, generator: np.random.Generator) -> Floats:
    """Differences -1, 0 or 1 of shape (simulations, items), correlated within clusters.

    `gained` and `lost` are shares of each simulation, or of each of its clusters.
    A Pólya urn: an item repeats one of its cluster's earlier items with the chance that gives every pair of items the
    wanted correlation, and is drawn afresh otherwise.
    """
    num, largest = len(gained), max(layout.sizes)
    gained, lost = (share.reshape(num, -1, 1) for share in (gained, lost))
    drawn = generator.random((num, len(layout.sizes), largest))
    found = np.where(drawn < gained, 1.0, np.where(drawn > 1 - lost, -1.0, 0.0))
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


def measure_at_point(
    setting: Setting, layout: Layout, correlation: float, num: int, generator: np.random.Generator
) -> Row:
    """Simulate one setting at its point only."""
    gained, lost = (np.tile(share, (num, 1)) for share in setting.shares(layout))
    truth = setting.truth(layout)
    rows = changes(gained, lost, layout, correlation, generator)
    point = _rates([_judge(row, layout, truth, None) for row in rows])
    return Row(setting.name, layout.name, correlation, truth, point, point)


def measure_binary(
    setting: Setting, layout: Layout, correlation: float, num: int, generator: np.random.Generator
) -> Row:
    """Simulate one setting at its point and around it."""
    row = measure_at_point(setting, layout, correlation, num, generator)
    around = _binary_rates(*nearby(setting, layout, num, generator), layout, correlation, generator)
    return replace(row, nearby=around)


def _binary_rates(
    gained: Floats, lost: Floats, layout: Layout, correlation: float, generator: np.random.Generator
) -> Rates:
    rows = changes(gained, lost, layout, correlation, generator)
    return _rates([_judge(row, layout, truth, None) for row, truth in zip(rows, gained - lost, strict=True)])


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
    rates = _rates([_judge(row, layout, truth, weights) for row in values])
    return Row(f"continuous, {name}", layout.name, correlation, truth, rates, rates)


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
    found = evidence_of(replace(sample, is_share=False))
    assert isinstance(found, MeanEvidence)
    return abs(found.estimate - truth) <= quantile(found.degrees, 0.975) * found.error


def _rates(judged: Sequence[_Judged]) -> Rates:
    return Rates(*(float(np.mean([getattr(one, field.name) for one in judged])) for field in fields(Rates)))


def measure_share(share: float, layout: Layout, correlation: float, num: int, generator: np.random.Generator) -> Row:
    """Simulate a share of right answers, as a floor is asked of it."""
    near = nearby(Setting("", share, 0), layout, num, generator)[0]
    rates: list[Rates] = []
    for shares in (np.full(num, share), near):
        rows = changes(shares, np.zeros(num), layout, correlation, generator)
        rates.append(_rates([_judge_share(row, layout, truth) for row, truth in zip(rows, shares, strict=True)]))
    return Row(f"share {share:g}", layout.name, correlation, share, *rates)


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


def family_error(layout: Layout, num_met: int, num: int, generator: np.random.Generator) -> float:
    """How often Holm's method over six checks, the first of which are truly met, shows one that is not.

    The six: two of superiority, two of non-inferiority (5 points), a regression (5 points) and a gain of 10 points,
    all at the boundary of their hypotheses where they are not met and far beyond it where they are.
    """
    at_boundary = ((0.05, 0.05, 0.0), (0.2, 0.2, 0.0), (0.01, 0.06, -0.05), (0.0, 0.05, -0.05), (0.01, 0.06, -0.05))
    checks = (*at_boundary, (0.1, 0.0, 0.1))
    p_values = np.empty((num, len(checks)))
    for number, (gained, lost, threshold) in enumerate(checks):
        shares = (0.8, 0.0) if number < num_met else (gained, lost)
        rows = changes(np.full(num, shares[0]), np.full(num, shares[1]), layout, HOLM_CORRELATION, generator)
        for trial, row in enumerate(rows):
            before, after = (row < 0).astype(float).tolist(), (row > 0).astype(float).tolist()
            evidence = evidence_of(paired_sample(before, after, layout.clusters))
            is_regression = number == 4
            p_values[trial, number] = evidence.below(threshold) if is_regression else evidence.above(threshold)
    alarms = [min(holm(row.tolist())[num_met:]) <= LEVEL for row in p_values]
    return float(np.mean(alarms))


def measure_headline(layout: Layout, correlation: float, num: int, seed: int) -> list[Row]:
    """What a comparison meets, on one layout."""
    key = [seed, 400, sum(layout.sizes), round(100 * correlation)]
    rows = [
        measure_at_point(setting, layout, correlation, num, np.random.default_rng([*key, number]))
        for number, setting in enumerate(HEADLINE_SETTINGS)
    ]
    return [*rows, measure_continuous("normal", layout, correlation, num, np.random.default_rng([*key, 100]))]


def run(num: int, seed: int, report: Callable[[str], object]) -> Study:
    """All settings on all layouts, each with a generator of its own."""
    headline: list[Row] = []
    for layout in HEADLINE_LAYOUTS:
        for correlation in layout.correlations:
            report(f"{layout.name}, correlation {correlation:g}, {HEADLINE_TIMES} times\n")
            headline += measure_headline(layout, correlation, HEADLINE_TIMES * num, seed)
    differences, shares = _measure_rest(num, seed, report)
    families = [
        Family(layout.name, num_met, family_error(layout, num_met, num, np.random.default_rng([seed, 300, place])))
        for place, layout in enumerate(LAYOUTS)
        for num_met in (0, 3)
    ]
    return Study(num, HEADLINE_TIMES * num, seed, headline, differences, shares, families)


def _measure_rest(num: int, seed: int, report: Callable[[str], object]) -> tuple[list[Row], list[Row]]:
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
    for correlation in MIXED.correlations:
        report(f"{MIXED.name}, correlation {correlation:g}\n")
        for number, setting in enumerate(MIXED_SETTINGS):
            generator = np.random.default_rng([seed, 500, round(100 * correlation), number])
            differences.append(measure_at_point(setting, MIXED, correlation, num, generator))
    return differences, shares


def main() -> None:
    """Run the study and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    study = run(given.simulations, given.seed, sys.stderr.write)
    given.out.write_text(render(study), encoding="utf-8")


if __name__ == "__main__":
    main()
