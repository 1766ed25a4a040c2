"""What a statistic returns: a value, its interval or the reason why there is none, and what to print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """One number with its uncertainty.

    ``low`` and ``high`` are both None when no interval may be given; ``reason`` then says why in a
    sentence. ``level`` is the nominal coverage, ``method`` how the interval was made. ``n_per_task`` counts
    scored runs (of the first method, in a comparison; ``n_per_task_b`` of the second). ``flags`` are remarks
    that belong in the caption.
    """

    value: float
    low: float | None
    high: float | None
    level: float
    method: str
    n_per_task: Mapping[str, int]
    flags: tuple[str, ...] = ()
    reason: str | None = None
    statistic: str = ""
    n_resamples: int = 0
    n_per_task_b: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_interval(self) -> bool:
        """Whether an interval is given."""
        return self.low is not None and self.high is not None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, or None."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Whether there is an interval and it does not contain ``value``."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        out["n_per_task"], out["n_per_task_b"] = dict(self.n_per_task), dict(self.n_per_task_b)
        out["flags"] = list(self.flags)
        return out

    def __str__(self) -> str:
        name = f"{self.statistic} " if self.statistic else ""
        if self.low is None or self.high is None:
            return f"{name}{self.value:.4g} (no interval: {self.reason})"
        return f"{name}{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def _repr_html_(self) -> str:
        detail = f"{self.level:.0%} interval, {self.method}" if self.has_interval else str(self.reason)
        notes = "; ".join((detail, *self.flags))
        return f"<span title='{escape(notes, quote=True)}'>{escape(str(self))}</span>"


@dataclass(frozen=True, eq=False)
class BandEstimate:
    """A curve with its band: ``x_T``, ``value_T`` and, unless ``reason`` is given, ``low_T`` and ``high_T``.

    ``simultaneous`` says whether the whole true curve is covered at ``level``, or each point by itself.
    """

    x_T: np.ndarray
    value_T: np.ndarray
    low_T: np.ndarray | None
    high_T: np.ndarray | None
    level: float
    method: str
    n_per_task: Mapping[str, int]
    simultaneous: bool = False
    flags: tuple[str, ...] = ()
    reason: str | None = None
    statistic: str = ""
    n_resamples: int = 0

    @property
    def has_interval(self) -> bool:
        """Whether a band is given."""
        return self.low_T is not None and self.high_T is not None
