"""Reading a tidy frame (one row per run) without importing pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.scores import TaskRuns
from rlnet_bench.vocabulary import ScoredStatus

if TYPE_CHECKING:
    import pandas as pd

_SCORED: dict[str, ScoredStatus] = {"ok": "ok", "diverged": "diverged"}
_UNSCORED = {
    "failed": "failed",
    "infra_failed": "failed",
    "incomplete": "incomplete",
    "missing": "missing",
    "running": "missing",
}


def read_frame(frame: pd.DataFrame, floors: Mapping[str, float] | None) -> dict[str, dict[str, TaskRuns]]:
    """Return method -> task -> runs; see :meth:`RunScores.from_frame` for the rules."""
    absent = [c for c in ("method", "task", "seed", "score") if c not in frame.columns]
    if absent:
        raise BadInput(
            f"expected the columns method, task, seed, score (and optionally status), "
            f"missing {absent}, found {list(map(str, frame.columns))}."
        )
    known: dict[str, str] = {**_SCORED, **_UNSCORED}
    cells: dict[str, dict[str, list[tuple[float, int, str]]]] = {}
    statuses = frame["status"] if "status" in frame.columns else ["ok"] * len(frame)
    for method, task, seed, score, status in zip(
        frame["method"], frame["task"], frame["seed"], frame["score"], statuses
    ):
        if status not in known:
            raise BadInput(
                f"unknown status {status!r} of method {method!r} on task {task!r}, seed {seed}: "
                f"expected one of {sorted(known)}."
            )
        kind = known[status]
        if kind == "diverged" and floors is not None and task in floors:
            value = float(floors[task])
        elif kind in _SCORED:
            value = _number(score, method, task, seed)
        else:
            value = float("nan")
        cells.setdefault(str(method), {}).setdefault(str(task), []).append((value, _seed(seed, method, task), kind))
    return {m: {t: _from_rows(rows) for t, rows in by_task.items()} for m, by_task in cells.items()}


def _from_rows(rows: Sequence[tuple[float, int, str]]) -> TaskRuns:
    kept = [row for row in rows if row[2] in ("ok", "diverged")]
    statuses = tuple(_SCORED[kind] for _, _, kind in kept)
    return TaskRuns(
        np.array([score for score, _, _ in kept], dtype=np.float64),
        tuple(seed for _, seed, _ in kept),
        statuses,
        n_failed=sum(kind == "failed" for _, _, kind in rows),
        n_missing=sum(kind == "missing" for _, _, kind in rows),
        n_incomplete=sum(kind == "incomplete" for _, _, kind in rows),
    )


def _number(score: Any, method: Any, task: Any, seed: Any) -> float:
    try:
        return float(score)
    except (TypeError, ValueError):
        raise BadInput(
            f"score {score!r} of method {method!r} on task {task!r}, seed {seed}, is not a number."
        ) from None


def _seed(seed: Any, method: Any, task: Any) -> int:
    try:
        if int(seed) == seed:
            return int(seed)
    except (TypeError, ValueError):
        pass
    raise BadInput(f"seed {seed!r} of method {method!r} on task {task!r} is not a whole number.")
