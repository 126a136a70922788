"""Intervals and tests by simulation, in small; `tests/coverage_study.py` is the whole study."""

import math

import numpy as np
import pytest
from coverage_report import HIGHEST, LOWEST, MOST_ALARMS
from coverage_study import (
    HEADLINE_LAYOUTS,
    MIXED,
    MIXED_SETTINGS,
    Layout,
    changes,
    measure_at_point,
    measure_headline,
)

from kapoc.stats import detectable_difference, difference_above, difference_below, paired_difference


@pytest.mark.parametrize(
    ("layout", "correlation"),
    [(layout, correlation) for layout in HEADLINE_LAYOUTS for correlation in layout.correlations],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_a_comparison_meets_is_covered_and_rarely_alarms(layout: Layout, correlation: float) -> None:
    """Coverage of 93-97% and at most 6% false alarms, each within two simulation errors."""
    num = 500
    for row in measure_headline(layout, correlation, num, seed=1):
        assert LOWEST - _error(LOWEST, num) <= row.point.covers <= HIGHEST + _error(HIGHEST, num), row
        assert max(row.alarms_at_point) <= MOST_ALARMS + _error(MOST_ALARMS, num), row


@pytest.mark.parametrize("correlation", MIXED.correlations)
def test_items_that_are_alone_are_not_taken_for_facts_that_differ(correlation: float) -> None:
    """Other shares of them change than of the items of facts; the truth is covered, and intervals stay narrow."""
    num = 300
    for number, setting in enumerate(MIXED_SETTINGS):
        row = measure_at_point(setting, MIXED, correlation, num, np.random.default_rng([2, number]))
        assert row.point.covers >= LOWEST - _error(LOWEST, num), row
        assert max(row.alarms_at_point) <= 0.09, row
        if correlation == 0 and setting.name.startswith("2%"):
            assert row.point.width < 0.07, row  # twice that where they are taken for such


def _error(rate: float, num: int) -> float:
    return 2 * math.sqrt(rate * (1 - rate) / num)


def test_a_set_shows_its_detectable_difference_four_times_in_five() -> None:
    generator, difference = np.random.default_rng(8), detectable_difference(200, 0.2)
    gained, lost = np.full(400, 0.1 + difference / 2), np.full(400, 0.1 - difference / 2)
    rows = changes(gained, lost, Layout("", (1,) * 200), 0.0, generator)
    shown = [difference_above((row < 0).tolist(), (row > 0).tolist(), range(200), 0.0).is_shown for row in rows]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(("gained", "lost"), [(0.05, 0.05), (0.2, 0.1), (0.0, 0.1), (0.9, 0.0)])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_intervals_cover_and_claims_at_their_threshold_stay_rare(
    gained: float, lost: float, correlation: float
) -> None:
    """Of 400 sets of 29 facts: within four simulation errors of 95%, or cautious; at most 9% alarms of nominal 5%."""
    layout, truth, num = Layout("29 x 4", (4,) * 29), gained - lost, 400
    rows = changes(np.full(num, gained), np.full(num, lost), layout, correlation, np.random.default_rng(9))
    covers, alarms = 0, np.zeros(3)
    for row in rows:
        before, after = (row < 0).astype(float).tolist(), (row > 0).astype(float).tolist()
        found = paired_difference(before, after, layout.clusters)
        covers += found.low <= truth <= found.high
        alarms += (
            difference_above(before, after, layout.clusters, truth).is_shown,
            difference_below(before, after, layout.clusters, truth).is_shown,
            found.p_value <= 0.05 and truth == 0,
        )
    assert covers / num >= 0.91
    assert (alarms / num <= 0.09).all()


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_continuous_intervals_cover(correlation: float) -> None:
    generator, clusters, num = np.random.default_rng(10), np.repeat(np.arange(10), 3), 400
    noise = np.sqrt(correlation) * generator.normal(size=(num, 10))[:, clusters]
    values = 0.2 + noise + np.sqrt(1 - correlation) * generator.normal(size=(num, 30))
    found = [paired_difference([0.0] * 30, row.tolist(), clusters.tolist()) for row in values]
    assert np.mean([one.low <= 0.2 <= one.high for one in found]) == pytest.approx(0.95, abs=0.035)
