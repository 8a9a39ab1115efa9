"""Keeping the resident set small: glibc and the collector keep what a burst of work has freed.

Every function does nothing where the platform has no such call, so callers need not ask.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from pathlib import Path

_M_ARENA_MAX = -8
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_ARENAS = 2
_TRIM_THRESHOLD_BYTES = 1024 * 1024
_MMAP_THRESHOLD_BYTES = 512 * 1024
"""More than the 256 KiB that asyncio takes for each read from a TLS connection, and lets go again:
mapped each time, they are a third of what such a read costs."""
_STATM = Path("/proc/self/statm")


def _libc() -> ctypes.CDLL | None:
    """Return glibc, or None on a platform without its tuning calls."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def limit_arenas() -> None:
    """Let threads share two malloc arenas: one for each thread multiplies freed but kept memory.

    What is freed at their end goes back to the system from a MiB on; once a threshold is set, glibc
    adapts neither of them.
    """
    if libc := _libc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)


def freeze() -> None:
    """Take everything that the start has built out of the collector's sight; it lives for ever."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Collect garbage and return free pages to the system: milliseconds, so after bursts only."""
    gc.collect()
    if libc := _libc():
        libc.malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident set of this process; where the system tells only the peak, the peak."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
