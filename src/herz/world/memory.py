"""What the C library does with memory that was freed. Elsewhere than on glibc nothing is done.

By itself glibc learns: what was large and was freed once is taken from the heap from then on, where
it leaves a hole when it is freed again. The tables of all pods are made anew now and then, each a
little after the one before it, so that a process keeps one such hole for good. And what lies in
holes after large lists were read stays there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

LARGE_BYTES: Final = 1 << 20
"""What is at least so large is mapped by itself, and goes back as soon as it is freed. Of a table
of pods that is where there are 10,000 of them; no column is as large below 100,000 nodes."""
TOP_BYTES: Final = 32 << 20
"""So much may lie free at the heap's end before it goes back by itself: glibc's own beginning of
128 KiB would have it asked for and given back in turn."""
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3


def keep_large_apart() -> bool:
    """What is large goes back to the system when it is freed, for the rest of the process.

    Returns:
        Whether the C library can do so.
    """
    set_option = _function("mallopt")
    return set_option is not None and bool(
        set_option(_MMAP_THRESHOLD, LARGE_BYTES) and set_option(_TRIM_THRESHOLD, TOP_BYTES)
    )


def give_back() -> bool:
    """Whole pages that are free go back to the system.

    Returns:
        Whether there were any.

    Cost: 20 ms for a heap of 600 MB (docs/reference/gc.md).
    """
    trim = _function("malloc_trim")
    return trim is not None and bool(trim(0))


def _function(name: str) -> Callable[..., int] | None:
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
