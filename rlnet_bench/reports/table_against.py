"""A method beside a published record: its row for a paper, and every published method on every task."""

from __future__ import annotations

from dataclasses import replace

from rlnet_bench.analysis.against import SUITE, Against
from rlnet_bench.analysis.boards import TaskCell
from rlnet_bench.analysis.results import MethodInfo
from rlnet_bench.analysis.wording import p_text, plural
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import Cell, Column, Group, Table, estimate_cell
from rlnet_bench.reports.table_parts import HEAD, NOTHING, head, mean_text, resampled
from rlnet_bench.reports.table_tasks import bypasses, score_table
from rlnet_bench.reports.titles import task_titles
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.result import Estimate

EMPTY = Cell("")


def against_tables(found: Against) -> list[Table]:
    """The row, and what it stands on; both say in their captions what a reader must know."""
    return [replace(t, remarks=tuple(dict.fromkeys(found.notes))) for t in (row_table(found), pair_table(found))]


def row_table(found: Against) -> Table:
    """One row: the method's score on every task, marked as beside the methods of the record."""
    estimates = found.estimates
    table = score_table(estimates, estimates.kind, estimates.mode, estimates.metric, only=(found.mine,))
    caption = f"{table.caption} Marks are those of a table with the methods of {found.record}."
    title = f"The row of {found.mine}"
    return replace(table, name="row", title=title, caption=caption, notes=tuple(bypasses(estimates)), is_grid=False)


def pair_table(found: Against) -> Table:
    """Per task, the method and every one of the record: score, difference, probability of improvement, p."""
    estimates, record = found.estimates, found.record
    origin = estimates.results.origin
    titles = task_titles(estimates.results.tasks)
    groups, numbers, shown = [], [], []
    for task in found.tasks:
        rows = []
        for info in estimates.results.methods:
            score, cell = _score(found, task, info)
            if score is not None:
                rows.append((*head(info), estimate_cell(score), *_compared(found, task, info.label)))
                numbers.append(_numbers(found, task, info, score))
                shown += [cell] if cell else []
        title = f"Over {plural(len(estimates.everyone.tasks), 'task')}, {estimates.everyone.unit.partition(':')[0]}"
        groups.append(Group(" ".join(titles[task]) if task != SUITE else title, tuple(rows)))
    first = next(iter(found.pairs.values()))
    subject = f"team return ({origin.scale})" if estimates.metric == "return" else "success metric"
    mine, made = found.mine, resampled([c.difference for c in found.pairs.values()])
    unit = f"in units of the task, over several {estimates.everyone.unit} ({made})"
    caption = (
        f"{mine} beside {record}: {subject}, {estimates.kind}: {origin.end(estimates.kind)}, "
        f"{origin.mode(estimates.mode)}. {mean_text(shown, estimates.level)} Difference: {mine} less the method of the "
        f"row, {unit}. P: that a run of {mine} scores higher than one of the row ({first.chance.method}). p: "
        "permutation test of the difference of means, two-sided; Holm: adjusted for the methods that are tested on the "
        "task, not for the number of tasks. Controls are not tested."
    )
    columns = (
        *HEAD, Column("Score", "mean over runs"), Column("Difference", f"{found.mine} less it"),
        Column("P", f"{found.mine} higher"), Column("p", "unadjusted"), Column("p", "Holm, per task"),
    )  # fmt: skip
    header = (
        "record", "mine", "method", "execution", "training", "task", "kind", "mode", "metric", "runs", "value", "low",
        "high", "difference", "difference_low", "difference_high", "improvement", "improvement_low", "improvement_high",
        "p_unadjusted", "p_holm", "comparisons", "verdict",
    )  # fmt: skip
    return Table(
        "against", f"{mine} beside {record}", columns, tuple(groups), caption, tuple(bypasses(estimates)),
        Numbers(header, tuple(numbers)), len(HEAD),
    )  # fmt: skip


def _score(found: Against, task: str, info: MethodInfo) -> tuple[Estimate | None, TaskCell | None]:
    """What stands in the column of scores, and the runs behind it on a task."""
    estimates = found.estimates
    if task != SUITE:
        cell = estimates.board().cell(info.label, task)
        return (cell.estimate if cell else None), cell
    pooled = estimates.everyone.of(info.label)
    return (estimates.aggregate(pooled[0], statistics=(mean,))["mean"] if pooled else None), None


def _compared(found: Against, task: str, method: str) -> tuple[Cell, ...]:
    """Difference, probability of improvement and both p-values; nothing for the method itself and for controls."""
    pair = found.pairs.get((task, method))
    if pair is None:
        return (EMPTY,) * 4 if method == found.mine else (NOTHING,) * 4
    cells = estimate_cell(pair.difference), estimate_cell(pair.chance)
    if pair.test is None:
        return (*cells, Cell("–", f"not tested: {pair.untested}"), NOTHING)
    return (*cells, _p(pair.test.p_value), _p(found.adjusted[task, method]))


def _p(value: float) -> Cell:
    return Cell(p_text(value).removeprefix("p = ").removeprefix("p "), sort=value)


def _numbers(found: Against, task: str, info: MethodInfo, score: Estimate) -> tuple[object, ...]:
    estimates, pair = found.estimates, found.pairs.get((task, info.label))
    about = (found.record, found.mine, info.label, info.execution, info.training, task or "all")
    which = (estimates.kind, estimates.mode, estimates.metric, sum(score.n_per_task.values()))
    value = (score.value, score.low, score.high)
    if pair is None:
        return (*about, *which, *value, *[None] * 10)
    difference = (pair.difference.value, pair.difference.low, pair.difference.high)
    chance = (pair.chance.value, pair.chance.low, pair.chance.high)
    tests = (pair.test and pair.test.p_value, found.adjusted.get((task, info.label)))
    family = sum(c.test is not None for c in found.on(task).values())
    return (*about, *which, *value, *difference, *chance, *tests, family, found.verdict(task, info.label))
