"""Boards of what else was recorded: beside strange partners, in other team sizes, and with what crosses between agents
cut, late, coarse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isnan
from typing import Any

from markupsafe import Markup

from rlnet_bench.analysis.crossplay import Crossplay, Player
from rlnet_bench.analysis.estimates import Estimates, judge
from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.analysis.team_sizes import TeamSizes
from rlnet_bench.analysis.wording import listed, significant
from rlnet_bench.leaderboard.lines import Line, chart, dashes, stroke
from rlnet_bench.leaderboard.listing import file_names
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.page import html_table
from rlnet_bench.reports.table import Cell, Column, Group, Table
from rlnet_bench.reports.table_channel import channel_table
from rlnet_bench.stats.result import Estimate
from rlnet_bench.vocabulary import ChannelKind

BITS: dict[ChannelKind, int] = {"decentralised": 0, "1-bit": 1, "2-bit": 2, "4-bit": 4, "8-bit": 8}
WHOLE = 32  # bits of a number as trained


def crossplay_section(found: Crossplay) -> dict[str, Any]:
    """A matrix as a table: shaded by return, self-play and the partner's bound apart."""
    pairs, alone, bounds = found.pairs(), found.self_play(), found.bounds()
    values = [e.value for e in (*pairs.values(), *alone.values())]
    low, high = min(values), max(values)

    def cell(e: Estimate | None) -> Cell:
        if e is None:
            return Cell("")
        interval = "" if e.low is None or e.high is None else f"[{significant(e.low)}, {significant(e.high)}]"
        return Cell(significant(e.value), interval, sort=e.value, shade=(e.value - low) / max(high - low, 1e-9),
                    note=e.reason or "")  # fmt: skip

    rows = [(Cell(m), *(cell(pairs.get((m, c))) for c in found.methods), cell(alone[m])) for m in found.methods]
    best = [Cell("") if b is None else Cell(significant(b.value), _who(b.player)) for b in bounds.values()]
    known = (Cell("best known beside it", "of training runs"), *best, Cell(""))
    columns = (
        Column("Guest", is_text=True),
        *(Column(m, "hosts") for m in found.methods),
        Column("Itself", "self-play"),
    )
    reasons = sorted({e.reason for e in (*pairs.values(), *alone.values()) if e.reason})
    numbers = Numbers(tuple(found.frame().columns), tuple(tuple(x) for x in found.frame().itertuples(index=False)))
    name = f"crossplay-{file_names([found.task])[found.task]}"
    table = Table(name, found.task, columns, (Group("", (*rows, known)),),
                  f"Team return, {found.episodes} {found.mode} episodes per seat and pair.",
                  (*dict.fromkeys(found.notes.values()), *reasons), numbers)  # fmt: skip
    return {"id": name, "title": found.task, "about": "", "table": html_table(table), "charts": []}


def team_sizes_section(found: TeamSizes) -> dict[str, Any]:
    """A method at team sizes that it was not trained with, as a table."""

    def cell(e: Estimate | None) -> Cell:
        if e is None or isnan(e.value):
            return Cell("–")
        interval = "" if e.low is None or e.high is None else f"[{significant(e.low)}, {significant(e.high)}]"
        return Cell(significant(e.value), interval, sort=e.value, note=e.reason or "")

    rows = [
        (Cell(str(x.agents), sort=float(x.agents)), Cell(x.task), Cell(significant(x.random), sort=x.random),
         cell(x.zero_shot), cell(x.trained), Cell(x.against or "–"), cell(x.transfer))
        for x in found.sizes
    ]  # fmt: skip
    columns = (
        Column("Agents"), Column("Task", is_text=True), Column("Random"), Column("Zero-shot"),
        Column("Trained there"), Column("Method", "trained there", is_text=True), Column("Transfer"),
    )  # fmt: skip
    title = f"{found.method}, trained on {found.task} with {found.agents} agents"
    head = ("agents", "task", "random", "seed", "zero_shot")
    numbers = Numbers(head, tuple((x.agents, x.task, x.random, s, score) for x in found.sizes for s, score in x.scores))
    slug = f"{found.task} {found.method}"
    name = f"sizes-{file_names([slug])[slug]}"
    notes = tuple(dict.fromkeys(f"{x.agents} agents: {reason}" for x in found.sizes for reason in x.reasons))
    caption = (f"Team return, {found.episodes} {found.mode} episodes of every training seed, {found.weights} weights; "
               "transfer: 0 is random play at that size, 1 what was trained at it.")  # fmt: skip
    table = Table(name, title, columns, (Group("", tuple(rows)),), caption, notes, numbers)
    return {"id": name, "title": title, "about": "", "table": html_table(table), "charts": []}


def _who(player: Player) -> str:
    return f"{player.method}, seed {player.seed}, run {player.run_id}"


def channel_sections(results: Results) -> Iterator[dict[str, Any]]:
    """The channel table of a publication, if any method there needs a channel; and a chart of every such task."""
    if not any(e.kind in BITS for r in results.records for e in r.evals):
        return
    estimates = judge(results, timings=False)
    table = channel_table(estimates)
    if table.is_empty:
        return
    name = f"{results.name}-v{results.version}"
    slug, table = file_names([name])[name], replace(table, title=f"{table.title}: {name}")
    charts = [_bits_chart(estimates, task, f"bits-{slug}-{k}") for k, task in enumerate(results.tasks)]
    yield {
        "id": slug, "title": name, "about": "", "table": html_table(table), "charts": [c for c in charts if c],
        "legend": [{"label": m, "stroke": stroke(k), "dashes": dashes(k)} for m, k in _talkers(estimates).items()],
        "chart_caption": f"Score against effective bits per step: of every {WHOLE}-bit number that crosses none (cut), "
                         "1, 2, 4, 8, or all as trained.",
    }  # fmt: skip


def _talkers(estimates: Estimates) -> dict[str, int]:
    """Methods with a channel on any task, each with its place among them."""
    methods = [m for members in estimates.classes.values() for m in members]
    found = [m.label for m in methods if any(_bits(m, t) for t in estimates.results.tasks)]
    return {label: k for k, label in enumerate(found)}


def _bits(info: MethodInfo, task: str) -> float:
    needs = info.columns.get(task, {})
    return float(needs.get("bits_up", 0) + needs.get("bits_down", 0))


def _bits_chart(estimates: Estimates, task: str, name: str) -> dict[str, Any] | None:
    """Score against effective bits per step of every method with a channel."""
    lines: list[Line] = []
    boards = {kind: estimates.board(kind, metric="return") for kind in BITS}
    for label, k in _talkers(estimates).items():
        bits = _bits(estimates.info(label), task)
        points = {WHOLE: estimates.board(metric="return").cell(label, task)}
        points |= {n: boards[kind].cell(label, task) for kind, n in BITS.items()}
        found = sorted((n * bits / WHOLE, c.estimate.value) for n, c in points.items() if c is not None)
        if bits and len(found) > 1:
            lines.append(Line([x for x, _ in found], [y for _, y in found], stroke(k), dashes(k), label))
    if not lines:
        return None
    alt = f"Score on {task} against effective message bits per step: {listed([x.label for x in lines])}."
    return {"title": task, "svg": Markup(chart(lines, name, alt, x_title="effective bits per step"))}
