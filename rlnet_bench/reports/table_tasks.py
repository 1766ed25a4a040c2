"""Per-task tables: absolute and final score, success metric, and deterministic against sampled actions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rlnet_bench.analysis.boards import TaskBoard
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.results import MethodInfo
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import Cell, Column, Table, estimate_cell, marked
from rlnet_bench.reports.table_parts import DAGGER_NOTE, HEAD, NOTHING, grouped, head, mean_text, runs_text
from rlnet_bench.reports.titles import task_titles
from rlnet_bench.vocabulary import EndKind, Mode

TINT = {
    "return": "Tint: normalised score, from none at the random policy to full at the documented best.",
    "success": "Tint: the success metric, from 0 to 1.",
}


def task_columns(estimates: Estimates) -> tuple[Column, ...]:
    """One column per task, with everything that tells it from its namesakes."""
    out = []
    titles = task_titles(estimates.results.tasks)
    for fact in estimates.facts:
        name, detail = titles[fact.id]
        mark = " · channel task" if fact.card.channel else ""
        out.append(Column(name, detail + mark, note=fact.card.description))
    return tuple(out)


def score_table(
    estimates: Estimates,
    kind: EndKind,
    mode: Mode | None = None,
    metric: str = "return",
    *,
    only: Collection[str] | None = None,
) -> Table:
    """Method x task: the mean over runs with its interval, best and ties within each class; rows of ``only`` some."""
    board = estimates.board(kind, mode, metric)
    named = [m for m in board.methods if only is None or m in only]

    def row(info: MethodInfo) -> tuple[Cell, ...] | None:
        if info.label not in named:
            return None
        cells = [_score(estimates, board, info.label, f.id) for f in estimates.facts]
        return (*head(info), *cells)

    origin = estimates.results.origin
    shown = [c for m, row in board.cells.items() if m in named for c in row.values()]
    subject = f"Team return ({origin.scale})" if metric == "return" else "Success metric"
    bold = any(board.is_bold(m, f.id) or board.is_tied(m, f.id) for m in named for f in estimates.facts)
    caption = (
        f"{subject}, {kind}: {origin.end(kind)}, {origin.mode(board.mode)}. {mean_text(shown, estimates.level)}"
        + (f" {DAGGER_NOTE}" if bold else "")
    )
    return Table(
        f"tasks-{kind}" + ("" if metric == "return" else f"-{metric}"),
        f"{'Score' if metric == 'return' else 'Success'} per task, {kind}",
        (*HEAD, *task_columns(estimates)),
        grouped(estimates, row),
        caption,
        _notes(estimates, board),
        board_numbers([board], estimates),
        len(HEAD),
        TINT[metric],
        True,
    )


def _score(estimates: Estimates, board: TaskBoard, method: str, task: str) -> Cell:
    found = board.cell(method, task)
    if found is None:
        lost = board.lost.get((method, task))
        if lost is None:
            return _absent(estimates, board, method, task)
        return Cell("–", lost, note=estimates.grid.reason(method, task) or lost)
    declared = len(estimates.results.seeds)
    shade = None if found.normalised is None else min(max(found.normalised, 0.0), 1.0)
    cell = estimate_cell(found.estimate, runs_text=runs_text(found, declared), shade=shade)
    if found.mark:
        cell = replace(cell, under=f"{cell.under} ‡".strip(), note=f"{found.mark}; {cell.note}".rstrip("; "))
    return marked(cell, bold=board.is_bold(method, task), tied=board.is_tied(method, task))


def _absent(estimates: Estimates, board: TaskBoard, method: str, task: str) -> Cell:
    """An empty cell says why it is empty: nobody should take it for a zero."""
    if (method, task) not in estimates.results.declared:
        return Cell("–", "not applicable", note="the suite does not run this method on this task")
    if board.metric != "return" and estimates.board(board.kind, board.mode, "return").cell(method, task):
        return Cell("–", "not recorded", note=f"the source does not say the {board.metric} of these runs")
    return Cell("–", "no score yet", note="no finished run")


def _notes(estimates: Estimates, board: TaskBoard) -> tuple[str, ...]:
    """Sentences about channels that are bypassed, tasks on which nothing may be bold, and what success means."""
    notes = bypasses(estimates)
    marks = [
        f"‡ {m} on {t}: {c.mark}." for m, row in board.cells.items() for t, c in row.items() if c.mark
    ]  # fmt: skip
    notes += marks
    notes += [
        f"{m} on {t}: {text}" + (f" ({why})." if (why := estimates.grid.reason(m, t)) else ".")
        for (m, t), text in board.lost.items()
        if "failed" in text
    ]
    for name, members in estimates.classes.items():
        if len(members) < 2:
            continue
        by_reason: dict[str, list[str]] = {}
        for task, verdicts in board.verdicts.items():
            verdict = verdicts.get(name)
            if verdict is not None and verdict.bold is None and verdict.reason != "one method":
                reason = "tied" if verdict.reason == "everything is tied" else "few"
                if verdict.reason.startswith("budgets"):
                    notes.append(f"Class {name}, nothing is compared: {verdict.reason}.")
                    continue
                by_reason.setdefault(reason, []).append(task)
        if "tied" in by_reason:
            notes.append(f"Class {name}, all methods tied (not resolved): {', '.join(by_reason['tied'])}.")
        if "few" in by_reason:
            notes.append(f"Class {name}, too few runs to compare: {', '.join(by_reason['few'])}.")
    if board.metric == "success":
        meanings: dict[str, list[str]] = {}
        for f in estimates.facts:
            meanings.setdefault(f.card.success_description or f.card.success_metric, []).append(f.id)
        notes += [
            f"{text[0].upper()}{text[1:]}" + (f" ({', '.join(tasks)})." if len(meanings) > 1 else ".")
            for text, tasks in meanings.items()
        ]
    return tuple(notes)


def modes_table(estimates: Estimates, kind: EndKind | None = None) -> Table:
    """Deterministic against sampled actions; a changed order within a class is flagged."""
    first, second = estimates.board(kind, "deterministic"), estimates.board(kind, "sampled")
    changes = estimates.rank_changes(kind)

    def row(info: MethodInfo) -> tuple[Cell, ...] | None:
        if not info.trains or info.label not in first.cells or info.label not in second.cells:
            return None
        cells = []
        for fact in estimates.facts:
            a, b = first.cell(info.label, fact.id), second.cell(info.label, fact.id)
            if a is None or b is None:
                cells.append(NOTHING)
                continue
            x, y = estimate_cell(a.estimate), estimate_cell(b.estimate)
            places = changes.get((info.label, fact.id))
            under = f"rank {places[0]} → {places[1]}" if places else ""
            cells.append(Cell(f"{x.text} / {y.text}", under, sort=a.estimate.value - b.estimate.value))
        return (*head(info), *cells)

    moved = sorted({task for _, task in changes}, key=[f.id for f in estimates.facts].index)
    caption = (
        f"Deterministic / sampled actions, {kind or estimates.kind} score, mean over runs. Where the order within an "
        "execution class depends on the mode, both ranks are given (by point estimate)."
    )
    note = f"Rank changes on: {', '.join(moved)}." if moved else "No rank changes within any class."
    return Table(
        "modes", "Deterministic against sampled actions", (*HEAD, *task_columns(estimates)),
        grouped(estimates, row, controls=False), caption, (note,),
        board_numbers([first, second], estimates), len(HEAD), "", True,
    )  # fmt: skip


def bypasses(estimates: Estimates) -> list[str]:
    """On a channel task the task is to learn to signal; who knows without being told has another task."""
    by_task: dict[str, list[str]] = {}
    for members in estimates.classes.values():
        for info in members:
            for f in estimates.facts:
                if f.card.channel and info.columns.get(f.id, {}).get("execution", "D0") != "D0":
                    by_task.setdefault(f.id, []).append(info.label)
    return [
        f"{task} is a channel task: {', '.join(labels)} pass{'es' * (len(labels) == 1)} information around the channel "
        "and cannot be compared with methods that must signal."
        for task, labels in by_task.items()
    ]


def board_numbers(boards: list[TaskBoard], estimates: Estimates) -> Numbers:
    """Tidy rows, one per board, method and task."""
    infos = {m.label: m for m in estimates.results.methods}
    rows: list[tuple[object, ...]] = []
    for board in boards:
        for method, by_task in board.cells.items():
            for task, c in by_task.items():
                e, info = c.estimate, infos[method]
                rows.append(
                    (
                        method, info.execution, info.training, task, board.kind, board.mode, board.metric, e.value,
                        e.low, e.high, e.method, e.reason, c.normalised if board.metric == "return" else None, c.n,
                        c.runs.n_diverged, c.runs.n_failed, c.runs.n_missing, board.is_bold(method, task),
                        board.is_tied(method, task),
                    )
                )  # fmt: skip
    header = (
        "method", "execution", "training", "task", "kind", "mode", "metric", "value", "low", "high", "interval",
        "reason", "normalised", "runs", "diverged", "failed", "missing", "best", "tied",
    )  # fmt: skip
    return Numbers(header, tuple(rows))
