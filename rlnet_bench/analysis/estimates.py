"""Every estimate about some results, each computed once, when it is first asked for; verbs and reports only read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rlnet_bench.analysis.boards import KINDS, METRICS, TaskBoard, board
from rlnet_bench.analysis.classes import classes, trained, untrained
from rlnet_bench.analysis.costs import Cost, costs
from rlnet_bench.analysis.curves import CurveEstimate, curves
from rlnet_bench.analysis.findings import Findings, find
from rlnet_bench.analysis.grid import GridState, grid_state
from rlnet_bench.analysis.pooling import Pool, pool
from rlnet_bench.analysis.references import GIVEN, TaskFacts, facts_of
from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.analysis.streams import named
from rlnet_bench.analysis.wording import listed
from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.stats.aggregate import Aggregate, iqm, lower_tail_mean, mean, median, optimality_gap
from rlnet_bench.stats.compare import improvement_matrix
from rlnet_bench.stats.estimate import Sensitivity, estimate_many, sensitivity
from rlnet_bench.stats.profiles import performance_profile
from rlnet_bench.stats.ranking import Ranking, TiedWithBest, rank_intervals, tied_with_best
from rlnet_bench.stats.result import BandEstimate, Estimate
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import CHANNEL_KINDS, MODES, EndKind, Kind, Mode

LEVEL = 0.95
LOWEST_SHOWN = -0.5  # where the axis of the profiles begins at the lowest
PROFILE_STEP = 0.01
AGGREGATES: tuple[Aggregate, ...] = (iqm, mean, median, optimality_gap, lower_tail_mean)


@dataclass(frozen=True, eq=False)
class Estimates:
    """What can be said about some results.

    ``kind``, ``mode`` and ``metric`` are those of suite aggregates, ranks and pairs; boards exist for all of them.
    Made by :func:`judge`. Aggregates are normalised (0 = random, 1 = documented best) unless the pool says otherwise.
    """

    results: Results
    kind: EndKind
    mode: Mode
    metric: str = "return"
    timings: bool = True
    level: float = LEVEL

    # -- what there is -------------------------------------------------------------------------------------------

    @cached_property
    def facts(self) -> tuple[TaskFacts, ...]:
        """The declared tasks."""
        return tuple(facts_of(self.results.card(t)) for t in self.results.tasks)

    def fact(self, task: str) -> TaskFacts:
        """Facts of one task."""
        return next(f for f in self.facts if f.id == task)

    @cached_property
    def classes(self) -> dict[str, tuple[MethodInfo, ...]]:
        """Execution class -> trained methods, weakest class first."""
        return classes(self.results)

    def info(self, method: str) -> MethodInfo:
        """What is known about a method, by its label or, where that is not ambiguous, by the id that it declares.

        Raises:
            UnknownName: with the nearest one.
        """
        known = {m.label: m for m in self.results.methods}
        declared = [m for m in self.results.methods if m.id == method]
        if method not in known and len(declared) != 1:
            raise UnknownName("method", method, known, hint=f"The source has {', '.join(known)}.")
        return known.get(method) or declared[0]

    @cached_property
    def grid(self) -> GridState:
        """How far the declared grid has come."""
        return grid_state(self.results)

    @property
    def is_partial(self) -> bool:
        """Whether some declared run has no result yet."""
        return not self.results.is_complete

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What every cell cost."""
        return costs(self.results, self.timings)

    @cached_property
    def findings(self) -> Findings:
        """What keeps scores from being compared."""
        ends = self.results.scores(self.kind, self.mode, "return")
        return find(self.results, ends, self.facts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any number must know: what importers said, and what was found."""
        found = (*self.findings.sentences, *_unequal_tuning(self.results), *_given(self.facts))
        return (*getattr(self.results, "notes", ()), *found)

    @cached_property
    def _scores(self) -> dict[tuple[Kind, Mode, str], list[RunScores]]:
        return {}

    def scores(self, kind: Kind | None = None, mode: Mode | None = None, metric: str | None = None) -> list[RunScores]:
        """Every declared method's run scores in task units, each run counted once."""
        key = (kind or self.kind, mode or self.mode, metric or self.metric)
        if key not in self._scores:
            copies = self.findings.copies
            self._scores[key] = [
                replace(s, runs={t: _without(r, copies.get((s.method, t), ())) for t, r in s.runs.items()})
                if any(m == s.method for m, _ in copies)
                else s
                for s in self.results.scores(*key)
            ]
        return self._scores[key]

    def of(self, method: str) -> RunScores:
        """The scores of one method in task units.

        Raises:
            BadInput: when it has no finished run.
        """
        method = self.info(method).label
        found = next((s for s in self.scores() if s.method == method), None)
        if found is None or not any(r.n for r in found.runs.values()):
            why = "; ".join(f"{t}: {text}" for (m, t), text in self.board().lost.items() if m == method)
            raise BadInput(
                f"{method!r} has no finished run with {self.kind} scores yet{f' ({why})' if why else ''}; "
                "`rlnet-bench status` shows the grid."
            )
        return found

    # -- the suite -----------------------------------------------------------------------------------------------

    def pool_of(self, kind: EndKind) -> Pool:
        """All methods' scores over the declared tasks."""
        return pool(self.scores(kind), self.facts, self.metric)

    @cached_property
    def everyone(self) -> Pool:
        """The pool of trained methods and controls."""
        return self.pool_of(self.kind)

    @cached_property
    def pool(self) -> Pool:
        """What is compared: trained methods with every pooled task."""
        fair = [m.label for m in trained(self.results)]
        chosen = [s for s in self.scores() if s.method in fair]
        return pool(chosen, self.facts, self.metric)

    @property
    def statistics(self) -> tuple[Aggregate, ...]:
        """The aggregates that mean something on the pool's scale: a gap to 1 does not in a task's own units."""
        return AGGREGATES if self.pool.is_normalised else tuple(a for a in AGGREGATES if a is not optimality_gap)

    def aggregate(
        self, scores: RunScores, kind: EndKind | None = None, statistics: Sequence[Aggregate] = ()
    ) -> dict[str, Estimate]:
        """All aggregates of one method's pooled scores, whoever else is there."""
        rng = named("aggregates", scores.method, scores.tasks, kind or self.kind, self.mode, self.metric)
        return estimate_many(scores, statistics or self.statistics, rng, level=self.level)

    @cached_property
    def aggregates(self) -> dict[EndKind, dict[str, dict[str, Estimate]]]:
        """kind -> trained method -> statistic -> estimate, of the methods with every pooled task."""
        fair = [m.label for m in trained(self.results)]
        return {
            kind: {s.method: self.aggregate(s, kind) for s in self.pool_of(kind).of(*fair)} for kind in KINDS
        }  # fmt: skip

    @property
    def headline(self) -> dict[str, dict[str, Estimate]]:
        """The aggregates of the kind that is compared."""
        return self.aggregates[self.kind]

    @cached_property
    def controls(self) -> dict[str, dict[str, Estimate]]:
        """The aggregates of untrained methods."""
        fixed = [m.label for m in untrained(self.results)]
        return {s.method: self.aggregate(s) for s in self.everyone.of(*fixed)}

    @property
    def sorted_methods(self) -> list[str]:
        """Pooled methods, best IQM first."""
        table = self.headline
        return sorted(table, key=lambda m: (-table[m]["iqm"].value, self.pool.methods.index(m)))

    @cached_property
    def sensitivities(self) -> dict[str, Sensitivity]:
        """Methods with diverged runs: at the floor, and dropped."""
        return {
            s.method: sensitivity(s, iqm, named("sensitivity", s.method, s.tasks, self.kind, self.mode, self.metric))
            for s in self.pool.scores
            if s.n_diverged
        }

    @cached_property
    def improvement(self) -> dict[tuple[str, str], Estimate]:
        """P(a run of the first beats one of the second) of every ordered pair."""
        return self.improvement_of(self.pool.scores)

    def improvement_of(self, scores: Sequence[RunScores]) -> dict[tuple[str, str], Estimate]:
        """The same for some methods; a pair's digits do not depend on the others."""
        if len(scores) < 2:
            return {}
        rng = named("improvement", scores[0].tasks, self.kind, self.mode, self.metric)
        return improvement_matrix(scores, rng, level=self.level)

    @cached_property
    def profiles(self) -> dict[str, BandEstimate]:
        """Performance profiles, each on a grid that reaches as far as its own runs."""
        return {s.method: self._profile(s) for s in self.pool.scores} if self.pool.is_normalised else {}

    def _profile(self, scores: RunScores) -> BandEstimate:
        values = scores.pooled().values_N
        steps = np.arange(round(LOWEST_SHOWN / PROFILE_STEP), int(np.ceil(max(1.0, values.max()) / PROFILE_STEP)) + 1)
        thresholds = steps * PROFILE_STEP
        if values.min() < thresholds[0]:
            thresholds = np.concatenate([np.linspace(values.min(), thresholds[0], 21)[:-1], thresholds])
        rng = named("profile", scores.method, scores.tasks, self.kind, self.mode, self.metric)
        return performance_profile(scores, rng, thresholds=thresholds, level=self.level)

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Execution class -> simultaneous rank intervals of its pooled methods."""
        out = {}
        for name, members in self.classes.items():
            chosen = self.pool.of(*(m.label for m in members))
            if chosen:
                out[name] = self.ranking(chosen)
        return out

    def ranking(self, chosen: Sequence[RunScores]) -> Ranking:
        """Ranks of some methods; the family is part of the stream's name. No claim where budgets differ."""
        family = sorted(s.method for s in chosen)
        rng = named("ranks", family, chosen[0].tasks, self.kind, self.mode, self.metric)
        found = rank_intervals(chosen, rng, level=self.level)
        unequal = self.findings.unequal(family, chosen[0].tasks)
        if unequal and found.reason is None and len(family) > 1:
            open_ = tuple(replace(r, low=1, high=len(family)) for r in found.ranks)
            return replace(found, ranks=open_, reason=unequal)
        return found

    @cached_property
    def ties(self) -> dict[str, TiedWithBest]:
        """Execution class -> who cannot be told from its best."""
        return {name: self.tied(ranking) for name, ranking in self.rankings.items()}

    def tied(self, ranking: Ranking) -> TiedWithBest:
        """Who cannot be told from the best of a ranking."""
        return tied_with_best([], named(), ranking=ranking)

    # -- tasks ---------------------------------------------------------------------------------------------------

    @cached_property
    def _boards(self) -> dict[tuple[Kind, Mode, str], TaskBoard]:
        return {}

    def board(self, kind: Kind | None = None, mode: Mode | None = None, metric: str | None = None) -> TaskBoard:
        """Per-task estimates of a kind, evaluation mode and metric; those of the aggregates by default."""
        key = (kind or self.kind, mode or self.mode, metric or self.metric)
        if key not in self._boards:
            self._boards[key] = board(self.results, self.scores(*key), self.facts, self.findings, key)
        return self._boards[key]

    @property
    def boards(self) -> tuple[TaskBoard, ...]:
        """All boards: return and success, absolute and final, both modes; and those of channels."""
        channel = [self.board(kind, self.results.primary, "return") for kind in CHANNEL_KINDS]
        return (*channel, *(self.board(k, mode, metric) for k in KINDS for mode in MODES for metric in METRICS))

    def rank_changes(self, kind: EndKind | None = None) -> dict[tuple[str, str], tuple[int, int]]:
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

    @cached_property
    def by_frames(self) -> dict[str, dict[str, CurveEstimate]]:
        """Task -> method -> learning curve by environment frames."""
        return curves(self.results, "frames", self.findings.copies)

    @cached_property
    def by_seconds(self) -> dict[str, dict[str, CurveEstimate]]:
        """Task -> method -> learning curve by training seconds; empty without timings."""
        return curves(self.results, "seconds", self.findings.copies) if self.timings else {}


def _unequal_tuning(results: Results) -> tuple[str, ...]:
    """A sentence where some methods had more trials than others."""
    by_trials: dict[str, list[str]] = {}
    for info in trained(results):
        if info.tuning:
            by_trials.setdefault(info.tuning, []).append(info.label)
    if len(by_trials) < 2:
        return ()
    said = [f"{listed(labels)} {trials}" for trials, labels in by_trials.items()]
    return (f"Not tuned alike: {'; '.join(said)}.",)


def _given(facts: Sequence[TaskFacts]) -> tuple[str, ...]:
    """A sentence where somebody gave the reference points for these results."""
    points = [(f.id, f.reference("random"), f.reference("best")) for f in facts]
    said = [f"{t} {a.value:g} and {b.value:g}" for t, a, b in points if a and b and a.policy == b.policy == GIVEN]
    return (f"What scores 0 and 1 was given, not measured: {'; '.join(said)}.",) if said else ()


def judge(
    results: Results,
    *,
    kind: EndKind | None = None,
    mode: Mode | None = None,
    metric: str = "return",
    timings: bool = True,
) -> Estimates:
    """Everything that can be said about some results, computed as it is asked for. Deterministic.

    Args:
        results: the records; missing runs and references are said, never raised.
        kind: ``absolute`` or ``final``; absolute by default, unless nobody has such scores.
        mode: ``deterministic`` or ``sampled``; the suite's primary one by default.
        metric: ``return`` (team sum) or ``success``.
        timings: False leaves seconds out.
    """
    mode = mode or results.primary
    if kind is None:
        found = [k for k in KINDS if _any(results.scores(k, mode, metric))]
        kind = found[0] if found else "absolute"
    return Estimates(results, kind, mode, metric, timings)


def _any(scores: Sequence[RunScores]) -> bool:
    """Whether anybody has a score of this kind (a diverged run has one of every kind)."""
    return any("ok" in r.statuses for s in scores for r in s.runs.values())


def has_scores(estimates: Estimates) -> bool:
    """Whether there is any run with a score of the kind that is compared."""
    return _any(estimates.scores())


def _without(runs: TaskRuns, copies: Sequence[int]) -> TaskRuns:
    keep = [s not in copies for s in runs.seeds]
    if all(keep):
        return runs
    return replace(
        runs,
        scores=runs.scores[keep],
        seeds=tuple(s for s, k in zip(runs.seeds, keep) if k),
        statuses=tuple(s for s, k in zip(runs.statuses, keep) if k),
    )
