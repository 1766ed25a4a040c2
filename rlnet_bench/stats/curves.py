"""Learning curves: aligned without extrapolation, resampled as whole runs.

One index is drawn per run and used at every point, so a band keeps the dependence along the curve and any
functional of a curve (area, threshold) has a valid interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.scores import RunScores, TaskRuns, Tasks, select_tasks
from rlnet_bench.vocabulary import ScoredStatus

if TYPE_CHECKING:
    from rlnet_bench.stats.normalise import Bounds


@dataclass(frozen=True, eq=False)
class RunCurve:
    """One run's evaluations: ``frames`` [t], strictly increasing, and ``values`` [t] in task units.

    ``frames`` may be any axis (environment frames, seconds). A diverged run's evaluations end where it
    diverged; from there on it is worth the task's floor.
    """

    seed: int
    frames: npt.ArrayLike
    values: npt.ArrayLike
    status: ScoredStatus = "ok"

    def arrays(self) -> tuple[Array, Array]:
        """Return frames and values as float64 arrays; raises :class:`BadInput` naming the seed."""
        x, y = np.asarray(self.frames, dtype=np.float64), np.asarray(self.values, dtype=np.float64)
        if x.ndim != 1 or x.shape != y.shape or x.size == 0:
            raise BadInput(
                f"the curve of seed {self.seed} needs as many values as frames, at least one: "
                f"found shapes {x.shape} and {y.shape}."
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
            raise BadInput(f"the curve of seed {self.seed} has values or frames that are not finite.")
        if np.any(np.diff(x) <= 0):
            raise BadInput(f"the frames of seed {self.seed} do not increase strictly.")
        return x, y


@dataclass(frozen=True, eq=False)
class TaskCurves:
    """The runs of one task on one grid: ``frames_T`` and ``values_nT`` [n, T], both read-only."""

    frames_T: Array
    values_nT: Array
    seeds: tuple[int, ...]
    statuses: tuple[ScoredStatus, ...]

    def __post_init__(self) -> None:
        for name in ("frames_T", "values_nT"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.values_nT.shape != (len(self.seeds), self.frames_T.size):
            raise BadInput(
                f"expected values [{len(self.seeds)} runs, {self.frames_T.size} points], found {self.values_nT.shape}."
            )

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class RunCurves:
    """One method's learning curves: task -> runs on a grid. Build with :meth:`from_runs`."""

    method: str
    curves: Mapping[str, TaskCurves]
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))

    @classmethod
    def from_runs(
        cls,
        method: str,
        runs: Mapping[str, Sequence[RunCurve]],
        floors: Mapping[str, float] | None = None,
        budgets: Mapping[str, float] | None = None,
    ) -> RunCurves:
        """Align the runs of each task with :func:`align_to_grid`."""
        floors, budgets = floors or {}, budgets or {}
        return cls(method, {t: align_to_grid(r, floors.get(t), budgets.get(t)) for t, r in runs.items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names in the order given."""
        return tuple(self.curves)

    def normalised(self, bounds: Mapping[str, Bounds]) -> RunCurves:
        """Return the curves as ``(x - low) / (high - low)``; the bounds' errors enter the bands."""
        absent = [t for t in self.tasks if t not in bounds]
        if absent or self.bounds:
            raise BadInput(
                f"curves of {self.method!r}: "
                + (f"no reference points for {absent}." if absent else "normalised already.")
            )
        scaled = {
            t: replace(c, values_nT=(c.values_nT - bounds[t].low) / bounds[t].gap) for t, c in self.curves.items()
        }
        return replace(self, curves=scaled, bounds={t: bounds[t] for t in self.tasks})

    def at(self, t: int) -> RunScores:
        """Return the scores at grid point ``t`` (an index; -1 is the last) of every task."""
        return self._scores({m: c.values_nT[:, t] for m, c in self.curves.items()})

    def _scores(self, scores: Mapping[str, Array]) -> RunScores:
        runs = {m: TaskRuns(scores[m], c.seeds, c.statuses) for m, c in self.curves.items()}
        return RunScores(self.method, runs, self.bounds)


def align_to_grid(runs: Sequence[RunCurve], floor: float | None = None, budget: float | None = None) -> TaskCurves:
    """Put runs on the union of their evaluation points, carrying the last evaluation forward.

    The grid begins where every run has an evaluation and ends at the shortest common budget (or at
    ``budget``): nothing is extrapolated. A diverged run does not shorten the grid; after its last evaluation
    it takes ``floor``. Raises :class:`BadInput` without runs, without a floor for a diverged run, or when
    the runs have no range in common.

    >>> a, b = RunCurve(0, [0, 10, 20], [0.0, 0.5, 0.9]), RunCurve(1, [0, 15], [0.1, 0.4])
    >>> aligned = align_to_grid([a, b])
    >>> aligned.frames_T.tolist(), aligned.values_nT.tolist()
    ([0.0, 10.0, 15.0], [[0.0, 0.5, 0.5], [0.1, 0.1, 0.4]])
    """
    if not runs:
        raise BadInput("expected at least one run to align, found none.")
    if any(r.status == "diverged" for r in runs) and floor is None:
        raise BadInput("a diverged run needs the task's floor for the points after it diverged.")
    arrays = [r.arrays() for r in runs]
    ends = [x[-1] for (x, _), r in zip(arrays, runs) if r.status == "ok"]
    end = min(ends) if ends else max(x[-1] for x, _ in arrays)
    if budget is not None:
        end = min(end, budget) if ends else budget
    start = max(x[0] for x, _ in arrays)
    grid = np.unique(np.concatenate([x for x, _ in arrays] + ([[end]] if not ends else [])))
    grid = grid[(grid >= start) & (grid <= end)]
    if grid.size == 0:
        raise BadInput(f"the runs have no frames in common: one begins at {start:g}, one ends at {end:g}.")
    values = np.empty((len(runs), grid.size))
    for i, ((x, y), run) in enumerate(zip(arrays, runs)):
        values[i] = y[np.searchsorted(x, grid, side="right") - 1]
        if run.status == "diverged" and floor is not None:
            values[i, grid > x[-1]] = floor
    return TaskCurves(grid, values, tuple(r.seed for r in runs), tuple(r.status for r in runs))


def on_common_grid(curves: RunCurves, tasks: Tasks = "all") -> tuple[Array, Array, Pooled, tuple[str, ...]]:
    """Bring all tasks to one grid: returns frames [T], values [N, T], the pooled runs, and flags.

    The union of the tasks' grids, last evaluation carried forward, cut to the range that all share.
    """
    names, flags = select_tasks([curves.at(-1)], tasks)
    chosen = [curves.curves[t] for t in names]
    start, end = max(c.frames_T[0] for c in chosen), min(c.frames_T[-1] for c in chosen)
    grid = np.unique(np.concatenate([c.frames_T for c in chosen]))
    grid = grid[(grid >= start) & (grid <= end)]
    if grid.size == 0:
        raise BadInput(f"the tasks {list(names)} of {curves.method!r} have no frames in common.")
    values_NT = np.concatenate([c.values_nT[:, np.searchsorted(c.frames_T, grid, side="right") - 1] for c in chosen])
    if any(c.frames_T[-1] > end for c in chosen):
        flags += (f"cut at the shortest common budget, {end:g}",)
    return grid, values_NT, curves.at(-1).pooled(names), flags


def area_under_curve(curves: RunCurves) -> RunScores:
    """Return each run's area under its curve (trapezoid) divided by the budget, ready to be aggregated.

    The unit is that of the values: a mean over training. A grid of one point gives its value.
    """
    areas = {}
    for task, c in curves.curves.items():
        span = c.frames_T[-1] - c.frames_T[0]
        area = np.trapezoid(c.values_nT, c.frames_T, axis=1) / span if span > 0 else c.values_nT[:, 0]
        areas[task] = np.asarray(area, dtype=np.float64)
    return curves._scores(areas)
