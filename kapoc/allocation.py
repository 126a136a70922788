"""How the C library hands out memory: freed blocks are kept and used again, until they are given back as a whole."""

import ctypes
import sys
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks instead of giving each back to the system.

    Gradients, activations and logits are allocated and freed at every step; a block that comes fresh from the system
    is zeroed page by page as it is first touched.

    Returns:
        Whether the C library took it: glibc does, others have nothing of the kind.
    """
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> bool:
    """Let glibc give the system every page that is free now.

    What one kind of work freed lies scattered between what is still in use, and blocks of another size do not fit in.

    Returns:
        Whether the C library did so.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and bool(trim(0))


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, where it has one of that name."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return found
