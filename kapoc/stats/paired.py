"""The difference between two measurements of the same items, with an interval and a p-value."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from kapoc.stats.evidence import evidence_of
from kapoc.stats.permutation import sign_flip
from kapoc.stats.sample import paired_sample

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean difference, weighted by item, with its clustered interval and p-value.

    Attributes:
        mean: of after - before over all items.
        low, high: the interval; infinite where continuous items are all of one cluster.
        p_value: two-sided, of a sign-flip permutation of cluster sums.
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
    confidence: float = CONFIDENCE,
    shares: bool | None = None,
    seed: int = 0,
) -> PairedDifference:
    """Compare two measurements of the same items.

    Shares get Tango's score interval with an effective number of items and Student's t (`kapoc.stats.design`), which
    keeps its width where no item, or every item, changed, and is wider than it need be where some lie between 0 and 1.
    Others get a t interval with a cluster-robust error, longer on the side of their skewness (`kapoc.stats.evidence`);
    it has no width where every cluster changed by exactly the same.
    A percentile bootstrap over clusters covers too little at 30 of them and has no width at zero discordant items.

    Args:
        before, after, clusters, weights, shares: as in `paired_sample`.
        confidence: of the interval.
        seed: of the random sign flips that many continuous clusters need.

    Raises:
        ValueError: as `paired_sample`.
    """
    sample = paired_sample(before, after, clusters, weights, shares=shares)
    low, high = evidence_of(sample).interval(confidence)
    return PairedDifference(mean=sample.mean, low=low, high=high, p_value=sign_flip(sample, seed))
