"""Every estimate of a report, computed in one place; figures, tables, captions and JSON only read it.

Statistics draw from fixed streams named after what they estimate: the same records give the same bytes,
and adding a method moves nobody else's interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlnet_bench.analysis.boards import TaskBoard, Verdict, boards
from rlnet_bench.analysis.classes import classes, trained, untrained
from rlnet_bench.analysis.costs import Cost, costs
from rlnet_bench.analysis.curves import CurveEstimate, curves
from rlnet_bench.analysis.grid import GridState, grid_state
from rlnet_bench.analysis.references import (
    Pool,
    TaskFacts,
    covering,
    normalised,
    pool_of,
    task_facts,
)
from rlnet_bench.runs.results import MethodInfo, Results
from rlnet_bench.stats.aggregate import Aggregate, iqm, lower_tail_mean, mean, median, optimality_gap
from rlnet_bench.stats.bootstrap import stream
from rlnet_bench.stats.compare import improvement_matrix
from rlnet_bench.stats.estimate import Sensitivity, aggregate_table, sensitivity
from rlnet_bench.stats.profiles import performance_profile, profile_grid
from rlnet_bench.stats.ranking import Ranking, TiedWithBest, rank_intervals, tied_with_best
from rlnet_bench.stats.result import BandEstimate, Estimate
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.vocabulary import Kind, Mode

ROOT = 20_260_601  # the fixed root of every random stream of a report
LEVEL = 0.95
LOWEST_SHOWN = -0.5  # where the axis of the profiles begins at the lowest
AGGREGATES: tuple[Aggregate, ...] = (iqm, mean, median, optimality_gap, lower_tail_mean)


@dataclass(frozen=True, eq=False)
class Estimates:
    """All numbers of a report. Scores of suite aggregates are normalised: 0 = random, 1 = documented best."""

    results: Results
    facts: tuple[TaskFacts, ...]
    grid: GridState
    pool: Pool
    scores: tuple[RunScores, ...]  # normalised, of the pooled methods
    aggregates: dict[Kind, dict[str, dict[str, Estimate]]]  # kind -> method -> statistic
    controls: dict[str, dict[str, Estimate]]  # untrained methods with every pooled task
    sensitivities: dict[str, Sensitivity]
    improvement: dict[tuple[str, str], Estimate]
    profiles: dict[str, BandEstimate]
    rankings: dict[str, Ranking]  # execution class -> ranking
    ties: dict[str, TiedWithBest]
    boards: dict[tuple[Kind, Mode, str], TaskBoard]  # (kind, mode, metric)
    by_frames: dict[str, dict[str, CurveEstimate]]
    by_seconds: dict[str, dict[str, CurveEstimate]]
    costs: tuple[Cost, ...]
    level: float = LEVEL

    @property
    def classes(self) -> dict[str, tuple[MethodInfo, ...]]:
        """Execution class -> trained methods."""
        return classes(self.results)

    def board(self, kind: Kind, mode: Mode | None = None, metric: str = "return") -> TaskBoard:
        """Per-task estimates of a kind, evaluation mode (default: primary) and metric."""
        return self.boards[kind, mode or self.results.primary, metric]

    @property
    def sorted_methods(self) -> list[str]:
        """Pooled methods, best IQM first."""
        table = self.aggregates.get("absolute", {})
        return sorted(table, key=lambda m: (-table[m]["iqm"].value, self.pool.methods.index(m)))

    @property
    def is_partial(self) -> bool:
        """Whether some declared run has no result yet."""
        return not self.grid.is_complete

    def fact(self, task: str) -> TaskFacts:
        """Facts of one task."""
        return next(f for f in self.facts if f.id == task)

    def rank_changes(self, kind: Kind = "absolute") -> dict[tuple[str, str], tuple[int, int]]:
        """(method, task) -> its rank within the class under deterministic and sampled actions, where they differ."""
        first, second = self.board(kind, "deterministic"), self.board(kind, "sampled")
        if first.is_empty or second.is_empty:
            return {}
        out: dict[tuple[str, str], tuple[int, int]] = {}
        for members in self.classes.values():
            for fact in self.facts:
                there = [m.label for m in members if first.cell(m.label, fact.id) and second.cell(m.label, fact.id)]
                a, b = first.order(fact.id, there), second.order(fact.id, there)
                out |= {(m, fact.id): (a.index(m) + 1, b.index(m) + 1) for m in there if a.index(m) != b.index(m)}
        return out


def estimate_all(results: Results, *, timings: bool = True) -> Estimates:
    """Compute everything that a report shows. Deterministic; never raises for missing runs or references."""
    facts = tuple(task_facts(results, t) for t in results.tasks)
    fair = {m.label for m in trained(results)}
    absolute = results.scores("absolute")
    compared = [s for s in absolute if s.method in fair]
    pool = pool_of(facts, compared)
    scores = normalised(compared, facts, pool)
    final_scores = _final(results, facts, pool)
    rankings, ties = _rankings(results, scores)
    return Estimates(
        results=results,
        facts=facts,
        grid=grid_state(results),
        pool=pool,
        scores=tuple(scores),
        aggregates={
            "absolute": _aggregates(scores, "absolute"),
            "final": _aggregates(final_scores, "final"),
        },
        controls=_controls(results, absolute, facts, pool),
        sensitivities={
            s.method: sensitivity(s, iqm, stream(ROOT, f"sensitivity {s.method}")) for s in scores if s.n_diverged
        },
        improvement=improvement_matrix(scores, stream(ROOT, "improvement")) if len(scores) > 1 else {},
        profiles=_profiles(scores),
        rankings=rankings,
        ties=ties,
        boards=boards(results, facts, ROOT),
        by_frames=curves(results, "frames", ROOT),
        by_seconds=curves(results, "seconds", ROOT) if timings else {},
        costs=costs(results, timings),
    )


def _aggregates(scores: Sequence[RunScores], name: str) -> dict[str, dict[str, Estimate]]:
    if not scores:
        return {}
    return aggregate_table(scores, stream(ROOT, f"aggregates {name}"), statistics=AGGREGATES, level=LEVEL)


def _final(results: Results, facts: Sequence[TaskFacts], pool: Pool) -> list[RunScores]:
    """The same methods and tasks at the end of training; empty unless every one of them has it."""
    final = [s for s in results.scores("final") if s.method in pool.methods]
    whole = pool.tasks and all(s.runs[t].n > 0 for s in final for t in pool.tasks)
    return normalised(final, facts, pool) if whole else []


def _controls(
    results: Results, absolute: Sequence[RunScores], facts: Sequence[TaskFacts], pool: Pool
) -> dict[str, dict[str, Estimate]]:
    names = {m.label for m in untrained(results)}
    fixed = [s for s in absolute if s.method in names]
    shown = Pool(pool.tasks, tuple(covering(fixed, pool)))
    return _aggregates(normalised(fixed, facts, shown), "controls")


def _profiles(scores: Sequence[RunScores]) -> dict[str, BandEstimate]:
    if not scores:
        return {}
    whole = profile_grid(scores, 2)
    fine = np.linspace(max(whole[0], LOWEST_SHOWN), whole[-1], 201)
    below = np.linspace(whole[0], fine[0], 21)[:-1] if whole[0] < fine[0] else np.zeros(0)
    thresholds = np.concatenate([below, fine])
    return {
        s.method: performance_profile(s, stream(ROOT, f"profile {s.method}"), thresholds=thresholds) for s in scores
    }


def _rankings(results: Results, scores: Sequence[RunScores]) -> tuple[dict[str, Ranking], dict[str, TiedWithBest]]:
    rankings, ties = {}, {}
    for name, members in classes(results).items():
        labels = {m.label for m in members}
        chosen = [s for s in scores if s.method in labels]
        if chosen:
            rankings[name] = rank_intervals(chosen, stream(ROOT, f"ranks {name}"), level=LEVEL)
            ties[name] = tied_with_best(chosen, stream(ROOT, ""), ranking=rankings[name])
    return rankings, ties


__all__ = ["AGGREGATES", "LEVEL", "LOWEST_SHOWN", "Estimates", "TaskBoard", "Verdict", "estimate_all"]
