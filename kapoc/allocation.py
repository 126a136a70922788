"""How the C library hands out memory: freed blocks are kept and used again."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks instead of giving each back to the system.

    Gradients, activations and logits are allocated and freed at every step; a block that comes fresh from the system
    is zeroed page by page as it is first touched.

    Returns:
        Whether the C library took it: glibc does, others have nothing of the kind.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
