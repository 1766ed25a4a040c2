"""Looking at a grid from outside: what every group is doing, from the store alone. Imports without torch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.calibrate import Calibration, key, points_of, seconds, stored
from rlnet_bench.runs.compact import lost_runs, read_index
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.lease import worker_of
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.records import read_timings
from rlnet_bench.runs.store import ENDED, Store

PROGRESS = {"frames?": int, "budget?": int, "rate?": float}


@dataclass(frozen=True)
class GroupView:
    """One row of the grid."""

    run_id: str
    method: str
    task: str
    seeds: tuple[int, ...]
    status: str  # missing | waiting | running | ok | diverged | failed
    frames: int  # trained so far, per seed
    budget: int
    rate: float  # frames per second, all seeds together
    seconds_left: float | None  # from the present rate, or from the calibration of its cell
    diverged_seeds: tuple[int, ...]
    reason: str
    worker: str = ""  # host:process of who works on it
    damaged: bool = False  # its record is not what was written, so that it counts as failed

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def view(store: Store, group: Group) -> GroupView:
    """The row of one group. A group that is running without a living worker is ``waiting``."""
    status, damaged = store.status(group), False
    if status["status"] in (*ENDED, "missing"):
        try:
            store.record(group)
        except StoreError as error:
            damaged = True
            status = {**status, "status": "failed", "seeds": {}, "reason": str(error)}
    state = status["status"]
    budget = group.config["frames"]
    frames, rate, worker = (budget if state in ("ok", "diverged") else 0), 0.0, ""
    if state == "running":
        try:
            progress = read_mapping(store.folder(group) / "progress.json", PROGRESS)
        except StoreError:  # it is being rewritten this very moment
            progress = {}
        frames, rate = progress.get("frames", 0), progress.get("rate", 0.0)
        holder = store.holder(group)
        if holder is None:
            state, rate = "waiting", 0.0
        else:
            worker = worker_of(holder)
    left = (budget - frames) * len(group.config["seeds"]) / rate if rate > 0 else None
    if left is not None:
        left += scoring_left(store.folder(group) / "timings.jsonl", group.config)
    diverged = tuple(int(s) for s, v in status["seeds"].items() if v == "diverged")
    return GroupView(
        group.run_id, group.label, group.config["task"], tuple(group.config["seeds"]), state, frames, budget,
        rate, left, diverged, status.get("reason", ""), worker, damaged,
    )  # fmt: skip


def scoring_left(timings: Path, config: Mapping[str, Any], now: float | None = None) -> float:
    """Seconds of evaluation that a running group has before it, at the pace of its evaluations so far.

    The points of the curve that are left, then the final and the absolute metric, less the time since the last point.
    """
    try:
        spent = {line["frames"]: float(line.get("eval_seconds", 0.0)) for line in read_timings(timings)[0]}
        written = timings.stat().st_mtime
    except (OSError, StoreError, KeyError):
        return 0.0
    rules = config["evaluation"]
    points = points_of(config) - len(spent)
    pace = sum(spent.values()) / (len(spent) * rules["episodes"]) if spent else 0.0  # seconds per episode
    ends = 2 * rules["absolute_episodes"] * pace
    if points <= 0:
        ends = max(0.0, ends - max(0.0, (time.time() if now is None else now) - written))
    return max(points, 0) * rules["episodes"] * pace + ends


def snapshot(store: Store, plan: Plan) -> list[GroupView]:
    """All rows, in the plan's order; ended groups from the store's index where it is fresh."""
    index = read_index(store)
    rows = [
        ended_view(group, index[group.run_id]) if group.run_id in index else view(store, group) for group in plan.groups
    ]
    lost = lost_runs(store, {g.run_id for g in plan.groups} - set(index))
    rows = [_damaged(row, lost[row.run_id]) if row.run_id in lost else row for row in rows]
    costs = predicted(g for g, row in zip(plan.groups, rows) if row.status not in ENDED)
    return [with_cost(row, costs.get(row.run_id)) for row in rows]


def _damaged(row: GroupView, why: str) -> GroupView:
    return replace(row, status="failed", frames=0, rate=0.0, reason=why, damaged=True)


def predicted(groups: Iterable[Group]) -> dict[str, float]:
    """Seconds of whole groups by run id, where this machine has a calibration of the cell."""
    known: dict[str, Calibration | None] = {}
    costs = {}
    for group in groups:
        cell = key(group.config)
        if cell not in known:
            known[cell] = stored(group.config)
        found = known[cell]
        if found is not None:
            costs[group.run_id] = seconds(group.config, found)
    return costs


def with_cost(row: GroupView, seconds: float | None) -> GroupView:
    """A row that waits for a worker, with the predicted time of what is left of it."""
    if seconds is None or row.status not in ("missing", "waiting"):
        return row
    return replace(row, seconds_left=seconds * (1 - row.frames / row.budget if row.budget else 1.0))


def ended_view(group: Group, line: dict[str, Any]) -> GroupView:
    """The row of a group that has ended, from its line of the index."""
    budget, done = group.config["frames"], line["status"] in ("ok", "diverged")
    diverged = tuple(int(s) for s, v in line["seeds"].items() if v == "diverged")
    return GroupView(
        group.run_id, group.label, group.config["task"], tuple(group.config["seeds"]), line["status"],
        budget if done else 0, budget, 0.0, None, diverged, line["reason"],
    )  # fmt: skip


def _is_over(row: GroupView) -> bool:
    """Nothing will change any more; what is damaged may be made again."""
    return row.status in ENDED and not row.damaged


class Watcher:
    """Looks again and again at a grid; what has ended is read once only."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store, self.plan = store, plan
        self.ended: dict[str, GroupView] = {r.run_id: r for r in snapshot(store, plan) if _is_over(r)}
        self.costs = predicted(g for g in plan.groups if g.run_id not in self.ended)

    def look(self) -> list[GroupView]:
        """All rows, in the plan's order."""
        rows = []
        for group in self.plan.groups:
            row = self.ended.get(group.run_id) or view(self.store, group)
            if _is_over(row):
                self.ended[group.run_id] = row
            rows.append(with_cost(row, self.costs.get(row.run_id)))
        return rows


def time_left(rows: list[GroupView], workers: int) -> float | None:
    """Seconds until the grid is done; None while nothing is known.

    Groups of which neither a rate nor a calibration is known cost, per frame, what those that are known cost.
    """
    left = [row for row in rows if row.status not in ENDED]
    known = [row for row in left if row.seconds_left is not None]
    seconds, frames = sum(row.seconds_left or 0.0 for row in known), sum(map(_frames_left, known))
    unknown = sum(_frames_left(row) for row in left if row.seconds_left is None)
    if not known or (unknown and not frames):
        return None
    return (seconds + (unknown * seconds / frames if unknown else 0.0)) / max(1, workers)


def _frames_left(row: GroupView) -> int:
    return (row.budget - row.frames) * len(row.seeds)


def live_workers(rows: list[GroupView]) -> int:
    """How many groups are being worked on, by whomever; at least one, so that time can be told."""
    return max(1, sum(row.status == "running" for row in rows))
