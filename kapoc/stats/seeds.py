"""Variation between training seeds: never mixed with that of items."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """One result a seed, summed up.

    Attributes:
        mean: of the results.
        sd: their standard deviation, with n - 1.
    """

    mean: float
    sd: float


def seed_summary(values: Sequence[float]) -> SeedSummary:
    """Sum up one result a training seed.

    Raises:
        ValueError: fewer than two results.
    """
    if len(values) < 2:
        raise ValueError(f"need the results of at least two seeds: {len(values)}")
    return SeedSummary(mean=statistics.fmean(values), sd=statistics.stdev(values))
