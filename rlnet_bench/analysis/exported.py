"""Results as other tools read them: every episode as a table for CSV, and marl-eval's JSON."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np

from rlnet_bench.analysis.imported import ForeignResults
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import BadInput
from rlnet_bench.foreign import table as shape
from rlnet_bench.foreign.marl_eval import ABSOLUTE
from rlnet_bench.foreign.table import SCORED, CellFacts, Evaluation, ForeignTable, RunStatus
from rlnet_bench.vocabulary import Mode


def from_results(results: Results) -> ForeignTable:
    """Results of a store or a published directory as a table: every episode, per agent."""
    if isinstance(results, ForeignResults) and results.table is not None:
        return results.table
    evaluations: list[Evaluation] = []
    facts: dict[tuple[str, str], CellFacts] = {}
    floors: dict[str, float] = {}
    statuses: dict[tuple[str, str, int], RunStatus] = {}
    reasons: dict[tuple[str, str, int], str] = {}
    infos = {m.label: m for m in results.methods}
    for record in results.records:
        method, task = record.method, record.task
        info, card = infos[method], results.card(task)
        task_hash = str(record.config.get("task_hash", ""))[:16]
        facts[method, task] = CellFacts("sum", "frames", card.horizon, task_hash, info.execution, info.trains)
        for seed, status in record.seed_status.items():
            if status == "diverged":
                statuses[method, task, seed] = "diverged"
                floors[task] = card.floor
            elif status in ("failed", "incomplete"):
                statuses[method, task, seed] = status
            if status != "ok" and record.reason:
                reasons[method, task, seed] = record.reason
        for e in record.evals:
            if e.kind in SCORED:
                kind = cast(shape.Kind, e.kind)
                evaluations.append(Evaluation(method, task, e.seed, kind, e.mode, e.frames, e.returns, e.success))
    return ForeignTable(results.name, tuple(evaluations), facts, statuses, floors, reasons=reasons)


def write_marl_eval(results: Results, mode: Mode | None = None) -> tuple[str, list[str]]:
    """Results as marl-eval JSON and what a reader of it should know.

    Every episode's team return (added over agents) and success; ``absolute_metrics`` hold the best checkpoint's
    fresh episodes. Diverged runs are cut where they broke, so they are left out and named.

    Raises:
        BadInput: when nothing was evaluated in this mode.
    """
    mode = mode or results.primary
    data: dict[str, Any] = {}
    remarks, shapes = [], set()
    for record in results.records:
        env, _, task = record.task.partition("/")
        for seed, status in sorted(record.seed_status.items()):
            if status in ("diverged", "failed", "incomplete"):
                where = f"{record.method} on {record.task}, seed {seed}"
                remarks.append(f"{where}, {status} and is left out: this format has no word for it.")
                continue
            curve = record.lines("curve", mode, seed)
            run: dict[str, Any] = {
                f"step_{k}": {"step_count": e.frames, **_metrics(e.team, e.success)} for k, e in enumerate(curve)
            }
            if not curve:
                continue
            shapes.add(len(curve))
            absolute = record.lines("absolute", mode, seed)
            run[ABSOLUTE] = _metrics(absolute[-1].team, absolute[-1].success) if absolute else {}
            methods = data.setdefault(env, {}).setdefault(task or env, {})
            methods.setdefault(record.method, {})[f"seed_{seed}"] = run
    if not data:
        raise BadInput(f"{results.name}: expected evaluations with {mode} actions, found none.")
    counts = {len(runs) for tasks in data.values() for methods in tasks.values() for runs in methods.values()}
    if len(counts) > 1 or len(shapes) > 1:
        remarks.append(
            f"runs per method range over {sorted(counts)} and points per run over {sorted(shapes)}: marl-eval itself "
            "asks for equal numbers everywhere (controls are evaluated once)."
        )
    return json.dumps(data, indent=1) + "\n", remarks


def _metrics(team: np.ndarray, success: np.ndarray) -> dict[str, list[float]]:
    out = {"return": [float(x) for x in team]}
    if not np.isnan(success).any():
        out["success"] = [float(x) for x in success]
    return out
