"""Looking at a grid from outside: what every group is doing, from the store alone. Imports without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rlnet_bench.runs.compact import read_index
from rlnet_bench.runs.files import read_json
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.store import ENDED, Store


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
    seconds_left: float | None
    diverged_seeds: tuple[int, ...]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def view(store: Store, group: Group) -> GroupView:
    """The row of one group. A group that is running without a living worker is ``waiting``."""
    status = store.status(group)
    state = status["status"]
    budget = group.config["frames"]
    frames, rate = (budget, 0.0) if state in ("ok", "diverged") else (0, 0.0)
    if state == "running":
        try:
            progress = read_json(store.folder(group) / "progress.json")
        except Exception:  # it is being rewritten this very moment
            progress = {}
        frames, rate = progress.get("frames", 0), progress.get("rate", 0.0)
        if store.holder(group) is None:
            state, rate = "waiting", 0.0
    left = (budget - frames) * len(group.config["seeds"]) / rate if rate > 0 else None
    diverged = tuple(int(s) for s, v in status["seeds"].items() if v == "diverged")
    return GroupView(
        group.run_id, group.label, group.config["task"], tuple(group.config["seeds"]), state, frames, budget,
        rate, left, diverged, status.get("reason", ""),
    )  # fmt: skip


def snapshot(store: Store, plan: Plan) -> list[GroupView]:
    """All rows, in the plan's order; ended groups from the store's index where it is fresh."""
    index = read_index(store)
    return [
        ended_view(group, index[group.run_id]) if group.run_id in index else view(store, group) for group in plan.groups
    ]


def ended_view(group: Group, line: dict[str, Any]) -> GroupView:
    """The row of a group that has ended, from its line of the index."""
    budget, done = group.config["frames"], line["status"] in ("ok", "diverged")
    diverged = tuple(int(s) for s, v in line["seeds"].items() if v == "diverged")
    return GroupView(
        group.run_id, group.label, group.config["task"], tuple(group.config["seeds"]), line["status"],
        budget if done else 0, budget, 0.0, None, diverged, line["reason"],
    )  # fmt: skip


class Watcher:
    """Looks again and again at a grid; what has ended is read once only."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store, self.plan = store, plan
        self.ended: dict[str, GroupView] = {r.run_id: r for r in snapshot(store, plan) if r.status in ENDED}

    def look(self) -> list[GroupView]:
        """All rows, in the plan's order."""
        rows = []
        for group in self.plan.groups:
            row = self.ended.get(group.run_id) or view(self.store, group)
            if row.status in ENDED:
                self.ended[group.run_id] = row
            rows.append(row)
        return rows


def time_left(rows: list[GroupView], workers: int) -> float | None:
    """Seconds until the grid is done, from the present rates; None while nothing is known."""
    rates = [r.rate for r in rows if r.rate > 0]
    if not rates:
        return None
    left = sum((r.budget - r.frames) * len(r.seeds) for r in rows if r.status not in ("ok", "diverged", "failed"))
    return left / (sum(rates) / len(rates)) / max(1, workers)


def duration(seconds: float | None) -> str:
    """``1 h 02 min``, ``3 min 20 s``, ``12 s`` or ``?``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
