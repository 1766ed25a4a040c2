"""What the runs cost: parameters, frames, updates, seconds. Seconds come from ``timings.jsonl`` only.

A timing line holds ``frames`` (of one seed) and ``seconds`` since the group began, cumulative over
resumes; the seeds of a group train side by side and share its clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.results import Results

_SECONDS = ("seconds", "elapsed_seconds", "elapsed", "wall_seconds", "wall_s", "train_seconds")


@dataclass(frozen=True)
class Cost:
    """One (method, task). Seconds are of whole groups, summed; rates count the frames of all their seeds."""

    method: str
    task: str
    frames: int  # per seed
    updates: int  # per seed, the most
    seeds: int
    groups: int
    seconds: float | None = None
    frames_per_second: float | None = None


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
            clocks = [(last_clock(r), r) for r in records] if timings else []
            known = [(clock, r) for clock, r in clocks if clock is not None]
            seconds = sum(c[1] for c, _ in known) if known and len(known) == len(records) else None
            played = sum(c[0] * len(r.seed_status) for c, r in known)
            rate = played / seconds if seconds and played else None
            out.append(Cost(method.label, task, frames, updates, seeds, len(records), seconds, rate))
    return tuple(out)


def clock(record: RunRecord) -> tuple[np.ndarray, np.ndarray]:
    """Frames [P] and seconds [P] of a group's timings, both increasing; empty arrays without timings."""
    points: dict[float, float] = {}
    for line in record.timings:
        seconds = _seconds(line)
        frames = line.get("frames")
        if seconds is not None and isinstance(frames, int | float):
            points[float(frames)] = max(points.get(float(frames), 0.0), seconds)
    frames_P = np.array(sorted(points))
    seconds_P = np.maximum.accumulate(np.array([points[f] for f in frames_P])) if points else np.zeros(0)
    return frames_P, seconds_P


def last_clock(record: RunRecord) -> tuple[float, float] | None:
    """Frames and seconds at the last timing line, or None."""
    frames_P, seconds_P = clock(record)
    return (float(frames_P[-1]), float(seconds_P[-1])) if frames_P.size else None


def _seconds(line: Mapping[str, Any]) -> float | None:
    for key in _SECONDS:
        value = line.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            return float(value)
    return None


def settings_of(results: Results, method: str) -> dict[str, Any]:
    """The resolved settings that a method ran with (of its first record)."""
    records = [r for r in results.records if r.method == method]
    return dict(records[0].config.get("settings") or {}) if records else {}
