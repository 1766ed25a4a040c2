"""Per-task estimates: one board per (absolute or final, evaluation mode, metric), judged within classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlnet_bench.analysis.classes import classes
from rlnet_bench.analysis.references import TaskFacts
from rlnet_bench.runs.results import Results
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.bootstrap import stream
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.ranking import rank_intervals, tied_with_best
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import CHANNEL_KINDS, MODES, Kind, Mode

KINDS: tuple[Kind, ...] = ("absolute", "final")
METRICS = ("return", "success")
TABLE_RESAMPLES = 2000
TABLE_LABELLINGS = 4999


@dataclass(frozen=True, eq=False)
class TaskCell:
    """One method on one task: the mean of its runs as an estimate, the runs, and the normalised mean."""

    estimate: Estimate
    runs: TaskRuns
    normalised: float | None

    @property
    def n(self) -> int:
        """Scored runs."""
        return self.runs.n


@dataclass(frozen=True)
class Verdict:
    """Who is best on one task within one execution class.

    ``bold`` is None when nothing may be bold: one method alone, too few seeds, or everything tied.
    """

    best: str
    tied: tuple[str, ...]
    bold: str | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class TaskBoard:
    """Cells of every method with runs (controls included), verdicts of the trained ones by class."""

    kind: Kind
    mode: Mode
    metric: str
    cells: dict[str, dict[str, TaskCell]]  # method -> task
    verdicts: dict[str, dict[str, Verdict]]  # task -> execution class

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


def boards(results: Results, facts: Sequence[TaskFacts], root: int) -> dict[tuple[Kind, Mode, str], TaskBoard]:
    """All boards; return and success, absolute and final, deterministic and sampled; and those of channels."""
    channel = {
        (kind, results.primary, "return"): _board(results, facts, kind, results.primary, "return", root)
        for kind in CHANNEL_KINDS
    }
    return channel | {
        (kind, mode, metric): _board(results, facts, kind, mode, metric, root)
        for kind in KINDS
        for mode in MODES
        for metric in METRICS
    }


def _board(results: Results, facts: Sequence[TaskFacts], kind: Kind, mode: Mode, metric: str, root: int) -> TaskBoard:
    by_task = {f.id: f for f in facts}
    scores = results.scores(kind, mode, metric)
    cells: dict[str, dict[str, TaskCell]] = {}
    for s in scores:
        for task, runs in s.runs.items():
            if runs.n:
                name = f"task {kind} {mode} {metric} {task} {s.method}"
                value = estimate(s.select([task]), mean, stream(root, name), n_resamples=TABLE_RESAMPLES)
                scaled = by_task[task].normalised(value.value) if metric == "return" else value.value
                cells.setdefault(s.method, {})[task] = TaskCell(value, runs, scaled)
    judged = (
        {t: _verdicts(results, scores, t, stream(root, f"ties {kind} {mode} {metric} {t}")) for t in by_task}
        if mode == results.primary and kind in KINDS
        else {}
    )
    return TaskBoard(kind, mode, metric, cells, judged)


def _verdicts(results: Results, scores: Sequence[RunScores], task: str, rng: np.random.Generator) -> dict[str, Verdict]:
    out = {}
    for name, members in classes(results).items():
        labels = {m.label for m in members}
        chosen = [s.select([task]) for s in scores if s.method in labels and s.runs[task].n > 0]
        if not chosen:
            continue
        if len(chosen) == 1:
            out[name] = Verdict(chosen[0].method, (), None, "one method")
            continue
        ranking = rank_intervals(chosen, rng, n_labellings=TABLE_LABELLINGS)
        tied = tied_with_best(chosen, rng, ranking=ranking)
        reason = tied.reason or ("everything is tied" if tied.is_everything_tied else "")
        # With too few runs there is no test, hence nothing to call tied either.
        out[name] = Verdict(tied.best, () if tied.reason else tied.tied, tied.bold, reason)
    return out
