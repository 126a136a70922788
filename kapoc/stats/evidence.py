"""What a sample of differences says about any supposed mean: one core for every interval and test."""

import math
from dataclasses import dataclass

import numpy as np

from kapoc.stats.design import estimate_design
from kapoc.stats.sample import Sample
from kapoc.stats.score import cautious, cautious_quantile, cautious_t, crossing, quantile, tango_score, upper_tail


@dataclass(frozen=True, slots=True)
class ShareEvidence:
    """Of differences from -1 to 1: Tango's score with an effective number of items.

    An item that changes by a part of 1 counts as that part of an item that changes whole. No difference within these
    ends varies more than such items do, so the score is cautious about it.

    Attributes:
        gained, lost: effective numbers of items.
        num_items: effective number of all.
        degrees: of freedom of the design effect.
    """

    gained: float
    lost: float
    num_items: float
    degrees: float

    @property
    def estimate(self) -> float:
        """The mean difference."""
        return (self.gained - self.lost) / self.num_items

    def plain(self, difference: float) -> float:
        """The score of a supposed difference."""
        return tango_score(difference, self.gained, self.lost, self.num_items)[0]

    def score(self, difference: float) -> float:
        """The score that one-sided claims rest on."""
        if abs(difference) > 1:
            return math.copysign(math.inf, -difference)
        return cautious(*tango_score(difference, self.gained, self.lost, self.num_items))

    def interval(self, confidence: float) -> tuple[float, float]:
        """The differences whose plain score is inside the middle `confidence` of its distribution."""
        limit = quantile(self.degrees, (1 + confidence) / 2)
        return crossing(self.plain, limit, -1, self.estimate), crossing(self.plain, -limit, self.estimate, 1)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """The one-sided lower and upper bound, each wrong in `alpha` of all samples."""
        limit = quantile(self.degrees, 1 - alpha)
        return crossing(self.score, limit, -1, self.estimate), crossing(self.score, -limit, self.estimate, 1)

    def above(self, difference: float) -> float:
        """The p-value of the claim that the difference is larger than a supposed one."""
        return upper_tail(self.degrees, self.score(difference))

    def below(self, difference: float) -> float:
        """The p-value of the claim that it is smaller."""
        return upper_tail(self.degrees, -self.score(difference))


@dataclass(frozen=True, slots=True)
class MeanEvidence:
    """Of continuous differences: Student's t with a cluster-robust standard error, made cautious about skewness.

    At 10 to 30 clusters of skewed values the plain t interval covers 93% of nominal 95%, this one 94-97%.

    Attributes:
        estimate: the weighted mean difference.
        error: its standard error.
        degrees: of freedom.
        skewness: of the mean, estimated.
    """

    estimate: float
    error: float
    degrees: float
    skewness: float

    def score(self, difference: float) -> float:
        """How far the mean lies above a supposed one, in standard errors, less what skewness may have added."""
        distance = self.estimate - difference
        if self.error > 0:
            return cautious_t(distance / self.error, self.skewness)
        return math.copysign(math.inf, distance) if distance else 0.0

    def interval(self, confidence: float) -> tuple[float, float]:
        """The means that the data do not exclude; as wide as the line where there is but one cluster."""
        return self.bounds((1 - confidence) / 2)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """The one-sided lower and upper bound, each wrong in `alpha` of all samples."""
        limit = quantile(self.degrees, 1 - alpha)
        low, high = cautious_quantile(limit, self.skewness), cautious_quantile(-limit, self.skewness)
        return self.estimate - low * self.error, self.estimate - high * self.error

    def above(self, difference: float) -> float:
        """The p-value of the claim that the mean is larger than a supposed one."""
        return upper_tail(self.degrees, self.score(difference))

    def below(self, difference: float) -> float:
        """The p-value of the claim that it is smaller."""
        return upper_tail(self.degrees, -self.score(difference))


def evidence_of(sample: Sample) -> ShareEvidence | MeanEvidence:
    """The evidence that suits the outcomes: shares, or means."""
    return _of_shares(sample) if sample.is_share else _of_means(sample)


def _of_shares(sample: Sample) -> ShareEvidence:
    design = estimate_design(sample)
    scale = design.effective_items / sample.total_weight
    return ShareEvidence(
        gained=float(sample.weights @ np.maximum(sample.values, 0)) * scale,
        lost=float(sample.weights @ np.maximum(-sample.values, 0)) * scale,
        num_items=design.effective_items,
        degrees=design.degrees,
    )


def _of_means(sample: Sample) -> MeanEvidence:
    """The weighted mean with a bias-reduced sandwich error and Satterthwaite's degrees of freedom.

    With the working model that cluster means vary alike, for which the error is unbiased; equal weights give the
    ordinary t interval of the cluster means.

    Sources:
        Bell and McCaffrey (2002), Survey Methodology 28:169-181; Pustejovsky and Tipton (2018), J. Bus. Econ. Stat.
        36:672-683.
    """
    weights = sample.by_cluster(sample.weights)
    share = weights / weights.sum()
    if len(share) == 1:
        return MeanEvidence(sample.mean, math.inf, 1.0, 0.0)
    residuals = sample.by_cluster(sample.weights * sample.values) / weights - sample.mean
    squared = float(share @ share)
    factor = share**2 / (1 - 2 * share + squared)
    variance = float(factor @ np.square(residuals))
    total, cross = float(factor.sum()), float(share @ factor)
    trace = total - 2 * cross + total * squared
    trace_of_square = (
        float(factor @ factor) * (1 + 2 * squared)
        - 4 * float(np.square(factor) @ share)
        + 2 * total * float(factor @ np.square(share))
        + 2 * cross**2
        - 4 * total * cross * squared
        + total**2 * squared**2
    )
    error = math.sqrt(variance)
    skewness = float(share**3 @ (residuals / error) ** 3) if error > 0 else 0.0
    return MeanEvidence(sample.mean, error, max(trace**2 / trace_of_square, 1.0), skewness)
