"""Whether a run went all the way: one that ended early is shown and counted, and never averaged as final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.table import SCORED, ForeignTable, Run, RunStatus

ENOUGH = 0.9  # of the budget: the last evaluation often lies a little before the end


def falls_short(end: int, goal: int) -> bool:
    """Whether a curve that ends at ``end`` stops far before ``goal``."""
    return end < ENOUGH * goal


def ends(table: ForeignTable) -> dict[Run, int]:
    """The last frame at which each run was evaluated."""
    found: dict[Run, int] = {}
    for e in table.evaluations:
        if e.kind in SCORED:
            found[e.run] = max(e.frames, found.get(e.run, 0))
    return found


def judged(table: ForeignTable) -> ForeignTable:
    """The table with the status ``incomplete`` for runs whose curve ends far before their siblings' (the longest run
    of the same method and task). What a source says itself (a crash, a budget) its reader has judged already."""
    last = ends(table)
    whole = {run: end for run, end in last.items() if run not in table.statuses and run not in table.reasons}
    longest: dict[tuple[str, str], int] = {}
    for (method, task, _), end in whole.items():
        longest[method, task] = max(end, longest.get((method, task), 0))
    short = {run: end for run, end in whole.items() if falls_short(end, longest[run[:2]])}
    statuses: dict[Run, RunStatus] = dict.fromkeys(short, "incomplete")
    reasons = {
        run: f"ends at {end:,} steps, the longest run of its method and task at {longest[run[:2]]:,}"
        for run, end in short.items()
    }
    return replace(table, statuses=table.statuses | statuses, reasons=table.reasons | reasons)


def overruled(table: ForeignTable, runs: Sequence[str]) -> ForeignTable:
    """The table with ``incomplete`` runs counted all the same; the reason stays, and :func:`overrulings` says so.

    Args:
        table: judged.
        runs: ``all``, METHOD or METHOD:SEED.

    Raises:
        BadInput: for one that names no incomplete run with an evaluation.
    """
    last = ends(table)
    open_ = [run for run, status in table.statuses.items() if status == "incomplete" and run in last]
    chosen: set[Run] = set()
    for text in runs:
        found = {r for r in open_ if text in ("all", r[0], f"{r[0]}:{r[2]}")}
        if not found:
            known = ", ".join(f"{m}:{s}" for m, _, s in open_) or "none"
            raise BadInput(f"--complete {text!r}: expected all, METHOD or METHOD:SEED of an incomplete run ({known}).")
        chosen |= found
    reasons = table.reasons | {run: table.reasons.get(run) or "incomplete" for run in chosen}
    return replace(table, statuses={r: s for r, s in table.statuses.items() if r not in chosen}, reasons=reasons)


def overrulings(table: ForeignTable) -> str:
    """A sentence that names the runs that count although they ended early; empty where there is none."""
    names = [f"{m} on {t} seed {s} ({x})" for (m, t, s), x in table.reasons.items() if (m, t, s) not in table.statuses]
    return f"Counted as complete although they ended early, on request: {', '.join(names)}." if names else ""


def lost_runs(table: ForeignTable, *, task: str | None = None) -> str:
    """A sentence that names every run without a score; empty where there is none."""
    parts: dict[str, list[str]] = {}
    for (method, of, seed), status in table.statuses.items():
        if status in ("failed", "incomplete") and task in (None, of):
            why = table.reasons.get((method, of, seed), "").rstrip(".")
            name = f"{method}{f' on {of}' if task is None else ''} seed {seed}"
            parts.setdefault(status, []).append(f"{name} ({why})" if why else name)
    for (method, of, seed), earlier in table.retried.items():
        if task in (None, of):
            name = f"{method}{f' on {of}' if task is None else ''} seed {seed}"
            parts.setdefault("started again", []).append(f"{name} ({', '.join(earlier)} before)")
    text = "; ".join(f"{len(names)} {word}: {', '.join(names)}" for word, names in parts.items())
    return f"Runs without a score are counted and never averaged: {text}." if text else ""
