"""What acting together costs: message bits and hops, and scores with the channel cut, late or coarse."""

from __future__ import annotations

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.results import MethodInfo
from rlnet_bench.analysis.wording import short_count
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import Cell, Column, Group, Table, estimate_cell
from rlnet_bench.reports.table_parts import HEAD, NOTHING, mean_text, tuning_cell
from rlnet_bench.reports.titles import task_titles
from rlnet_bench.vocabulary import CHANNEL_KINDS, EXECUTION_CLASSES, Kind

COLUMNS = (
    Column("Method", is_text=True),
    Column("Class", "on this task", is_text=True, note="what an acting agent sees in a step: D0 < D1 < D2 < C"),
    HEAD[2],
    Column("Parameters", "acting policy"),
    Column("Bits up", "per step", note="messages between places, 32 bits a number, summed over recipients"),
    Column("Bits down", "per step", note="instructions and actions between places, likewise"),
    Column("Hops", "per step", note="transmissions that a step must wait for, one after the other"),
    Column("Absolute", "as trained"),
    Column("Decentralised", "channel cut"),
    Column("Delay 1", "one step late"),
    *(Column(kind.replace("-", " "), "per number") for kind in CHANNEL_KINDS[2:]),
)
SAME = Cell("=", note="acts without a channel: its absolute score")


def channel_table(estimates: Estimates) -> Table:
    """Per task, a row for every trained method; no rows where no method needs a channel."""
    methods = [m for members in estimates.classes.values() for m in members]
    groups, numbers, shown = [], [], []
    titles = task_titles(estimates.results.tasks)
    for fact in estimates.facts:
        rows = []
        for info in methods if any(fact.id in m.columns and _needs(m, fact.id) for m in methods) else ():
            cells = _row(estimates, info, fact.id)
            if cells:
                rows.append(cells)
                shown += [c for c in [estimates.board("absolute").cell(info.label, fact.id)] if c]
                numbers += _numbers(estimates, info, fact.id)
        if rows:
            groups.append(Group(" ".join(titles[fact.id]), tuple(rows)))
    header = (
        "task", "method", "execution", "parameters", "bits_up", "bits_down", "hops", "score", "value", "low", "high",
    )  # fmt: skip
    return Table(
        "channel", "What acting together costs", COLUMNS, tuple(groups),
        f"Team return ({estimates.results.origin.scale}) of the absolute metric's weights, nothing trained anew. "
        f"{mean_text(shown, estimates.level)} Decentralised: every number that crosses between "
        "agents, or comes from outside of them, is replaced by its mean over a random walk. Delay 1: it arrives one "
        "step late. 1 to 8 bit: each such number is sent as one of 2, 4, 16 or 256 values (intervals in the CSV). = "
        "acts without a channel.",
        (), Numbers(header, tuple(numbers)), 7,
    )  # fmt: skip


def _needs(info: MethodInfo, task: str) -> bool:
    """Whether anything crosses between places: a control of class D0 may send noise over its edges."""
    known = info.columns.get(task, {})
    return known.get("execution", info.execution) != "D0" or bool(known.get("bits_up") or known.get("bits_down"))


def _row(estimates: Estimates, info: MethodInfo, task: str) -> tuple[Cell, ...] | None:
    whole = estimates.board("absolute").cell(info.label, task)
    if whole is None:
        return None
    known = info.columns.get(task, {})
    name = str(known.get("execution", info.execution))
    # Records from before actors told their needs lack them; without a channel there are none.
    least = None if _needs(info, task) else 0
    return (
        Cell(info.label, sort=info.label, look=info.label, note=info.summary),
        Cell(name, sort=name, note=EXECUTION_CLASSES.get(name, "")),
        tuning_cell(info),
        _count(known.get("actor_parameters")),
        *(_count(known.get(k, least)) for k in ("bits_up", "bits_down", "hops")),
        estimate_cell(whole.estimate),
        *(_changed(estimates, info, task, kind) for kind in CHANNEL_KINDS),
    )


def _changed(estimates: Estimates, info: MethodInfo, task: str, kind: Kind) -> Cell:
    if not _needs(info, task):
        return SAME
    found = estimates.board(kind).cell(info.label, task)
    if found is None or "ok" not in found.runs.statuses:
        return NOTHING
    cell = estimate_cell(found.estimate)
    if kind in CHANNEL_KINDS[:2]:
        return cell
    # Four columns of intervals would push the table off the page; they are in the CSV.
    return Cell(cell.text, sort=cell.sort, note=f"{cell.under} {cell.note}".strip())


def _count(x: float | None) -> Cell:
    """A slow vertex sends its bits every few steps only, so a step may have a part of one."""
    if x is None:
        return Cell("–")
    return Cell(short_count(x) if x >= 1000 or x == int(x) else f"{x:.3g}", sort=float(x), note=f"{x:,.6g}")


def _numbers(estimates: Estimates, info: MethodInfo, task: str) -> list[tuple[object, ...]]:
    known = info.columns.get(task, {})
    head = (task, info.label, known.get("execution", info.execution), known.get("actor_parameters"))
    costs = tuple(known.get(k) for k in ("bits_up", "bits_down", "hops"))
    kinds: tuple[Kind, ...] = ("absolute", *CHANNEL_KINDS)
    found = [(kind, estimates.board(kind).cell(info.label, task)) for kind in kinds]
    return [(*head, *costs, k, c.estimate.value, c.estimate.low, c.estimate.high) for k, c in found if c]
