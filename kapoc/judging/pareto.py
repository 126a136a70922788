"""What models are chosen by: recall against forgetting and time, and which of them no other beats. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from kapoc.judging.comparison import Comparison

Unit = Literal["divergence", "bits_per_byte_difference"]


class Point(NamedTuple):
    """What recipes are chosen by: more recall, less forgetting, fewer seconds."""

    recall: float
    forgetting: float
    seconds: float = 0.0


def scores_of(comparison: Comparison) -> dict[str, float]:
    """The numbers of a trained model beside its base, as `kapoc.judging.trials.TrialResult.scores` names them."""
    tiers = comparison.tiers
    found = {tier: tiers[tier].after for tier in ("seen", "paraphrased", "unseen") if tier in tiers}
    scores: dict[str, float] = {str(tier): share for tier, share in found.items()}
    if recalled := [share for tier, share in found.items() if tier != "seen"]:
        scores["recall"] = statistics.fmean(recalled)
    scores |= {name: kind.after for name, kind in comparison.kinds.items() if name.startswith("unseen/")}
    scores |= {f"spillover/{name}": result.after for name, result in comparison.spillover.items()}
    if "general" in tiers:
        scores["general_difference"] = tiers["general"].difference
    if comparison.forgetting.bits_per_byte is not None:
        scores["bits_per_byte_difference"] = comparison.forgetting.bits_per_byte.difference
    if comparison.forgetting.divergence is not None:
        scores["divergence"] = comparison.forgetting.divergence
    return scores


def common_unit(scores: Sequence[Mapping[str, float]]) -> Unit:
    """What stands for forgetting in all of several scores: the divergence, or bits per byte where not all have it."""
    return "divergence" if all("divergence" in one for one in scores) else "bits_per_byte_difference"


def pareto_front(points: Sequence[Point]) -> list[bool]:
    """Of each point, whether no other is at least as good in everything and better in something."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(one: Point, other: Point) -> bool:
    as_good = one.recall >= other.recall and one.forgetting <= other.forgetting and one.seconds <= other.seconds
    return as_good and one != other
