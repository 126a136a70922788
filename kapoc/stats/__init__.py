"""Paired, clustered statistics. Pure functions of arrays; no randomness that is not seeded by the caller.

Questions about one fact are not independent, so an item never counts as an observation of its own unless the data say
so: intervals and tests work with an effective number of items, permutations flip whole facts. `reports/statistics.md`
holds what the methods cover and how often they raise a false alarm; `tests/coverage_study.py` makes it.
"""

from kapoc.stats.decision import Decision, difference_above, difference_below
from kapoc.stats.design import DEFAULT_CORRELATION, Design, estimate_design
from kapoc.stats.multiple import benjamini_hochberg, holm
from kapoc.stats.paired import PairedDifference, paired_difference
from kapoc.stats.permutation import mcnemar_exact
from kapoc.stats.power import (
    POWER,
    detectable_difference,
    detectable_level,
    detectable_margin,
    smallest_difference,
)
from kapoc.stats.proportion import Proportion, proportion, share_above, share_below
from kapoc.stats.sample import Sample, paired_sample
from kapoc.stats.seeds import SeedSummary, seed_summary

__all__ = [
    "DEFAULT_CORRELATION",
    "POWER",
    "Decision",
    "Design",
    "PairedDifference",
    "Proportion",
    "Sample",
    "SeedSummary",
    "benjamini_hochberg",
    "detectable_difference",
    "detectable_level",
    "detectable_margin",
    "difference_above",
    "difference_below",
    "estimate_design",
    "holm",
    "mcnemar_exact",
    "paired_difference",
    "paired_sample",
    "proportion",
    "seed_summary",
    "share_above",
    "share_below",
    "smallest_difference",
]
