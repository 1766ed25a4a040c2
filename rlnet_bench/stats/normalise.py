"""Fixed, versioned reference points: 0 is the random policy, 1 the documented best.

Scores are never normalised by the data at hand, so adding a method cannot move another's score, and they
are never clipped here: a score above 1 is news, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rlnet_bench.errors import BadInput

if TYPE_CHECKING:
    from rlnet_bench.stats.scores import RunScores

# A gap of fewer standard errors than this cannot carry an interval: the ratio's distribution has no useful
# quantiles once the denominator may come near zero.
MIN_GAP_IN_SE = 5.0


@dataclass(frozen=True)
class Bounds:
    """The two reference points of one task, in the task's own units.

    ``low`` (random policy) becomes 0 and ``high`` (documented best) becomes 1. ``low_n`` and ``high_n`` are
    the numbers of episodes or runs behind them, ``low_se`` and ``high_se`` their standard errors (0 for an
    analytic value). Raises :class:`BadInput` unless ``high > low`` and all numbers are finite.

    >>> Bounds(low=-120.0, high=-20.0).gap
    100.0
    """

    low: float
    high: float
    low_n: int = 0
    low_se: float = 0.0
    high_n: int = 0
    high_se: float = 0.0
    source: str = ""
    version: str = "1"

    def __post_init__(self) -> None:
        if not np.all(np.isfinite([self.low, self.high, self.low_se, self.high_se])):
            raise BadInput(f"reference points must be finite numbers, found {self}.")
        if self.high <= self.low:
            raise BadInput(
                f"reference points need high > low, found low={self.low}, high={self.high} "
                f"(source {self.source!r}, version {self.version!r}). Negate a cost before normalising it."
            )
        if self.low_se < 0 or self.high_se < 0:
            raise BadInput(f"standard errors of reference points cannot be negative, found {self}.")

    @property
    def gap(self) -> float:
        """Distance between the reference points, in the task's units."""
        return self.high - self.low

    @property
    def is_exact(self) -> bool:
        """Whether neither point carries a standard error."""
        return self.low_se == 0 and self.high_se == 0

    @property
    def is_usable(self) -> bool:
        """Whether the gap is large enough, in standard errors, to be divided by."""
        return self.gap >= MIN_GAP_IN_SE * float(np.hypot(self.low_se, self.high_se))


def normalise(runs: RunScores, bounds: Mapping[str, Bounds]) -> RunScores:
    """Return ``(x - low) / (high - low)`` for every run; the bounds travel with the result.

    Intervals of the result include the reference points' own errors: each resample draws
    ``low* ~ N(low, low_se^2)`` and ``high* ~ N(high, high_se^2)`` from the same generator, once per task and
    shared by every method in a comparison. Raises :class:`BadInput` for tasks without bounds and for
    scores that are normalised already.
    """
    if runs.bounds:
        raise BadInput(f"the scores of method {runs.method!r} are normalised already.")
    absent = [t for t in runs.tasks if t not in bounds]
    if absent:
        raise BadInput(f"no reference points for task(s) {absent}; known: {sorted(bounds)}.")
    scaled = {t: replace(r, scores=(r.scores - bounds[t].low) / bounds[t].gap) for t, r in runs.runs.items()}
    return replace(runs, runs=scaled, bounds={t: bounds[t] for t in runs.tasks})


def denormalise(runs: RunScores) -> RunScores:
    """Undo :func:`normalise`. Raises :class:`BadInput` when the scores carry no bounds."""
    if not runs.bounds:
        raise BadInput(f"the scores of method {runs.method!r} carry no reference points to undo.")
    raw = {t: replace(r, scores=r.scores * runs.bounds[t].gap + runs.bounds[t].low) for t, r in runs.runs.items()}
    return replace(runs, runs=raw, bounds={})
