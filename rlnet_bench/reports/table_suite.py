"""Suite tables: aggregates, ranks, compute and tuning."""

from __future__ import annotations

import json
from typing import Any

from rlnet_bench.analysis.boards import KINDS
from rlnet_bench.analysis.costs import settings_of
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.pooling import NORMALISED
from rlnet_bench.analysis.results import MethodInfo
from rlnet_bench.analysis.wording import count, duration, p_text, short_count
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import TIE_MARK, Cell, Column, Group, Table, estimate_cell
from rlnet_bench.reports.table_parts import HEAD, NOTHING, grouped, head, resampled
from rlnet_bench.reports.titles import task_titles

TITLES = {
    "iqm": ("IQM", "higher is better"),
    "mean": ("Mean", "higher is better"),
    "median": ("Median", "higher is better"),
    "optimality_gap": ("Optimality gap", "lower is better"),
    "lower_tail_mean": ("Worst quarter", "mean of the worst 25 % of runs"),
}


def aggregate_table(estimates: Estimates) -> Table:
    """All aggregates of the absolute score, and the IQM of the final one."""
    absolute, final = estimates.headline, estimates.aggregates["final"]
    has_final = estimates.kind != "final" and bool(final)
    order = {m: i for i, m in enumerate(estimates.sorted_methods)}

    def row(info: MethodInfo) -> tuple[Cell, ...] | None:
        source = absolute.get(info.label) or estimates.controls.get(info.label)
        if source is None:
            covered = estimates.everyone.coverage(info.label)
            if not covered or not absolute:
                return None
            lost = ", ".join(estimates.everyone.lacking[info.label])
            cell = Cell("–", covered, note=f"no scored run on {lost}")
            return (*head(info), cell, *[NOTHING] * (len(statistics) - 1 + has_final))
        cells = [estimate_cell(source[s.name]) for s in statistics]
        last = final.get(info.label)
        return (*head(info), *cells, *([estimate_cell(last["iqm"]) if last else NOTHING] if has_final else []))

    statistics = estimates.statistics
    columns = [Column(*TITLES[s.name]) for s in statistics]
    if has_final:
        columns.append(Column("Final IQM", "end of training"))
    return Table(
        "aggregate",
        "Suite aggregates",
        (*HEAD, *columns),
        grouped(estimates, row, lambda m: order.get(m.label, len(order))),
        f"{scores_text(estimates)}, aggregated over {pool_text(estimates)}. {interval_text(estimates)} Methods of "
        "different execution classes are not ranked against each other.",
        estimates.pool.notes,
        _aggregate_numbers(estimates),
    )


def scores_text(estimates: Estimates) -> str:
    """Which scores are pooled, on which scale."""
    origin, pool = estimates.results.origin, estimates.pool
    scale = (
        "normalised: 0 is the random policy, 1 the documented best" if pool.unit == NORMALISED else pool.unit
    )  # fmt: skip
    subject = f"{estimates.kind.capitalize()} scores" if estimates.metric == "return" else "Success"
    return f"{subject} ({origin.end(estimates.kind)}, {origin.mode(estimates.mode)}), {scale}"


def interval_text(estimates: Estimates) -> str:
    """How the intervals were made, or why there are none."""
    found = [row["mean"] for row in estimates.headline.values()]
    if any(e.has_interval for e in found):
        return f"{estimates.level:.0%} intervals: stratified {resampled(found)}."
    return f"No intervals: {found[0].reason}." if found else ""


def pool_text(estimates: Estimates) -> str:
    """``15 runs x 3 tasks`` of what is pooled: runs per method."""
    if not estimates.pool.scores:
        return "no task"
    totals = sorted({sum(s.n_per_task.values()) for s in estimates.pool.scores})
    runs = str(totals[0]) if len(totals) == 1 else f"{totals[0]} to {totals[-1]}"
    tasks = len(estimates.pool.tasks)
    return f"{runs} runs per method on {tasks} task{'s' * (tasks != 1)}"


def _aggregate_numbers(estimates: Estimates) -> Numbers:
    rows = [
        (m, kind, name, e.value, e.low, e.high, e.method, e.reason, sum(e.n_per_task.values()), len(e.n_per_task))
        for kind in KINDS
        for source in (estimates.aggregates[kind], estimates.controls if kind == "absolute" else {})
        for m, by_name in source.items()
        for name, e in by_name.items()
    ]
    header = ("method", "kind", "statistic", "value", "low", "high", "interval", "reason", "runs", "tasks")
    return Numbers(header, tuple(rows))


def rank_table(estimates: Estimates) -> Table:
    """Rank intervals within each class, and the test against the best of it."""

    def row(info: MethodInfo) -> tuple[Cell, ...] | None:
        ranking = estimates.rankings.get(info.execution)
        if ranking is None or info.label not in {r.method for r in ranking.ranks}:
            return None
        place, ties = ranking[info.label], estimates.ties[info.execution]
        p = ties.adjusted_p.get(info.label)
        is_best = info.label == ties.best
        if len(ranking.ranks) == 1:
            verdict = "alone in its class"
        elif ranking.reason:
            verdict = "no claim"
        elif is_best:
            first = "first by estimate, tied with " + ", ".join(ties.tied)
            verdict = (first if ties.tied else "best") if ties.bold else "first by estimate, all tied"
        else:
            verdict = "worse than the best" if info.label in ties.worse else "tied with the best"
        interval = f"{place.low}–{place.high}" if place.low != place.high else str(place.low)
        mean = estimates.headline[info.label]["mean"]
        return (
            *head(info),
            Cell(interval, sort=float(place.rank), bold=ties.bold == info.label, dagger=info.label in ties.tied),
            Cell(str(place.rank), sort=float(place.rank)),
            estimate_cell(mean),
            Cell("–" if p is None else p_text(p), sort=p),
            Cell(verdict, sort=verdict),
        )

    order = {r.method: i for k in estimates.rankings.values() for i, r in enumerate(k.ranks)}
    notes = []
    for name, ranking in estimates.rankings.items():
        if ranking.tests:
            smallest = min(t.smallest_adjusted_p for t in ranking.tests)
            notes.append(
                f"Class {name}: {ranking.family}, smallest attainable {p_text(smallest)}"
                + (f"; no claim: {ranking.reason}." if ranking.reason else ".")
            )
    rows = tuple(
        (r.method, name, r.rank, r.low, r.high, r.value, estimates.ties[name].adjusted_p.get(r.method))
        for name, ranking in estimates.rankings.items()
        for r in ranking.ranks
    )
    return Table(
        "ranks",
        "Ranks",
        (
            *HEAD,
            Column("Rank interval", f"simultaneous, {estimates.level:.0%}"),
            Column("Rank", "by point estimate"),
            Column("Mean score", "normalised" if estimates.pool.unit == NORMALISED else ""),
            Column("Against the best", "adjusted p"),
            Column("Verdict", is_text=True),
        ),
        grouped(estimates, row, lambda m: order.get(m.label, len(order)), controls=False),
        f"Ranks within each execution class by mean score over {pool_text(estimates)}: "
        f"{scores_text(estimates)}. The interval holds every rank that the data do not exclude: permutation tests of "
        f"all pairs, labels shuffled within tasks, adjusted together (step-down max-T). {TIE_MARK} tied with the best.",
        tuple(notes),
        Numbers(("method", "execution", "rank", "low", "high", "mean", "adjusted_p_against_best"), rows),
    )


def compute_table(estimates: Estimates) -> Table:
    """What each method cost and with which settings it ran."""
    by_method: dict[str, list[Any]] = {}
    for cost in estimates.costs:
        by_method.setdefault(cost.method, []).append(cost)
    has_seconds = any(c.seconds is not None for c in estimates.costs)

    def row(info: MethodInfo) -> tuple[Cell, ...] | None:
        cells = by_method.get(info.label, [])
        if not cells or not info.trains:
            return None
        frames, updates = max(c.frames for c in cells), max(c.updates for c in cells)
        runs = sum(c.seeds for c in cells)
        out = [
            *head(info),
            _number(info.parameters),
            Cell(short_count(frames), sort=float(frames), note=count(frames)),
            Cell(short_count(updates), sort=float(updates), note=count(updates)),
            Cell(str(runs), sort=float(runs)),
        ]
        if has_seconds:
            known = [c.seconds + (c.eval_seconds or 0.0) for c in cells if c.seconds is not None]
            rates = [c.frames_per_second for c in cells if c.frames_per_second is not None]
            total = sum(known) if known else None
            out.append(Cell("–" if total is None else duration(total), sort=total))
            rate = sum(rates) / len(rates) if rates else None
            out.append(Cell("–" if rate is None else short_count(rate), sort=rate))
        return tuple(out)

    columns = [
        *HEAD, Column("Parameters", "acting policy, at most"), Column("Frames", "per run"),
        Column("Updates", "per run"), Column("Runs"),
    ]  # fmt: skip
    if has_seconds:
        columns += [Column("Time", "all groups"), Column("Frames/s", "training, a group")]
    rows = tuple(
        (c.method, c.task, c.frames, c.updates, c.seeds, c.groups, c.seconds, c.eval_seconds, c.frames_per_second)
        for c in estimates.costs
    )
    header = (
        "method",
        "task",
        "frames_per_run",
        "updates_per_run",
        "runs",
        "groups",
        "train_seconds",
        "eval_seconds",
        "frames_per_second",
    )
    seconds = " Time is training and evaluation, wall clock, of hosts that may have been shared." if has_seconds else ""
    return Table(
        "compute", "Compute and tuning", tuple(columns),
        grouped(estimates, row, controls=False),
        "Frames are environment steps (one step of all agents); each run is one training seed, and the seeds of a "
        "group train side by side." + seconds, (), Numbers(header, rows),
    )  # fmt: skip


def _number(x: int | None) -> Cell:
    return Cell("–") if x is None else Cell(short_count(x), sort=float(x), note=count(x))


def settings_table(estimates: Estimates) -> Table:
    """The settings that the methods ran with, one row each; a row with several values is marked."""
    methods = [m.label for members in estimates.classes.values() for m in members]
    known = {m: settings_of(estimates.results, m) for m in methods}
    methods = [m for m in methods if known[m]]
    names = list(dict.fromkeys(k for m in methods for k in known[m]))
    rows, numbers = [], []
    titles = task_titles(estimates.results.tasks)
    for name in names:
        texts = {m: _values(known[m][name], titles) for m in methods if name in known[m]}
        differs = len(set(texts.values())) > 1
        cells = [Cell(texts.get(m, "–"), code=m in texts, bold=differs and m in texts) for m in methods]
        rows.append((Cell(name, sort=name), *cells))
        numbers += [(name, m, text) for m, text in texts.items()]
    columns = (Column("Setting", is_text=True), *(Column(m, is_text=True) for m in methods))
    return Table(
        "settings", "Settings as run", columns, (Group("", tuple(rows)),) if rows else (),
        "The resolved settings of every method. Bold: methods that have the setting differ in it.", (),
        Numbers(("setting", "method", "value"), tuple(numbers)),
    )  # fmt: skip


def _values(found: list[tuple[Any, tuple[str, ...]]], titles: dict[str, tuple[str, str]]) -> str:
    """The value, or one per task where a suite sets them apart."""
    if len(found) == 1:
        return _value(found[0][0])
    return "; ".join(f"{_value(v)} ({', '.join(titles[t][0] for t in tasks)})" for v, tasks in found)


def _value(x: Any) -> str:
    return f"{x:g}" if isinstance(x, float) else x if isinstance(x, str) else json.dumps(x, default=str)
