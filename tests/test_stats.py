"""Statistics against closed forms, published values, scipy's and statsmodels' numbers, and simulation."""

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as scipy_stats

from kapoc.stats import (
    DEFAULT_CORRELATION,
    benjamini_hochberg,
    detectable_difference,
    detectable_level,
    detectable_margin,
    difference_above,
    difference_below,
    estimate_design,
    holm,
    mcnemar_exact,
    paired_difference,
    paired_sample,
    proportion,
    seed_summary,
    share_above,
    share_below,
    smallest_difference,
)
from kapoc.stats.evidence import MeanEvidence, evidence_of
from kapoc.stats.score import restricted_loss, tango_score

Pairs = tuple[list[float], list[float], list[int]]


def pairs(gained: int, lost: int, num_items: int, items_per_cluster: int = 1) -> Pairs:
    """Binary outcomes with so many items gained, then lost, then wrong both times."""
    before = [0.0] * gained + [1.0] * lost + [0.0] * (num_items - gained - lost)
    after = [1.0] * gained + [0.0] * lost + [0.0] * (num_items - gained - lost)
    return before, after, [number // items_per_cluster for number in range(num_items)]


def mean_evidence(change: list[float], clusters: list[int], weights: list[float] | None = None) -> MeanEvidence:
    """The evidence of continuous differences."""
    found = evidence_of(paired_sample([0.0] * len(change), change, clusters, weights))
    assert isinstance(found, MeanEvidence)
    return found


@pytest.mark.parametrize(
    ("gained", "lost", "num_items", "confidence", "low", "high"),
    [
        (6, 16, 161, 0.95, -0.1240, -0.0054),  # Cavo et al. 2012, in Fagerland et al. (2014), Stat. Med. 33:2850
        (1, 7, 21, 0.95, -0.517, -0.026),  # Bentur et al. 2009, in the same
        (48, 41, 549, 0.90, -0.0157, 0.0414),  # R's PropCIs::scoreci.mp
    ],
)
def test_tangos_interval_has_the_published_limits(
    gained: int, lost: int, num_items: int, confidence: float, low: float, high: float
) -> None:
    found = paired_difference(*pairs(gained, lost, num_items), confidence=confidence)
    assert (round(found.low, 4), round(found.high, 4)) == pytest.approx(
        (low, high), abs=6e-4 if low == -0.517 else 6e-5
    )


@pytest.mark.parametrize("num_items", [30, 116, 200, 420])
def test_no_discordant_item_proves_only_so_much(num_items: int) -> None:
    """Tango (1998), equation 29: plus and minus z² / (n + z²)."""
    z = scipy_stats.norm.ppf(0.975)
    found = paired_difference(*pairs(0, 0, num_items))
    assert (found.low, found.high) == pytest.approx((-(z**2) / (num_items + z**2), z**2 / (num_items + z**2)))
    assert (found.mean, found.p_value) == (0, 1)


def test_two_hundred_items_without_a_flip_prove_minus_one_point_three() -> None:
    found = difference_above(*pairs(0, 0, 200), threshold=-0.0134)
    assert found.low == pytest.approx(-0.01335, abs=5e-6)
    assert found.is_shown
    assert not difference_above(*pairs(0, 0, 200), threshold=-0.0133).is_shown
    assert detectable_margin(200, 0.0) == pytest.approx(-found.low)
    z_squared = scipy_stats.norm.ppf(0.95) ** 2
    assert detectable_margin(116 / 2.8, 0.0) == pytest.approx(z_squared / (116 / 2.8 + z_squared))


def test_all_gained_keeps_a_width_and_counts_clusters() -> None:
    """Tango's lower limit for n of n gained: (n - z²) / (n + z²)."""
    alone, together = paired_difference(*pairs(116, 0, 116)), paired_difference(*pairs(116, 0, 116, 4))
    z = scipy_stats.norm.ppf(0.975)
    assert alone.high == together.high == 1
    assert alone.low == pytest.approx((116 - z**2) / (116 + z**2))
    assert together.low < alone.low
    design = estimate_design(paired_sample(*pairs(116, 0, 116, 4)))
    assert design.correlation == DEFAULT_CORRELATION
    assert design.effective_items == pytest.approx(116 / (1 + 3 * DEFAULT_CORRELATION))


def test_gains_and_losses_are_mirror_images() -> None:
    before, after, clusters = pairs(9, 4, 60, 3)
    first, second = paired_difference(before, after, clusters), paired_difference(after, before, clusters)
    assert (first.low, first.high) == pytest.approx((-second.high, -second.low))


def test_a_cluster_that_moves_as_one_is_one_observation() -> None:
    """Twenty facts of four questions, ten of them wholly gained: as twenty items of which ten are gained."""
    whole = estimate_design(paired_sample(*pairs(40, 0, 80, 4)))
    assert whole.effective_items == pytest.approx(20, abs=0.4)
    spread = paired_sample([0.0] * 80, [1.0, 0.0, 0.0, 0.0] * 20, [number // 4 for number in range(80)])
    assert estimate_design(spread).effective_items == 80
    one = estimate_design(paired_sample(*pairs(4, 0, 8, 8)))
    assert (one.effective_items, one.correlation) == (1, 1)


def test_the_correlation_is_that_of_the_analysis_of_variance() -> None:
    values, sizes = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1.0]), [4, 4, 4, 4]
    groups = np.split(values, np.cumsum(sizes)[:-1])
    f_value = scipy_stats.f_oneway(*groups).statistic
    estimate = (f_value - 1) / (f_value + 3)
    found = estimate_design(paired_sample([0.0] * 16, values.tolist(), [number // 4 for number in range(16)]))
    assert found.num_informative == 4
    assert found.correlation == pytest.approx(0.8 * estimate + 0.2)


def test_where_ten_clusters_say_little_the_correlation_is_drawn_to_the_one_that_is_assumed() -> None:
    values = 4 * [1.0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0]
    f_value = scipy_stats.f_oneway(*np.split(np.array(values), 12)).statistic
    trust = 12**2 / (12**2 + 2**2)
    expected = trust * (f_value - 1) / (f_value + 3) + (1 - trust) * DEFAULT_CORRELATION
    found = estimate_design(paired_sample([0.0] * 48, values, [number // 4 for number in range(48)]))
    assert found.correlation == pytest.approx(expected)


def test_the_degrees_of_a_design_effect_are_those_of_the_correlations_variance() -> None:
    """Fisher's variance of the correlation of three clusters of four, and what it does to the design effect."""
    found = estimate_design(
        paired_sample([0.0] * 12, [1.0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], [n // 4 for n in range(12)])
    )
    r = found.correlation
    spread = (1 - r) * (1 + 3 * r) * (3 * 4**2 - 12) / ((1 - r) * 12 + r * 3 * 4**2)
    assert 0 < r < 1
    assert found.degrees == pytest.approx(4 * 3 * 2 / spread**2)


@pytest.mark.parametrize("facts", [2, 3, 5, 9])
def test_few_facts_that_are_all_right_count_as_facts_and_not_as_questions(facts: int) -> None:
    """Facts that are learned as wholes: Wilson's and Tango's bounds for as many items."""
    clusters = [number // 5 for number in range(5 * facts)]
    right, nothing = [1.0] * len(clusters), [0.0] * len(clusters)
    assert share_above(right, clusters, 0.8).low == pytest.approx(share_above([1.0] * facts, range(facts), 0.8).low)
    assert not share_above(right, clusters, 0.8).is_shown
    gained = difference_above(nothing, right, clusters, 0.0)
    assert gained.low == pytest.approx(difference_above([0.0] * facts, [1.0] * facts, range(facts), 0.0).low)


def test_false_alarms_of_a_floor_stay_rare_with_six_facts_that_are_learned_as_wholes() -> None:
    generator, clusters = np.random.default_rng(12), [number // 5 for number in range(30)]
    for share in (0.5, 0.7, 0.8):
        facts = (generator.random((400, 6)) < share).astype(float)
        shown = [share_above(np.repeat(row, 5).tolist(), clusters, share).is_shown for row in facts]
        assert np.mean(shown) <= 0.06


def test_an_item_that_changes_by_a_part_counts_as_that_part() -> None:
    before, after, clusters = pairs(8, 4, 60)
    halves = [0.5 * number for number in before], [0.5 * number for number in after]
    found = paired_difference(*halves, clusters, shares=True)
    whole = paired_difference(*pairs(4, 2, 60))
    assert (found.low, found.high) == pytest.approx((whole.low, whole.high))
    assert found.mean == pytest.approx(2 / 60)


@pytest.mark.parametrize("outcomes", [[0.4, 0.5, 1.0], [0.4, 0.4, 0.4], [0.0, 0.0, 1.0], [0.5, 1.0, 1.0]])
def test_three_scores_that_did_not_change_prove_as_little_whatever_they_are(outcomes: list[float]) -> None:
    found = difference_above(outcomes, outcomes, range(3), -0.01, shares=True)
    assert not found.is_shown
    assert (found.low, found.high) == pytest.approx((-0.4742, 0.4742), abs=5e-4)  # z² / (n + z²)


def test_no_bound_of_fractional_scores_lies_beyond_what_they_can_be() -> None:
    found = paired_difference([0.0, 0.5, 0.0], [1.0, 0.9, 0.2], range(3), shares=True)
    assert -1 <= found.low < found.mean < found.high <= 1


def test_gains_and_losses_that_cancel_have_the_largest_p_value_whatever_the_rounding() -> None:
    """0.9 + 0.5 - 0.9 - 0.5 is not quite 0 in floating point."""
    found = paired_difference([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], range(4), [0.9, 0.5, 0.9, 0.5])
    assert found.p_value == 1
    assert paired_difference([0.0] * 4, [1.0] * 4, range(4), [0.9, 0.5, 0.9, 0.5]).p_value == 2 / 2**4


def test_symmetric_continuous_differences_get_students_t() -> None:
    half = np.random.default_rng(3).normal(0, 1, size=12)
    change = 0.1 + np.concatenate([half, [0], -half])
    found = paired_difference([0.0] * 25, change.tolist(), range(25))
    expected = scipy_stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("scale", [1e-110, 1e-160, 1e-300])
def test_tiny_continuous_differences_are_told_apart_as_large_ones_are(scale: float) -> None:
    change = [0.0, 1.0, 3.0, 0.5, 2.0]
    found, large = (mean_evidence([by * number for number in change], list(range(5))) for by in (scale, 1.0))
    assert found.estimate == pytest.approx(scale * large.estimate, rel=1e-9, abs=0)
    if scale > 1e-150:  # else the square of an error is no number any more
        assert (found.skewness, found.error) == pytest.approx((large.skewness, scale * large.error), rel=1e-6, abs=0)


def test_skewed_continuous_differences_get_a_longer_interval_on_that_side() -> None:
    change = np.random.default_rng(5).exponential(size=30)
    found = paired_difference([0.0] * 30, change.tolist(), range(30))
    expected = scipy_stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low)
    assert found.high > expected.high + 0.02


def test_equal_clusters_get_the_error_and_degrees_of_their_means() -> None:
    change = np.random.default_rng(4).normal(0.1, 1, size=(12, 5))
    found = mean_evidence(change.ravel().tolist(), [number // 5 for number in range(60)])
    assert (found.error, found.degrees) == pytest.approx((scipy_stats.sem(change.mean(axis=1)), 11))


def test_unequal_weights_cost_degrees_of_freedom_as_bell_and_mccaffrey_say() -> None:
    """Against the definition, with matrices."""
    weights, change = np.array([1.0, 2, 3, 10, 4]), np.array([0.3, -0.1, 0.8, 0.2, 0.5])
    share = weights / weights.sum()
    residual = np.eye(5) - np.outer(np.ones(5), share)
    form = residual.T @ np.diag(share**2 / np.diag(residual @ residual.T)) @ residual
    assert np.trace(form) == pytest.approx(share @ share)
    found = mean_evidence(change.tolist(), list(range(5)), weights.tolist())
    assert found.estimate == pytest.approx(share @ change)
    assert found.error**2 == pytest.approx(change @ form @ change)
    assert found.degrees == pytest.approx(np.trace(form) ** 2 / np.trace(form @ form))


def test_weights_are_what_an_item_counts() -> None:
    assert paired_difference([0, 0], [1, 0], ["a", "b"], weights=[3, 1]).mean == pytest.approx(0.75)
    evenly = paired_difference(*pairs(5, 1, 40, 2), weights=[7.0] * 40)
    plain = paired_difference(*pairs(5, 1, 40, 2))
    assert (evenly.low, evenly.high) == pytest.approx((plain.low, plain.high))


def test_a_continuous_measure_of_one_cluster_proves_nothing() -> None:
    found = paired_difference([0.5, 0.2], [0.7, 0.1], ["a", "a"])
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_single_clusters_give_the_exact_sign_test() -> None:
    found = paired_difference(*pairs(8, 2, 15))
    assert found.p_value == pytest.approx(scipy_stats.binomtest(8, 10).pvalue) == pytest.approx(mcnemar_exact(8, 2))
    assert mcnemar_exact(9, 2) == pytest.approx(0.0654296875)  # statsmodels.stats.contingency_tables.mcnemar
    assert mcnemar_exact(0, 0) == mcnemar_exact(3, 3) == 1


def test_whole_cluster_sums_are_flipped_exactly() -> None:
    """Against all 2^10 sign patterns."""
    steps = np.array([4, 3, 3, 2, 1, 1, -1, 2, -3, 4])
    signs = 2 * ((np.arange(2**10)[:, None] >> np.arange(10)) & 1) - 1
    expected = np.mean(np.abs(signs @ np.abs(steps)) >= abs(steps.sum()))
    before = [float(place < -step) for step in steps for place in range(4)]
    after = [float(place < step) for step in steps for place in range(4)]
    found = paired_difference(before, after, [number // 4 for number in range(40)])
    assert found.p_value == pytest.approx(expected)


def test_permutation_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    before, after = generator.normal(size=60), generator.normal(0.25, size=60)
    found = paired_difference(list(before), list(after), range(60))
    expected = scipy_stats.permutation_test(
        (after - before,), np.sum, permutation_type="samples", n_resamples=20_000, rng=2
    )
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert found == paired_difference(list(before), list(after), range(60))


@pytest.mark.parametrize(
    ("after", "weights", "shares"),
    [
        ([1.0] * 6, [0.5] * 6, None),  # whose totals are no whole numbers
        ([0.5] * 6, None, True),
        ([0.1, 0.2, 0.3, 0.7, 1.1], None, False),  # whose sum depends on the order in which it is made
    ],
)
def test_where_all_clusters_moved_one_way_two_of_all_sign_patterns_are_as_extreme(
    after: list[float], weights: list[float] | None, shares: bool | None
) -> None:
    found = paired_difference([0.0] * len(after), after, range(len(after)), weights, shares=shares)
    assert found.p_value == pytest.approx(2 / 2 ** len(after))


def test_random_flips_count_the_one_that_was_seen() -> None:
    """Of 2^30 patterns two are as extreme, which 10,000 random ones miss: they cannot say less than 1 in 10,001."""
    found = paired_difference([0.0] * 30, [1 + number / 7 for number in range(30)], range(30))
    assert found.p_value == 1 / 10_001


def test_clusters_count_not_items() -> None:
    """Ten identical items of each of four facts are four observations."""
    before, after, facts = [0.0] * 40, [1.0] * 40, [number // 10 for number in range(40)]
    assert paired_difference(before, after, facts).p_value == pytest.approx(2 / 2**4)


@pytest.mark.parametrize("weights", [None, [1.0 + number % 3 for number in range(60)]])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_a_claim_is_shown_exactly_where_its_bound_says_so(weights: list[float] | None, scale: float) -> None:
    before, after, clusters = pairs(9, 2, 60, 3)
    after = [scale * value for value in after]
    found = difference_above(before, after, clusters, 0.0, weights)
    at_low = difference_above(before, after, clusters, found.low, weights)
    at_high = difference_below(before, after, clusters, found.high, weights)
    assert at_low.p_value == pytest.approx(0.05, rel=1e-6)
    assert at_high.p_value == pytest.approx(0.05, rel=1e-6)
    assert found.low < found.estimate < found.high


def test_a_loss_is_the_gain_of_the_other_order() -> None:
    before, after, clusters = pairs(2, 6, 100)
    found = difference_above(before, after, clusters, 0.0)
    assert found.p_value == pytest.approx(scipy_stats.norm.sf((2 - 6) / math.sqrt(8)))
    for threshold in (-0.1, -0.02, 0.0, 0.1):
        above = difference_above(before, after, clusters, threshold)
        below = difference_below(after, before, clusters, -threshold)
        assert above.p_value == pytest.approx(below.p_value)
        assert (above.low, above.high) == pytest.approx((-below.high, -below.low))


def test_skewness_takes_evidence_away_and_never_adds_any() -> None:
    """Six gained of 30 against a true tenth: Wilson's score says p = .034, the binomial distribution .073."""
    found = difference_above(*pairs(6, 0, 30), threshold=0.1)
    assert scipy_stats.norm.sf((0.2 - 0.1) / math.sqrt(0.1 * 0.9 / 30)) == pytest.approx(0.034, abs=5e-4)
    assert 0.05 < found.p_value < scipy_stats.binom.sf(5, 30, 0.1)
    skewed = (np.random.default_rng(5).exponential(size=30) - 0.5).tolist()
    t_test = scipy_stats.ttest_1samp(skewed, 1.0, alternative="less").pvalue
    assert difference_below([0.0] * 30, skewed, range(30), 1.0).p_value > t_test
    t_test = scipy_stats.ttest_1samp(skewed, 0.2, alternative="greater").pvalue
    assert difference_above([0.0] * 30, skewed, range(30), 0.2).p_value == pytest.approx(t_test)


@pytest.mark.parametrize(
    ("successes", "num_items", "low", "high"),  # statsmodels.stats.proportion.proportion_confint(method="wilson")
    [
        (0, 20, 0.0, 0.1611251580528194),
        (20, 20, 0.8388748419471804, 1.0),
        (3, 20, 0.052368745896216595, 0.36041886474075696),
        (81, 263, 0.2552885198782742, 0.36620957698280004),
    ],
)
def test_wilsons_interval(successes: int, num_items: int, low: float, high: float) -> None:
    outcomes = [1.0] * successes + [0.0] * (num_items - successes)
    found = proportion(outcomes, range(num_items))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_a_floor_is_wilsons_lower_bound() -> None:
    outcomes = [1.0] * 110 + [0.0] * 6
    expected = proportion(outcomes, range(116), confidence=0.90).low
    found = share_above(outcomes, range(116), 0.9)
    assert found.low == pytest.approx(expected)
    assert found.is_shown == (expected > 0.9)
    clustered = share_above(outcomes, [number // 4 for number in range(116)], 0.9)
    assert clustered.low < found.low
    assert share_below([0.0] * 200, range(200), 0.0134).is_shown
    assert not share_below([0.0] * 200, range(200), 0.0133).is_shown


def test_of_rare_outcomes_a_floor_is_lower_than_wilsons() -> None:
    outcomes = [1.0] * 6 + [0.0] * 54
    found = share_above(outcomes, range(60), 0.05)
    assert found.low < proportion(outcomes, range(60), confidence=0.90).low - 1e-3
    assert found.p_value > scipy_stats.norm.sf((0.1 - 0.05) / math.sqrt(0.05 * 0.95 / 60)) + 1e-3


def test_tangos_skewness_is_that_of_a_gain_a_loss_and_neither() -> None:
    difference, loss = 0.3, restricted_loss(0.3, 30, 10, 100)
    gain = loss + difference
    outcomes, chances = np.array([1.0, -1.0, 0.0]), np.array([gain, loss, 1 - gain - loss])
    assert chances @ outcomes == pytest.approx(difference)
    variance, third = (float(chances @ (outcomes - difference) ** power) for power in (2, 3))
    score, skewness = tango_score(difference, 30, 10, 100)
    assert score == pytest.approx((0.2 - difference) / math.sqrt(variance / 100))
    assert skewness == pytest.approx(third / variance**1.5 / math.sqrt(100))


def test_many_p_values_are_adjusted() -> None:
    """Against statsmodels.stats.multitest.multipletests, methods holm and fdr_bh."""
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.02]
    assert holm(p_values) == pytest.approx((0.05, 0.09, 0.09, 0.03, 0.5, 0.08))
    assert benjamini_hochberg(p_values) == pytest.approx((0.03, 0.048, 0.045, 0.03, 0.5, 0.04))
    assert benjamini_hochberg(p_values) == pytest.approx(tuple(scipy_stats.false_discovery_control(p_values)))
    assert holm([]) == benjamini_hochberg([]) == ()
    assert holm([0.6, 0.9]) == (1, 1)


def test_a_margin_of_three_points_needs_four_hundred_items_at_five_percent_flips() -> None:
    assert detectable_margin(400, 0.05) < 0.03 < detectable_margin(399, 0.05)


def test_connors_number_of_pairs() -> None:
    """[z_a √ψ + z_b √(ψ - δ²)]² / δ² for ψ = .3, δ = .1, one-sided 5%, power 80%."""
    expected = (1.6448536 * math.sqrt(0.3) + 0.8416212 * math.sqrt(0.29)) ** 2 / 0.01
    assert math.ceil(expected) == 184
    assert detectable_difference(expected, 0.3) == pytest.approx(0.1, abs=1e-6)
    assert detectable_difference(184, 0.3) < 0.1 < detectable_difference(183, 0.3)


def test_a_gain_beyond_a_margin_is_shown_four_times_in_five() -> None:
    """The chance, where every change is a gain, by the binomial distribution."""
    n, margin = 400, 0.1
    gain = detectable_difference(n, 0.0, margin=margin)

    def p_value(gained: int) -> float:
        return difference_above([0.0] * n, [1.0] * gained + [0.0] * (n - gained), range(n), margin).p_value

    fewest = next(gained for gained in range(n) if p_value(gained) <= 0.05)
    assert scipy_stats.binom.sf(fewest - 1, n, gain) == pytest.approx(0.8, abs=0.08)
    assert detectable_difference(n, 0.3, margin=0.0) == detectable_difference(n, 0.3)
    assert detectable_difference(2, 0.05, margin=0.5) == 1
    with pytest.raises(ValueError, match="need a margin"):
        detectable_difference(n, 0.05, margin=1.0)


def test_a_gain_beyond_a_margin_varies_as_it_is_supposed_and_as_it_truly_is() -> None:
    """(g - m) √n = z_a √(m - m²) + z_b √(g - g²), where every change is a gain, for n = 100 and m = .3."""
    margin, gain = 0.3, detectable_difference(100, 0.0, margin=0.3)
    expected = 1.6448536 * math.sqrt(margin - margin**2) + 0.8416212 * math.sqrt(gain - gain**2)
    assert (gain - margin) * 10 == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("number", [60, 735])
@pytest.mark.parametrize("floor", [1.0, 0.99, 0.95, 0.8, 0.3])
@pytest.mark.parametrize("alpha", [0.05, 0.00625])
def test_a_level_that_is_told_to_be_caught_is_so_four_times_in_five(number: int, floor: float, alpha: float) -> None:
    def is_caught(right: int) -> bool:
        return share_below([1.0] * right + [0.0] * (number - right), range(number), floor, alpha=alpha).is_shown

    most = max(right for right in range(number + 1) if is_caught(right))
    level = detectable_level(number, floor, alpha=alpha)
    assert scipy_stats.binom.cdf(most, number, level) == pytest.approx(0.8, abs=1e-6)


def test_no_level_is_told_to_be_caught_where_none_is() -> None:
    assert detectable_level(4, 0.3) < 0
    assert not share_below([0.0] * 4, range(4), 0.3).is_shown
    assert detectable_level(0.5, 0.99) < 0  # less than one item


def test_what_a_set_could_have_shown() -> None:
    nothing, churned = pairs(0, 0, 116, 4), pairs(6, 6, 116, 4)
    degrees = estimate_design(paired_sample(*nothing)).degrees
    assert smallest_difference(*nothing) == pytest.approx(detectable_difference(116 / 2.8, 0.0, degrees=degrees))
    assert smallest_difference(*nothing) > detectable_difference(116 / 2.8, 0.0)
    assert smallest_difference(*churned) > smallest_difference(*pairs(6, 6, 116))
    assert smallest_difference(*pairs(6, 6, 116)) == pytest.approx(detectable_difference(116, 12 / 116))
    fewer = 2 * 4 + math.sqrt(2 * 12 / math.pi)
    assert smallest_difference(*pairs(8, 4, 116)) == pytest.approx(detectable_difference(116, min(fewer, 12) / 116))
    assert smallest_difference(*pairs(100, 0, 116)) < 0.1  # a large gain is no churn
    change = np.random.default_rng(6).normal(size=50).tolist()
    error = float(np.std(change, ddof=1)) / math.sqrt(50)
    expected = error * (scipy_stats.t.ppf(0.95, 49) + scipy_stats.t.ppf(0.8, 49))
    assert smallest_difference([0.0] * 50, change, range(50)) == pytest.approx(expected)


def test_seeds_are_summed_up_with_n_minus_one() -> None:
    found = seed_summary([1.0, 2.0, 4.0])
    assert (found.mean, found.sd) == pytest.approx((7 / 3, math.sqrt(7 / 3)))
    with pytest.raises(ValueError, match="at least two seeds"):
        seed_summary([1.0])


@pytest.mark.parametrize(("before", "after", "clusters"), [([], [], []), ([1], [1, 2], [1]), ([1], [1], [])])
def test_what_cannot_be_paired_is_refused(before: list[float], after: list[float], clusters: list[int]) -> None:
    with pytest.raises(ValueError, match="equally many items"):
        paired_difference(before, after, clusters)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_difference([0.0], [math.nan], [1]), "must be finite"),
        (lambda: paired_difference([0.0], [1.0], [1], [0.0]), "above 0"),
        (lambda: paired_difference([0.0], [1.5], [1], shares=True), "between 0 and 1"),
        (lambda: proportion([1.5], [1]), "between 0 and 1"),
        (lambda: holm([0.5, 1.5]), "between 0 and 1"),
        (lambda: mcnemar_exact(-1, 2), "must not be negative"),
        (lambda: detectable_difference(0, 0.5), "need items"),
        (lambda: detectable_difference(9, 1.5), "a discordant share of 0 to 1"),
        (lambda: detectable_level(9, 1.5), "a floor of 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_is_quick_because_it_leaves_scipys_statistics_alone() -> None:
    code = "import sys, kapoc.stats; sys.exit('scipy.stats' in sys.modules or 'statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
