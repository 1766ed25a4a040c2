"""Pieces that every table shares: row heads, groups by execution class, the runs behind a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlnet_bench.analysis.boards import TaskCell
from rlnet_bench.analysis.classes import untrained
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.results import MethodInfo
from rlnet_bench.analysis.wording import counted, significant
from rlnet_bench.reports.table import TIE_MARK, Cell, Column, Group
from rlnet_bench.stats.result import Estimate
from rlnet_bench.vocabulary import EXECUTION_CLASSES

HEAD = (
    Column("Method", is_text=True),
    Column("Class", "execution, training", is_text=True, note="what an acting agent sees in a step: D0 < D1 < D2 < C"),
    Column("Tuning", "settings tried", is_text=True, note="by `tune`, on seeds of its own, and by hand before"),
)
NOTHING = Cell("–", sort=None, note="no finished run")

DAGGER_NOTE = (
    "Bold: best of its execution class and significantly better than at least one other of it. "
    f"{TIE_MARK} not distinguishable from the best of its class."
)


def head(info: MethodInfo) -> tuple[Cell, ...]:
    """The first cells of a method's row."""
    return (
        Cell(info.label, sort=info.label, look=info.label, note=info.summary),
        Cell(info.execution, info.training, sort=info.execution, note=EXECUTION_CLASSES.get(info.execution, ""))
        if info.trains
        else Cell("–", "untrained", sort=""),
        tuning_cell(info),
    )


def tuning_cell(info: MethodInfo) -> Cell:
    """How a method's settings were found."""
    if not info.trains:
        return Cell("–", sort="")
    return Cell(info.tuning or "not stated", info.by_hand, sort=info.tuning)


def grouped(
    estimates: Estimates,
    row: Callable[[MethodInfo], tuple[Cell, ...] | None],
    order: Callable[[MethodInfo], float] | None = None,
    *,
    controls: bool = True,
) -> tuple[Group, ...]:
    """One group of rows per execution class, then the controls; a row of None is left out."""
    groups = []
    for name, members in estimates.classes.items():
        chosen = sorted(members, key=order) if order else members
        rows = tuple(r for r in (row(m) for m in chosen) if r is not None)
        if rows:
            groups.append(Group(f"Class {name}", rows, EXECUTION_CLASSES.get(name, "")))
    if controls:
        rows = tuple(r for r in (row(m) for m in untrained(estimates.results)) if r is not None)
        if rows:
            groups.append(Group("Controls", rows, "untrained: reference lines, never ranked or bold"))
    return tuple(groups)


def resampled(found: Sequence[Estimate]) -> str:
    """How the intervals among some estimates were made: ``bootstrap over runs, expanded percentile``."""
    methods = dict.fromkeys(e.method for e in found if e.has_interval)
    return f"bootstrap over runs, {' or '.join(methods)}"


def mean_text(cells: Sequence[TaskCell], level: float) -> str:
    """What stands in cells: an interval is promised only where there is one."""
    n = counted([c.n for c in cells])
    runs = f"n = {n} run{'s' * (n != '1')} per cell"
    found = [c.estimate for c in cells]
    if not any(e.has_interval for e in found):
        return f"Mean over runs, without interval: there are too few ({runs})."
    where = "" if all(e.has_interval for e in found) else " where there are 5 runs or more"
    return f"Mean over runs with its {level:.0%} interval ({resampled(found)}){where}; {runs}."


def runs_text(cell: TaskCell, declared: int) -> str:
    """What stands under a number about its runs: their values or range when few, and what was lost."""
    parts = []
    scores = cell.runs.scores
    if cell.n < 3 and cell.n > 1:
        parts.append("runs " + ", ".join(significant(float(x)) for x in scores))
    elif cell.n in (3, 4):
        parts.append(f"range {significant(float(scores.min()))} to {significant(float(scores.max()))}")
    if cell.runs.n_diverged or cell.runs.lost:
        parts.append(cell.runs.describe())
    elif cell.n < min(declared, 5):
        parts.append(f"n = {cell.n}")
    return "; ".join(parts)
