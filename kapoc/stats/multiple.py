"""P-values of several checks at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the same order: the chance of any false alarm among all checks stays below the level.

    Raises:
        ValueError: a p-value that is not between 0 and 1.

    Sources:
        Holm (1979), Scand. J. Stat. 6:65-70.
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _restored(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the same order: the expected share of false alarms among alarms stays below the level.

    Raises:
        ValueError: a p-value that is not between 0 and 1.

    Sources:
        Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57:289-300.
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")[::-1]
    stepped = np.minimum.accumulate(values[order] * len(values) / np.arange(len(values), 0, -1))
    return _restored(np.minimum(stepped, 1.0), order)


def _checked(p_values: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must be between 0 and 1: {list(p_values)}")
    return values


def _restored(
    adjusted: np.ndarray[tuple[int, ...], np.dtype[np.float64]], order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
) -> tuple[float, ...]:
    found = np.empty_like(adjusted)
    found[order] = adjusted
    return tuple(float(value) for value in found)
