"""Learning curves of a report: whole runs on a common grid, their mean and its band, by frames or seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rlnet_bench.analysis.costs import clock
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.streams import named
from rlnet_bench.errors import BadInput
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.bands import curve_aggregate
from rlnet_bench.stats.curves import RunCurve, RunCurves, TaskCurves
from rlnet_bench.stats.result import BandEstimate

Axis = Literal["frames", "seconds"]
FEW_RUNS = 5  # up to here single runs are drawn as thin lines


@dataclass(frozen=True, eq=False)
class CurveEstimate:
    """One method on one task: the mean of its runs with a pointwise band, and the runs themselves."""

    method: str
    task: str
    axis: Axis
    runs: TaskCurves
    band: BandEstimate
    notes: tuple[str, ...] = field(default=())


def curves(
    results: Results, axis: Axis, copies: Mapping[tuple[str, str], Sequence[int]]
) -> dict[str, dict[str, CurveEstimate]]:
    """Task -> method -> curve, for trained methods with at least one evaluated run; copies of runs stay out."""
    out: dict[str, dict[str, CurveEstimate]] = {}
    for task in results.tasks:
        for method in results.methods:
            if not method.trains:
                continue
            curve = _curve(results, method.label, task, axis, copies.get((method.label, task), ()))
            if curve is not None:
                out.setdefault(task, {})[method.label] = curve
    return out


def _curve(results: Results, method: str, task: str, axis: Axis, copies: Sequence[int]) -> CurveEstimate | None:
    records = results.find(method, task)
    runs = [r for record in records for r in _runs(results, record, axis)]
    # A run that began later than the others end would leave no common range: it waits.
    runs = [r for r in runs if np.size(r.frames) and r.seed not in copies]
    if not runs:
        return None
    floor = results.card(task).floor
    budget = max((r.config.get("frames") or 0 for r in records), default=0) if axis == "frames" else 0
    budgets = {task: float(budget)} if budget and any(r.status == "diverged" for r in runs) else None
    try:
        aligned = RunCurves.from_runs(method, {task: runs}, {task: floor}, budgets)
    except BadInput:
        return None
    band = curve_aggregate(aligned, mean, named("curve", method, task, axis, results.primary), n_resamples=2000)
    return CurveEstimate(method, task, axis, aligned.curves[task], band)


def _runs(results: Results, record: RunRecord, axis: Axis) -> list[RunCurve]:
    known = clock(record)
    if axis == "seconds" and not known.frames_P.size:
        return []
    out = []
    for seed, status in record.seed_status.items():
        if status in ("failed", "incomplete"):
            continue
        points = {e.frames: float(e.team.mean()) for e in record.lines("curve", results.primary, seed)}
        if not points:
            continue
        x = np.array(sorted(points), dtype=np.float64)
        y = np.array([points[int(f)] for f in x])
        if axis == "seconds":
            x, keep = np.unique(np.interp(x, known.frames_P, known.train_P), return_index=True)
            y = y[keep]
        out.append(RunCurve(seed, x, y, "diverged" if status == "diverged" else "ok"))
    return out
