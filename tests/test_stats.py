"""Statistics against closed forms, published values and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binomtest

from kapoc.stats import paired_difference


def test_no_change_is_no_difference() -> None:
    found = paired_difference([1, 0, 1], [1, 0, 1], ["a", "b", "c"])
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_all_gained_is_a_difference_of_one() -> None:
    found = paired_difference([0] * 10, [1] * 10, range(10))
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    assert found.p_value == pytest.approx(2 / 2**10)


def test_single_clusters_give_the_exact_sign_test() -> None:
    before, after = [0] * 8 + [1] * 2 + [1] * 5, [1] * 8 + [0] * 2 + [1] * 5
    found = paired_difference(before, after, range(15))
    assert found.p_value == pytest.approx(binomtest(8, 10).pvalue)


def test_permutation_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    before, after = generator.normal(size=60), generator.normal(0.25, size=60)
    found = paired_difference(list(before), list(after), range(60))
    expected = scipy_stats.permutation_test(
        (after - before,), np.sum, permutation_type="samples", n_resamples=20_000, rng=2
    )
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_clusters_count_not_items() -> None:
    """Ten identical items of each of four facts are four observations."""
    before, after, facts = [0.0] * 40, [1.0] * 40, [number // 10 for number in range(40)]
    assert paired_difference(before, after, facts).p_value == pytest.approx(2 / 2**4)


def test_weights_are_what_an_item_counts() -> None:
    found = paired_difference([0, 0], [1, 0], ["a", "b"], weights=[3, 1])
    assert found.mean == pytest.approx(0.75)


def test_the_interval_covers_in_clustered_data() -> None:
    """Nominal 95% over 30 clusters of 4 with a shared cluster effect; the bootstrap is known to run a little short."""
    generator, truth, hits, trials = np.random.default_rng(7), 0.2, 0, 300
    for trial in range(trials):
        effect = np.repeat(generator.normal(truth, 0.5, size=30), 4)
        change = effect + generator.normal(0, 0.3, size=120)
        found = paired_difference([0.0] * 120, list(change), list(np.repeat(np.arange(30), 4)), seed=trial)
        hits += found.low <= truth <= found.high
    assert 0.90 <= hits / trials <= 0.98


def test_false_alarms_are_rare_when_nothing_changed() -> None:
    generator, alarms, trials = np.random.default_rng(11), 0, 300
    for trial in range(trials):
        change = np.repeat(generator.normal(0, 0.5, size=20), 3) + generator.normal(0, 0.3, size=60)
        found = paired_difference([0.0] * 60, list(change), list(np.repeat(np.arange(20), 3)), seed=trial)
        alarms += found.p_value <= 0.05
    assert alarms / trials <= 0.09


@pytest.mark.parametrize(("before", "after", "clusters"), [([], [], []), ([1], [1, 2], [1]), ([1], [1], [])])
def test_what_cannot_be_paired_is_refused(before: list[float], after: list[float], clusters: list[int]) -> None:
    with pytest.raises(ValueError, match="equally many items"):
        paired_difference(before, after, clusters)
