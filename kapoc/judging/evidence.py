"""How much the items of two runs say for a check's claim, and for its opposite. Pure."""

from dataclasses import dataclass
from typing import Literal

from kapoc.judging.comparison import PairedScores
from kapoc.stats import Decision, difference_above, difference_below, share_above, share_below

CheckKind = Literal["superiority", "non_inferiority", "equivalence", "no_regression", "floor"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for one check.

    Attributes:
        n, clusters: items that it rests on.
        value: the run's own mean (of a floor), or run - baseline.
        bounds: of the value, each one-sided.
        p_claim: of the claim.
        p_opposite: of its opposite.
    """

    n: int
    clusters: int
    value: float
    bounds: tuple[float, float]
    p_claim: float
    p_opposite: float


def weigh(
    scores: PairedScores, kind: CheckKind, margin: float, at_least: float | None, at_most: float | None, alpha: float
) -> Evidence:
    """Test a check's claim and its opposite.

    Args:
        scores: the quantity, item by item.
        kind: of the check.
        margin: of every kind but a floor.
        at_least, at_most: of a floor; one of them.
        alpha: one-sided level of the bounds.
    """
    if kind == "floor":
        claim, opposite = _level_claims(scores, at_least, at_most, alpha)
    else:
        claim, opposite = _difference_claims(scores, kind, margin, alpha)
    return Evidence(
        n=len(scores.before),
        clusters=len(set(scores.clusters)),
        value=claim.estimate,
        bounds=(claim.low, claim.high),
        p_claim=claim.p_value,
        p_opposite=opposite,
    )


def worst(scores: PairedScores, at_most: float | None = None) -> PairedScores:
    """The same items, had every one of them come out as badly as a share can.

    Args:
        scores: of a share.
        at_most: of a floor from above, of which more is worse.
    """
    lost = 1.0 if scores.lower_is_better or at_most is not None else 0.0
    return scores.model_copy(update={"after": (lost,) * len(scores.after)})


def _level_claims(
    scores: PairedScores, at_least: float | None, at_most: float | None, alpha: float
) -> tuple[Decision, float]:
    """The run's own mean against a floor: shares by Wilson's score, other numbers by their distance from 0."""
    threshold = at_least if at_least is not None else at_most
    assert threshold is not None  # noqa: S101 - a floor has one of them
    values, clusters, weights = scores.after, scores.clusters, scores.weights
    if scores.is_share:
        above = share_above(values, clusters, threshold, weights, alpha=alpha)
        below = share_below(values, clusters, threshold, weights, alpha=alpha)
    else:
        nothing = (0.0,) * len(values)
        above = difference_above(nothing, values, clusters, threshold, weights, alpha=alpha, shares=False)
        below = difference_below(nothing, values, clusters, threshold, weights, alpha=alpha, shares=False)
    return (above, below.p_value) if at_least is not None else (below, above.p_value)


def _difference_claims(scores: PairedScores, kind: CheckKind, margin: float, alpha: float) -> tuple[Decision, float]:
    """Run against baseline. `worse` means lower, or higher where lower is better.

    Equivalence takes two one-sided tests.

    Sources:
        Schuirmann (1987), J. Pharmacokinet. Biopharm. 15:657-680.
    """
    before, after, clusters, weights = scores.before, scores.after, scores.clusters, scores.weights
    shares = scores.is_share

    def above(threshold: float) -> Decision:
        return difference_above(before, after, clusters, threshold, weights, alpha=alpha, shares=shares)

    def below(threshold: float) -> Decision:
        return difference_below(before, after, clusters, threshold, weights, alpha=alpha, shares=shares)

    better, worse, sign = (below, above, -1.0) if scores.lower_is_better else (above, below, 1.0)
    if kind == "superiority":
        return better(sign * margin), worse(0.0).p_value
    if kind == "equivalence":
        low, high = above(-margin), below(margin)
        outside = 2 * min(above(margin).p_value, below(-margin).p_value)
        return (low if low.p_value >= high.p_value else high), min(outside, 1.0)
    return better(-sign * margin), worse(-sign * margin).p_value
