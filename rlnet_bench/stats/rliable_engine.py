"""The aggregate table computed by rliable itself, next to ours: a cross-check, never the result.

Differences to expect: rliable's IQM drops whole runs (its trimming rounds down, ours is fractional), its
intervals are plain percentiles (ours are expanded unless asked otherwise), and its draws come from numpy's
global state, which is seeded from our generator here and put back afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlnet_bench.errors import BadInput, MissingExtra
from rlnet_bench.stats.bootstrap import stream
from rlnet_bench.stats.estimate import STANDARD_AGGREGATES, aggregate_table
from rlnet_bench.stats.intervals import IntervalKind
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks

Table = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class EngineCheck:
    """Both tables and, per method and aggregate, ours minus rliable's ``(value, low, high)``."""

    ours: Table
    rliable: Table
    difference: dict[str, dict[str, tuple[float, float | None, float | None]]]

    @property
    def largest_value_difference(self) -> float:
        """Largest absolute difference of a point estimate."""
        return max(abs(cell[0]) for row in self.difference.values() for cell in row.values())


def rliable_table(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    interval: IntervalKind = "expanded",
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> EngineCheck:
    """Compute IQM, mean, median and optimality gap by both engines from the same scores.

    Raises :class:`MissingExtra` without rliable and :class:`BadInput` when a method has different numbers
    of runs per task, which rliable cannot hold.
    """
    library, metrics = _import_rliable()
    names, _ = select_tasks(methods, tasks)
    matrices = {}
    for runs in methods:
        counts = {t: runs.runs[t].n for t in names}
        if len(set(counts.values())) > 1:
            raise BadInput(f"rliable needs the same number of runs on every task, method {runs.method!r} has {counts}.")
        matrices[runs.method] = np.stack([runs.runs[t].scores for t in names], axis=1)
    ours = aggregate_table(methods, rng, level=level, interval=interval, tasks=names, n_resamples=n_resamples)
    functions = (
        metrics.aggregate_iqm,
        metrics.aggregate_mean,
        metrics.aggregate_median,
        metrics.aggregate_optimality_gap,
    )
    root = int(rng.integers(2**63))
    kept = np.random.get_state()  # noqa: NPY002 (rliable draws from the global state and ignores its seed)
    theirs: Table = {}
    try:
        for method, matrix in matrices.items():
            np.random.seed(int(stream(root, method).integers(2**32)))  # noqa: NPY002
            values, limits = library.get_interval_estimates(
                {method: matrix},
                lambda x: np.array([f(x) for f in functions]),
                reps=n_resamples,
                confidence_interval_size=level,
            )
            n_per_task = {t: len(matrix) for t in names}
            theirs[method] = {
                s.name: Estimate(
                    float(values[method][k]), float(limits[method][0, k]), float(limits[method][1, k]), level,
                    "rliable percentile", n_per_task, (), None, s.name, n_resamples,
                )
                for k, s in enumerate(STANDARD_AGGREGATES)
            }  # fmt: skip
    finally:
        np.random.set_state(kept)  # noqa: NPY002
    difference = {
        method: {
            name: (e.value - theirs[method][name].value, *_limit_differences(e, theirs[method][name]))
            for name, e in row.items()
        }
        for method, row in ours.items()
    }
    return EngineCheck(ours, theirs, difference)


def _limit_differences(ours: Estimate, theirs: Estimate) -> tuple[float | None, float | None]:
    if ours.low is None or ours.high is None or theirs.low is None or theirs.high is None:
        return None, None
    return ours.low - theirs.low, ours.high - theirs.high


def _import_rliable() -> tuple[Any, Any]:
    # rliable fails in several ways when its own dependencies are too new, not only with ImportError.
    try:
        from rliable import library, metrics
    except Exception as error:
        raise MissingExtra("rliable", "rliable", "the cross-check engine") from error
    return library, metrics
