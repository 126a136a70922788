"""How many independent items the items of a clustered sample are worth."""

import math
from dataclasses import dataclass

import numpy as np

from kapoc.stats.sample import Floats, Sample

DEFAULT_CORRELATION = 0.6
"""The correlation within a cluster that is assumed where the data say nothing about it."""
FEW_CLUSTERS = 10
"""Where fewer clusters have several items, their items are assumed to be all alike, and each cluster counts as one."""
PRIOR_CLUSTERS = 2.0
"""With how many informative clusters that assumption and the estimate count alike."""


@dataclass(frozen=True, slots=True)
class Design:
    """What clustering leaves of a sample.

    Attributes:
        correlation: of two items of one cluster, estimated and then drawn towards what is assumed; 0 to 1.
        effective_items: how many independent items of equal weight would give the mean the same variance.
        degrees: of freedom of the estimate of that variance; infinite where nothing had to be estimated.
        num_informative: clusters of several items that hold one unlike the most common; where all items are alone,
            such items.
    """

    correlation: float
    effective_items: float
    degrees: float
    num_informative: int


def estimate_design(sample: Sample) -> Design:
    """Estimate the correlation within clusters and what it costs.

    The analysis-of-variance estimate of the correlation says nothing where no item, or every item, changed, and little
    where one or two clusters did. It is therefore averaged with `DEFAULT_CORRELATION`, the estimate's weight growing
    as the square of the number of informative clusters: half at `PRIOR_CLUSTERS`, nearly all at ten. Both were
    chosen by simulation, as the least cautious of several (0.5 to 1; growth with the number or its square) that kept
    one-sided tests honest at a true correlation of 0.6 with no or one discordant cluster. Of fewer than `FEW_CLUSTERS`
    it is averaged with 1: of so few facts, learned as wholes, all are right by chance too often.
    Negative results count as 0: items are never worth more than their number.

    Items that are alone in their cluster say nothing of that correlation and are left out of its estimate: prompts of
    another sort, of which other shares change, would be taken for facts that differ.

    Sources:
        A score interval adjusted by the correlation, for paired proportions in clusters: Yang, Sun and Hardin (2012),
        Pharm. Stat. 11:386-393; for one proportion: Saha, Miller and Wang (2016), Int. J. Biostat. 12(2); with an
        effective number of items and Student's t: Korn and Graubard (1998), Survey Methodology 24:193-201. The
        estimate: Donner and Koval (1980), Biometrics 36:19-25; its variance: Fisher's, in Donner (1986), Int. Stat.
        Rev. 54:67-82; the degrees of freedom are those of a chi-square with the same relative variance.
    """
    sizes = np.bincount(sample.clusters).astype(np.float64)
    single = float(sample.weights @ sample.weights)
    together = float(np.square(sample.by_cluster(sample.weights)).sum())
    if sizes.max() == 1:
        return Design(0.0, sample.total_weight**2 / single, math.inf, _num_informative(sample))
    shared = _shared(sample, sizes)
    sizes, informative = sizes[sizes > 1], _num_informative(shared)
    num_items, num_clusters = shared.num_items, shared.num_clusters
    if num_clusters == 1:
        return Design(1.0, sample.total_weight**2 / together, math.inf, informative)
    typical = (num_items - float(sizes @ sizes) / num_items) / (num_clusters - 1)
    estimate = _correlation(shared, sizes, typical)
    trust = informative**2 / (informative**2 + PRIOR_CLUSTERS**2)
    assumed = DEFAULT_CORRELATION if num_clusters >= FEW_CLUSTERS else 1.0
    correlation = min(max(trust * estimate + (1 - trust) * assumed, 0.0), 1.0)
    inflated = (1 - correlation) * single + correlation * together
    spread = (1 - correlation) * (1 + (typical - 1) * correlation) * (together - single) / inflated
    degrees = typical * (typical - 1) * (num_clusters - 1) / spread**2 if spread > 0 else math.inf
    return Design(correlation, sample.total_weight**2 / inflated, max(degrees, 1.0), informative)


def _shared(sample: Sample, sizes: Floats) -> Sample:
    """The items that are not alone in their cluster, of which there are some."""
    kept = sizes[sample.clusters] > 1
    clusters = np.unique(sample.clusters[kept], return_inverse=True)[1]
    return Sample(sample.values[kept], sample.weights[kept], clusters, sample.is_share)


def _correlation(sample: Sample, sizes: Floats, typical: float) -> float:
    """The analysis-of-variance estimate, within the range that the largest cluster allows; 0 without variation."""
    means = sample.by_cluster(sample.values) / sizes
    between = float(sizes @ np.square(means - sample.values.mean())) / (len(sizes) - 1)
    within = float(np.square(sample.values - means[sample.clusters]).sum()) / (len(sample.values) - len(sizes))
    scale = between + (typical - 1) * within
    if scale <= 0:
        return 0.0
    return min(max((between - within) / scale, -1 / (float(sizes.max()) - 1)), 1.0)


def _num_informative(sample: Sample) -> int:
    found, counts = np.unique(sample.values, return_counts=True)
    odd = sample.values != found[counts.argmax()]
    return len(np.unique(sample.clusters[odd]))
