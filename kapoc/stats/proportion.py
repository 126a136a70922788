"""Shares of items, alone and in clusters."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from kapoc.stats.decision import Decision
from kapoc.stats.design import Design, estimate_design
from kapoc.stats.sample import Sample, make_sample
from kapoc.stats.score import cautious, crossing, quantile, upper_tail, wilson_score


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of items with its interval.

    Attributes:
        share: of items, by weight.
        low, high: the interval.
        effective_items: how many independent items it rests on.
    """

    share: float
    low: float
    high: float
    effective_items: float


def proportion(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    *,
    confidence: float = 0.95,
) -> Proportion:
    """The share of items in clusters, with Wilson's interval for an effective number of items and Student's t.

    Args:
        outcomes: 0 to 1 an item; anything between makes the interval wider than it need be.
        clusters, weights: as in `paired_sample`.
        confidence: of the interval.

    Raises:
        ValueError: as `paired_sample`, or an outcome that is not between 0 and 1.
    """
    sample, design = _share_sample(outcomes, clusters, weights)
    limit = quantile(design.degrees, (1 + confidence) / 2)
    return Proportion(sample.mean, *_wilson(sample.mean, design.effective_items, limit), design.effective_items)


def share_above(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable],
    threshold: float,
    weights: Sequence[float] | None = None,
    *,
    alpha: float = 0.05,
) -> Decision:
    """The claim that a share is larger than a floor.

    The lower bound is Wilson's where the floor is at least a half, and a little lower for rarer outcomes, where
    Wilson's claims too much (`kapoc.stats.score.cautious`).

    Args:
        outcomes, clusters, weights: as in `proportion`.
        threshold: the floor, 0 to 1.
        alpha: one-sided level.

    Raises:
        ValueError: as `proportion`.
    """
    return _claim(outcomes, clusters, weights, threshold, alpha, sign=1)


def share_below(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable],
    threshold: float,
    weights: Sequence[float] | None = None,
    *,
    alpha: float = 0.05,
) -> Decision:
    """The claim that a share is smaller than a ceiling; arguments as in `share_above`."""
    return _claim(outcomes, clusters, weights, threshold, alpha, sign=-1)


def _claim(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None,
    threshold: float,
    alpha: float,
    sign: int,
) -> Decision:
    sample, design = _share_sample(outcomes, clusters, weights)
    observed = sample.mean

    def score(share: float) -> float:
        return cautious(*wilson_score(min(max(share, 0.0), 1.0), observed, design.effective_items))

    limit = quantile(design.degrees, 1 - alpha)
    low, high = crossing(score, limit, 0, observed), crossing(score, -limit, observed, 1)
    return Decision(observed, low, high, upper_tail(design.degrees, sign * score(threshold)), alpha)


def _share_sample(
    outcomes: Sequence[float], clusters: Sequence[Hashable], weights: Sequence[float] | None
) -> tuple[Sample, Design]:
    values = np.asarray(outcomes, dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        raise ValueError("outcomes must be between 0 and 1")
    sample = make_sample(values, clusters, weights, is_share=True)
    return sample, estimate_design(sample)


def _wilson(share: float, num_items: float, limit: float) -> tuple[float, float]:
    square = limit * limit
    middle = (share + square / (2 * num_items)) / (1 + square / num_items)
    half = limit * math.sqrt(share * (1 - share) / num_items + square / (4 * num_items**2)) / (1 + square / num_items)
    return (0.0 if share == 0 else max(middle - half, 0.0)), (1.0 if share == 1 else min(middle + half, 1.0))
