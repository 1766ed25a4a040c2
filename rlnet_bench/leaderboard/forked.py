"""The same work on many items by every core: forked processes, so that what they read is there and sent nowhere."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
FEW = 16  # items below which a process is not worth its start

_work: list[Callable[[int], Any]] = []  # found by the children, which are forked while it is here


def each(work: Callable[[int], T], count: int, *, few: int = FEW) -> list[T]:
    """``[work(0), ..., work(count - 1)]``; in this process with one core, without fork, or for few items."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if cores < 2 or count < few or "fork" not in multiprocessing.get_all_start_methods():
        return [work(i) for i in range(count)]
    _work.append(work)
    try:
        with ProcessPoolExecutor(min(cores, count), multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_call, range(count), chunksize=max(1, count // (8 * cores))))
    finally:
        _work.clear()


def _call(item: int) -> Any:
    return _work[0](item)
