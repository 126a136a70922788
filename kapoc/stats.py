"""Paired, clustered statistics. Pure functions of arrays; no randomness that is not passed in.

Items of one fact are not independent, so differences are resampled and sign-flipped by fact.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean difference, weighted by item, with its clustered interval and p-value.

    Attributes:
        mean: of after - before over all items.
        low, high: 95% percentile interval of a bootstrap that draws whole clusters.
        p_value: two-sided, of a sign-flip permutation of cluster sums; exact below 14 clusters.
    """

    mean: float
    low: float
    high: float
    p_value: float


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> PairedDifference:
    """Compare two measurements of the same items.

    Args:
        before, after: one number an item, in the same order.
        clusters: what each item belongs to.
        weights: what each item counts (bytes, for bits per byte); one each if left out.
        seed: of the resampling.

    Raises:
        ValueError: no items, or lengths that differ.

    Sources:
        Cluster bootstrap: Davison and Hinkley (1997), Bootstrap Methods and their Application, 3.8.
        Sign-flip test: Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, 3.2.
    """
    if not (len(before) == len(after) == len(clusters)) or not before:
        raise ValueError(f"need equally many items, at least one: {len(before)}, {len(after)}, {len(clusters)}")
    weight = np.ones(len(before)) if weights is None else np.asarray(weights, dtype=np.float64)
    change = (np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)) * weight
    sums, sizes = _by_cluster(change, clusters), _by_cluster(weight, clusters)
    generator = np.random.default_rng(seed)
    low, high = _bootstrap_interval(sums, sizes, generator)
    return PairedDifference(
        mean=float(sums.sum() / sizes.sum()), low=low, high=high, p_value=_sign_flip(sums, generator)
    )


def _by_cluster(values: Floats, clusters: Sequence[Hashable]) -> Floats:
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters])
    return np.bincount(index, weights=values).astype(np.float64)


def _bootstrap_interval(sums: Floats, sizes: Floats, generator: np.random.Generator) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    means = []
    for _ in range(0, NUM_RESAMPLES, 1000):  # in parts, so that many clusters do not take much memory
        drawn = generator.integers(0, len(sums), size=(1000, len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _sign_flip(sums: Floats, generator: np.random.Generator) -> float:
    """Two-sided p-value of the total under random signs of the non-zero cluster sums."""
    moved = sums[sums != 0]
    if len(moved) == 0:
        return 1.0
    observed = abs(moved.sum()) * (1 - 1e-9)
    if len(moved) < 14:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        totals = (2.0 * bits - 1) @ moved
        return float(np.mean(np.abs(totals) >= observed))
    extreme = 0
    for _ in range(0, NUM_RESAMPLES, 1000):
        signs = generator.integers(0, 2, size=(1000, len(moved))) * 2.0 - 1
        extreme += int(np.sum(np.abs(signs @ moved) >= observed))
    return (extreme + 1) / (NUM_RESAMPLES + 1)
