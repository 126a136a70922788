"""Two-sided tests that nothing changed, by flipping the signs of differences."""

import numpy as np
from scipy.special import bdtr

from kapoc.stats.sample import Floats, Sample

NUM_RESAMPLES = 10_000
_MAX_ENUMERATED = 14
_ROUNDING = 1e-12
"""By how much of all that moved two totals may differ and still be the same."""


def mcnemar_exact(gained: int, lost: int) -> float:
    """The exact two-sided p-value that items are gained as often as lost.

    Args:
        gained, lost: numbers of discordant items, none of which share a cluster.

    Raises:
        ValueError: a negative number.

    Sources:
        McNemar (1947), Psychometrika 12:153-157, in its binomial form.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"numbers of items must not be negative: {gained}, {lost}")
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def sign_flip(sample: Sample, seed: int) -> float:
    """The two-sided p-value of the total when every cluster's sum could as well have had the other sign.

    Exact for unweighted outcomes of 0 and 1 and wherever fewer than 14 clusters changed; of 10,000 random flips
    otherwise.

    Args:
        sample: differences.
        seed: of the random flips.

    Sources:
        Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, 3.2.
    """
    sums = sample.by_cluster(sample.weights * sample.values)
    moved = sums[sums != 0]
    if len(moved) == 0:
        return 1.0
    if sample.is_share and (sample.weights == 1).all() and (moved == np.rint(moved)).all():
        return _exact_of_whole(moved.astype(np.int64))
    observed = abs(float(moved.sum())) - _ROUNDING * float(np.abs(moved).sum())
    if len(moved) < _MAX_ENUMERATED:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        return float(np.mean(np.abs((2.0 * bits - 1) @ moved) >= observed))
    return _by_random_flips(moved, observed, seed)


def _exact_of_whole(moved: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """The whole distribution, one cluster after the other: sums of whole numbers take few values."""
    steps = np.abs(moved)
    if (steps == 1).all():
        return mcnemar_exact(int((moved > 0).sum()), int((moved < 0).sum()))
    total = int(steps.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for step in steps:
        flipped = np.zeros_like(chances)
        flipped[step:] += chances[:-step] / 2
        flipped[:-step] += chances[step:] / 2
        chances = flipped
    reached = np.abs(np.arange(-total, total + 1)) >= abs(int(moved.sum()))
    return min(1.0, float(chances[reached].sum()))


def _by_random_flips(moved: Floats, observed: float, seed: int) -> float:
    generator = np.random.default_rng(seed)
    extreme = 0
    for _ in range(0, NUM_RESAMPLES, 1000):  # in parts, so that many clusters do not take much memory
        signs = generator.integers(0, 2, size=(1000, len(moved)), dtype=np.int8) * 2.0 - 1
        extreme += int(np.sum(np.abs(signs @ moved) >= observed))
    return (extreme + 1) / (NUM_RESAMPLES + 1)
