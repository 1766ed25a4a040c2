"""Runs that are one run under two numbers or names: the one rule for it, in tables as in ``lint``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

MIN_VALUES = 4  # fewer different numbers than this may agree by chance

Run = TypeVar("Run", bound=Hashable)


def fingerprint(ends: Sequence[float], lines: Callable[[], Iterable[np.ndarray]]) -> str | None:
    """A digest of a run's numbers; None where they are too few to tell a copy from a coincidence, as on a task that
    everybody solves.

    Args:
        ends: its scores at the end, one per kind and mode.
        lines: every evaluation of it, which are asked for where the ends alone are too few.
    """
    numbers = np.asarray(ends, dtype=np.float64)
    if not _is_telling(numbers):
        numbers = np.concatenate([np.zeros(0), *(np.ravel(x) for x in lines())])
    return hashlib.sha256(numbers.tobytes()).hexdigest() if _is_telling(numbers) else None


def same(fingerprints: Mapping[Run, str | None]) -> list[tuple[Run, ...]]:
    """The runs that have their numbers in common, two or more each, in the order given."""
    owners: dict[str, list[Run]] = {}
    for run, digest in fingerprints.items():
        if digest is not None:
            owners.setdefault(digest, []).append(run)
    return [tuple(runs) for runs in owners.values() if len(runs) > 1]


def _is_telling(numbers: np.ndarray) -> bool:
    return np.unique(numbers).size >= MIN_VALUES
