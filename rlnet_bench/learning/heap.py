"""Memory that was once fetched from the system stays with the process: an update asks for the same again and again.

By default glibc hands every large block back when it is freed, and the system then clears and maps it anew, page by
page: five times as many page faults, a tenth of the time of an update.
"""

from __future__ import annotations

import ctypes
from functools import cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)


@cache
def keep_heap() -> bool:
    """Tell the allocator, once per process; False where it is not glibc's."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((MMAP_THRESHOLD, 1 << 30), (TRIM_THRESHOLD, (1 << 31) - 1), (TOP_PAD, 64 << 20))
    done = [mallopt(name, value) for name, value in settings]
    return all(done)
