"""Per-task estimates: one board per (absolute or final, evaluation mode, metric), judged within classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rlnet_bench.analysis.classes import classes
from rlnet_bench.analysis.findings import KINDS as KINDS
from rlnet_bench.analysis.findings import Findings
from rlnet_bench.analysis.references import TaskFacts
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.streams import named
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.ranking import rank_intervals, tied_with_best
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import Kind, Mode

METRICS = ("return", "success")
TABLE_LABELLINGS = 4999


@dataclass(frozen=True, eq=False)
class TaskCell:
    """One method on one task: the mean of its runs as an estimate, the runs, and the normalised mean.

    ``mark`` says why the cell cannot be compared as it stands, where that is so.
    """

    estimate: Estimate
    runs: TaskRuns
    normalised: float | None
    mark: str = ""

    @property
    def n(self) -> int:
        """Scored runs."""
        return self.runs.n


@dataclass(frozen=True)
class Verdict:
    """Who is best on one task within one execution class.

    ``bold`` is None when nothing may be bold: one method alone, too few seeds, different budgets, or everything tied.
    """

    best: str
    tied: tuple[str, ...]
    bold: str | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class TaskBoard:
    """Cells of every method with runs (controls included), verdicts of the trained ones by class.

    ``lost`` describes the cells that were begun or declared and have no scored run: ``failed 5 of 5``.
    """

    kind: Kind
    mode: Mode
    metric: str
    cells: dict[str, dict[str, TaskCell]]  # method -> task
    verdicts: dict[str, dict[str, Verdict]]  # task -> execution class
    lost: Mapping[tuple[str, str], str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()  # of which there is anything to say, in suite order

    @property
    def is_empty(self) -> bool:
        """Whether no run was evaluated this way (diverged runs alone do not count)."""
        return not any("ok" in c.runs.statuses for row in self.cells.values() for c in row.values())

    def cell(self, method: str, task: str) -> TaskCell | None:
        """One cell, or None without a scored run."""
        return self.cells.get(method, {}).get(task)

    def is_bold(self, method: str, task: str) -> bool:
        """Whether the method is the best of its class here, and better than at least one."""
        return any(v.bold == method for v in self.verdicts.get(task, {}).values())

    def is_tied(self, method: str, task: str) -> bool:
        """Whether the method cannot be told from the best of its class; the best itself when all are tied."""
        return any(
            method in v.tied or (method == v.best and v.bold is None and bool(v.tied))
            for v in self.verdicts.get(task, {}).values()
        )

    def order(self, task: str, methods: Sequence[str]) -> list[str]:
        """The methods with a score on the task, best first."""
        there = [(m, self.cell(m, task)) for m in methods]
        return [m for m, c in sorted(((m, c) for m, c in there if c), key=lambda p: -p[1].estimate.value)]


def board(
    results: Results,
    scores: Sequence[RunScores],
    facts: Sequence[TaskFacts],
    findings: Findings,
    which: tuple[Kind, Mode, str],
) -> TaskBoard:
    """Estimate every cell, and judge the primary mode's absolute and final scores within classes.

    Args:
        results: who is of which class.
        scores: in task units, over all declared tasks.
        facts: of the declared tasks.
        findings: what may not be compared.
        which: (kind, mode, metric) of the scores.
    """
    kind, mode, metric = which
    by_task = {f.id: f for f in facts}
    cells: dict[str, dict[str, TaskCell]] = {}
    lost: dict[tuple[str, str], str] = {}
    for s in scores:
        for task, runs in s.runs.items():
            if not runs.n:
                if runs.lost:
                    lost[s.method, task] = _lost(runs)
                continue
            value = estimate(s.select([task]), mean, named("task mean", s.method, task, kind, mode, metric))
            scaled = by_task[task].normalised(value.value) if metric == "return" else value.value
            mark = findings.mark(s.method, task) if metric == "return" else ""
            cells.setdefault(s.method, {})[task] = TaskCell(value, runs, scaled, mark)
    judged = {}
    if mode == results.primary and kind in KINDS:
        judged = {t: _verdicts(results, scores, findings, t, which) for t in by_task}
    if not cells and not any("failed" in text for text in lost.values()):
        lost = {}  # nothing has begun: there is nothing to say of anybody
    known = {*cells, *(m for m, _ in lost)}
    return TaskBoard(kind, mode, metric, cells, judged, lost, tuple(s.method for s in scores if s.method in known))


def _lost(runs: TaskRuns) -> str:
    total = runs.n + sum(n for n, _ in runs.lost)
    return ", ".join(f"{word} {n} of {total}" for n, word in runs.lost)


def _verdicts(
    results: Results, scores: Sequence[RunScores], findings: Findings, task: str, which: tuple[Kind, Mode, str]
) -> dict[str, Verdict]:
    out = {}
    for name, members in classes(results).items():
        labels = {m.label for m in members}
        chosen = [s.select([task]) for s in scores if s.method in labels and s.runs[task].n > 0]
        if not chosen:
            continue
        names = [s.method for s in chosen]
        if len(chosen) == 1:
            out[name] = Verdict(names[0], (), None, "one method")
            continue
        unequal = findings.unequal(names, [task])
        if unequal:
            best = max(chosen, key=lambda s: float(s.runs[task].scores.mean())).method
            out[name] = Verdict(best, (), None, unequal)
            continue
        ranking = rank_intervals(chosen, named("ties", sorted(names), task, *which), n_labellings=TABLE_LABELLINGS)
        tied = tied_with_best(chosen, named(), ranking=ranking)
        reason = tied.reason or ("everything is tied" if tied.is_everything_tied else "")
        # With too few runs there is no test, hence nothing to call tied either.
        out[name] = Verdict(tied.best, () if tied.reason else tied.tied, tied.bold, reason)
    return out
