"""What the runs cost: parameters, frames, updates, seconds. Seconds come from ``timings.jsonl`` only.

A timing line belongs to one evaluation of a group: ``frames`` (of one seed), and ``train_seconds`` and
``eval_seconds`` since the line before it. The seeds of a group train side by side and share its clock. A line
made again after a resume replaces the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlnet_bench.analysis.results import Results
from rlnet_bench.runs.records import RunRecord


@dataclass(frozen=True)
class Cost:
    """One (method, task). Seconds are of whole groups, summed; rates count the frames of all their seeds."""

    method: str
    task: str
    frames: int  # per seed
    updates: int  # per seed, the most
    seeds: int
    groups: int
    seconds: float | None = None  # training alone
    eval_seconds: float | None = None
    frames_per_second: float | None = None  # while training


@dataclass(frozen=True, eq=False)
class Clock:
    """A group's seconds at its evaluations: ``frames_P`` [P] and, cumulative, training and evaluation [P]."""

    frames_P: np.ndarray
    train_P: np.ndarray
    eval_P: np.ndarray


def costs(results: Results, timings: bool = True) -> tuple[Cost, ...]:
    """The cost of every cell with records, in suite order; without timings the seconds stay out."""
    out = []
    for method in results.methods:
        for task in results.tasks:
            records = results.find(method.label, task)
            if not records:
                continue
            frames = max((e.trained_frames for r in records for e in r.evals), default=0)
            updates = max((e.updates for r in records for e in r.evals), default=0)
            seeds = sum(len(r.seed_status) for r in records)
            cost = Cost(method.label, task, frames, updates, seeds, len(records))
            clocks = [(clock(r), len(r.seed_status)) for r in records] if timings else []
            if clocks and all(c.frames_P.size for c, _ in clocks):
                train = sum(float(c.train_P[-1]) for c, _ in clocks)
                played = sum(float(c.frames_P[-1]) * n for c, n in clocks)
                rate = played / train if train > 0 and played else None
                cost = replace(
                    cost,
                    seconds=train,
                    eval_seconds=sum(float(c.eval_P[-1]) for c, _ in clocks),
                    frames_per_second=rate,
                )
            out.append(cost)
    return tuple(out)


def clock(record: RunRecord) -> Clock:
    """The clock of a group; empty arrays without timings."""
    points: dict[float, tuple[float, float]] = {}
    for line in record.timings:
        frames, train, evaluation = (_number(line, k) for k in ("frames", "train_seconds", "eval_seconds"))
        if frames is not None and train is not None:
            points[frames] = (max(train, 0.0), max(evaluation or 0.0, 0.0))
    frames_P = np.array(sorted(points))
    seconds_P2 = np.array([points[f] for f in frames_P]).reshape(-1, 2).cumsum(axis=0)
    return Clock(frames_P, seconds_P2[:, 0], seconds_P2[:, 1])


def _number(line: Mapping[str, Any], key: str) -> float | None:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def settings_of(results: Results, method: str) -> dict[str, list[tuple[Any, tuple[str, ...]]]]:
    """The resolved settings that a method ran with: name -> its values, each with the tasks that had it."""
    found: dict[str, list[tuple[Any, tuple[str, ...]]]] = {}
    for record in (r for r in results.records if r.method == method):
        for name, value in (record.config.get("settings") or {}).items():
            values = found.setdefault(name, [])
            known = next((i for i, (v, _) in enumerate(values) if v == value), None)
            if known is None:
                values.append((value, (record.task,)))
            elif record.task not in values[known][1]:
                values[known] = (value, (*values[known][1], record.task))
    return found
