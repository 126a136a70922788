"""One number an item, what it counts, and the cluster it belongs to."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of items in clusters.

    Attributes:
        values: one an item: a difference after - before, or an outcome.
        weights: what each item counts.
        clusters: the number of each item's cluster, from 0 without gaps.
        is_share: whether the outcomes behind the values are shares: 0 or 1, or between.
    """

    values: Floats
    weights: Floats
    clusters: Indices
    is_share: bool

    @property
    def num_items(self) -> int:
        """How many items there are."""
        return len(self.values)

    @property
    def num_clusters(self) -> int:
        """How many clusters they belong to."""
        return int(self.clusters.max()) + 1

    @property
    def total_weight(self) -> float:
        """What all items count together."""
        return float(self.weights.sum())

    @property
    def mean(self) -> float:
        """The weighted mean of the values."""
        return float(self.weights @ self.values) / self.total_weight

    def by_cluster(self, values: Floats) -> Floats:
        """Sums of one number an item over each cluster."""
        return np.bincount(self.clusters, weights=values).astype(np.float64)


def paired_sample(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    *,
    shares: bool | None = None,
) -> Sample:
    """The differences after - before of the same items.

    Args:
        before, after: one number an item, in the same order.
        clusters: what each item belongs to.
        weights: what each item counts (bytes, for bits per byte); one each if left out.
        shares: whether the outcomes are shares, from 0 to 1; if left out, they are where all are 0 or 1. Say False for
            a continuous measure that may happen to be 0 everywhere, True for scores of which some lie in between.

    Raises:
        ValueError: no items, lengths that differ, a number that is not finite, or a weight that is not positive.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if len(first) != len(second):
        raise ValueError(f"need equally many items, at least one: {len(first)}, {len(second)}, {len(clusters)}")
    if shares and not all(((values >= 0) & (values <= 1)).all() for values in (first, second)):
        raise ValueError("shares must be between 0 and 1")
    is_share = _is_binary(first) and _is_binary(second) if shares is None else shares
    return make_sample(second - first, clusters, weights, is_share=is_share)


def make_sample(
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None,
    *,
    is_share: bool,
) -> Sample:
    """Check and number what belongs together.

    Raises:
        ValueError: as `paired_sample`.
    """
    found = np.asarray(values, dtype=np.float64)
    weight = np.ones(len(found)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (len(found) == len(weight) == len(clusters)) or not len(found):
        raise ValueError(f"need equally many items, at least one: {len(found)}, {len(weight)}, {len(clusters)}")
    if not (np.isfinite(found).all() and np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError("values must be finite and weights finite and above 0")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters], dtype=np.intp)
    return Sample(values=found, weights=weight, clusters=index, is_share=is_share)


def _is_binary(values: Floats) -> bool:
    return bool(((values == 0) | (values == 1)).all())
