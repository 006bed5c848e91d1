"""Memory: freed memory stays with the process, so that the next step finds it mapped.

A step frees activations of tens of MiB and asks for the same again. glibc maps each such block
anew, and the kernel clears it page by page at the first touch: on a CPU a quarter of the time of
a step of a small network.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of <malloc.h>
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc take large blocks from the heap and never shrink it; elsewhere do nothing."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
