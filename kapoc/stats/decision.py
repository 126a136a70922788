"""One-sided claims about a paired difference, each with the bounds that correspond to it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from kapoc.stats.evidence import evidence_of
from kapoc.stats.sample import paired_sample

Numbers = Sequence[float]
Clusters = Sequence[Hashable]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a claim is shown.

    Attributes:
        estimate: the mean difference after - before, or the share.
        low, high: the one-sided bounds, each wrong in `alpha` of all samples; together an interval of confidence
            1 - 2 alpha. A claim "above a threshold" is shown exactly where `low` lies above it.
        p_value: of the claim.
        alpha: the level of the bounds.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    alpha: float

    @property
    def is_shown(self) -> bool:
        """Whether the p-value is small enough, looked at alone."""
        return self.p_value <= self.alpha


def difference_above(
    before: Numbers,
    after: Numbers,
    clusters: Clusters,
    threshold: float,
    weights: Numbers | None = None,
    *,
    alpha: float = 0.05,
    shares: bool | None = None,
) -> Decision:
    """The claim that after - before is larger than a threshold.

    Args:
        before, after, clusters, weights, shares: as in `paired_sample`.
        threshold: in the unit of the outcomes.
        alpha: one-sided level.

    Raises:
        ValueError: as `paired_sample`.
    """
    found = evidence_of(paired_sample(before, after, clusters, weights, shares=shares))
    return Decision(found.estimate, *found.bounds(alpha), found.above(threshold), alpha)


def difference_below(
    before: Numbers,
    after: Numbers,
    clusters: Clusters,
    threshold: float,
    weights: Numbers | None = None,
    *,
    alpha: float = 0.05,
    shares: bool | None = None,
) -> Decision:
    """The claim that after - before is smaller than a threshold; arguments as in `difference_above`."""
    found = evidence_of(paired_sample(before, after, clusters, weights, shares=shares))
    return Decision(found.estimate, *found.bounds(alpha), found.below(threshold), alpha)
