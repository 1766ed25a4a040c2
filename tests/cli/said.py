"""What a command said, for tests that run the command line in their own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Said:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]
Run = Callable[..., tuple[int, str]]
