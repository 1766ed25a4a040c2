"""Who stands where: one board per division, protocol and execution class, ranked by the code that ranks reports.

A row of a board is a method's version. Entries that may rank (:attr:`~rlnet_bench.leaderboard.entries.Entry.is_ranked`)
are ranked among themselves; for the others the same code says where they would stand among everything that is listed.
Imports without torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from rlnet_bench.analysis.boards import TABLE_LABELLINGS
from rlnet_bench.analysis.pooling import Pool, pool
from rlnet_bench.analysis.references import TaskFacts, facts_of
from rlnet_bench.analysis.streams import named
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.leaderboard.entries import Division, Entry
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.permutation import DEFAULT_LABELLINGS
from rlnet_bench.stats.ranking import Ranking, rank_intervals, tied_with_best
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import Mode, class_rank

MOST = 30  # methods of which all pairs are tested


@dataclass(frozen=True)
class Row:
    """A method's version on one board."""

    key: str  # the method, with its version where a board has several
    entries: Mapping[str, Entry]  # by task

    @property
    def any(self) -> Entry:
        """One of its entries, for what is the same in all."""
        return next(iter(self.entries.values()))

    @property
    def is_ranked(self) -> bool:
        """Whether every entry of it may rank."""
        return all(e.is_ranked for e in self.entries.values())

    def scores(self, tasks: Sequence[str]) -> RunScores:
        """Its runs or policies as the statistics take them."""
        return RunScores(self.key, {t: _runs(self.entries.get(t)) for t in tasks})


@dataclass(frozen=True)
class Place:
    """Where a row stands: its rank, the ranks that the data do not exclude, and against the best."""

    rank: int
    low: int
    high: int
    is_official: bool  # among rows that may rank; else among all that are listed
    is_tied: bool  # with the best, not distinguishable from it
    is_bold: bool  # the best, and better than at least one
    reason: str = ""  # why nothing is claimed


@dataclass(frozen=True, eq=False)
class Standing:
    """One board. ``places`` by task, and by "" over all pooled tasks."""

    division: Division
    suite: str
    execution: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    controls: tuple[Row, ...]
    facts: tuple[TaskFacts, ...]
    mode: Mode
    anchors: tuple[str, ...] = ()
    estimates: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for files and anchors."""
        return "-".join(filter(None, (self.division, self.suite, self.execution.lower())))

    @property
    def is_crowded(self) -> bool:
        """Whether methods are only tested against the best and the anchors."""
        return len(self.rows) > MOST

    @cached_property
    def pool(self) -> Pool:
        """Rows and controls with every pooled task."""
        return pool([r.scores(self.tasks) for r in (*self.rows, *self.controls)], self.facts)

    @cached_property
    def overall(self) -> dict[str, Estimate]:
        """Row -> mean over the pooled tasks."""
        mode = self.mode
        return {
            s.method: estimate(s, mean, named("aggregates", s.method, s.tasks, "absolute", mode, "return"))
            for s in self.pool.scores
        }

    @cached_property
    def rankings(self) -> dict[str, tuple[Ranking, ...]]:
        """Task (or "": the pooled tasks) -> the ranking of what may rank; if it is more, also of all listed."""
        labels = [r.key for r in self.rows]
        found = {"": self._ranked(self.pool.of(*labels), "")}
        for task in self.tasks:
            scores = [r.scores([task]) for r in self.rows if task in r.entries and r.entries[task].score is not None]
            found[task] = self._ranked(scores, task)
        return found

    def _ranked(self, scores: Sequence[RunScores], task: str) -> tuple[Ranking, ...]:
        may = [s for s in scores if s.method in self.official]
        families = [may] if len(may) == len(scores) else [may, scores]
        return tuple(self._ranking(family, task) for family in families if family)

    def _ranking(self, scores: Sequence[RunScores], task: str) -> Ranking:
        """By the streams of reports, so that a board of a suite has a report's digits."""
        family = sorted(s.method for s in scores)
        kind = ("absolute", self.mode, "return")
        rng = named("ties", family, task, *kind) if task else named("ranks", family, scores[0].tasks, *kind)
        anchors = self.anchors if len(scores) > MOST else None
        labellings = TABLE_LABELLINGS if task else DEFAULT_LABELLINGS
        return rank_intervals(scores, rng, n_labellings=labellings, anchors=anchors)

    @cached_property
    def official(self) -> frozenset[str]:
        """Rows that may rank."""
        return frozenset(r.key for r in self.rows if r.is_ranked)

    @cached_property
    def places(self) -> dict[str, dict[str, Place]]:
        """Task (or "": the pooled tasks) -> row -> its place."""
        out: dict[str, dict[str, Place]] = {}
        for task, rankings in self.rankings.items():
            out[task] = {}
            for ranking in reversed(rankings):  # the ranking of what may rank has the last word
                is_official = all(r.method in self.official for r in ranking.ranks)
                out[task] |= _places(ranking, is_official)
        return out

    @cached_property
    def order(self) -> tuple[Row, ...]:
        """Rows as they are shown: ranked ones first, by rank over the pooled tasks; then by score."""
        places = self.places[""]

        def key(row: Row) -> tuple[object, ...]:
            place, e = places.get(row.key), self.overall.get(row.key)
            value = e.value if e else np.mean([x.value for (k, _), x in self.estimates.items() if k == row.key] or [0])
            return not row.is_ranked, place.low if place else 10**6, place.rank if place else 10**6, -value, row.key

        return tuple(sorted(self.rows, key=key))


def _places(ranking: Ranking, is_official: bool) -> dict[str, Place]:
    ties = tied_with_best([], named(), ranking=ranking)
    silent = "one method" if len(ranking.ranks) == 1 else ranking.reason or ""
    tied = {*ties.tied, *((ties.best,) if ties.is_everything_tied else ())} if not silent else set()
    return {
        r.method: Place(
            r.rank, r.low, r.high, is_official, r.method in tied, not silent and r.method == ties.bold, silent
        )
        for r in ranking.ranks
    }


def standings(entries: Iterable[Entry], cards: Mapping[str, TaskCard], anchors: Sequence[str] = ()) -> list[Standing]:
    """The boards, division by division, protocol by protocol, weakest execution class first.

    Args:
        entries: everything that is listed; rows that a class cannot be told of are nobody's.
        cards: of their tasks.
        anchors: the fixed methods of crowded boards.
    """
    groups: dict[tuple[Division, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.division, entry.suite), []).append(entry)
    found = []
    for (division, suite), members in sorted(groups.items()):
        rows = _rows(members)
        controls = tuple(r for r in rows if r.any.is_control)
        playing = [r for r in rows if not r.any.is_control]
        for execution in sorted({_class(r) for r in playing}, key=class_rank):
            chosen = tuple(r for r in playing if _class(r) == execution)
            tasks = tuple(dict.fromkeys(t for r in chosen for t in r.entries))
            shown = tuple(replace(r, entries={t: e for t, e in r.entries.items() if t in tasks}) for r in controls)
            facts = tuple(facts_of(cards[t]) for t in tasks)
            mode = chosen[0].any.mode
            made = Standing(division, suite, execution, tasks, chosen, shown, facts, mode, tuple(anchors))
            found.append(replace(made, estimates=_estimates(made)))
    return found


def _rows(entries: Sequence[Entry]) -> list[Row]:
    """Entries by method and version; a version is named only where there are several."""
    by: dict[tuple[str, int], dict[str, Entry]] = {}
    for e in entries:
        by.setdefault((e.method, e.version), {})[e.task] = e
    several = {m for m, v in by if sum(other == m for other, _ in by) > 1} if len(by) > len({m for m, _ in by}) else ()
    return [Row(f"{m} v{v}" if m in several else m, tasks) for (m, v), tasks in by.items()]


def _class(row: Row) -> str:
    """The strongest class of a row: no task's score is flattered."""
    return max((e.execution for e in row.entries.values()), key=class_rank)


def _estimates(board: Standing) -> dict[tuple[str, str], Estimate]:
    return {
        (row.key, task): estimate(
            row.scores([task]),
            mean,
            named("task mean", row.key, task, "absolute", board.mode, "return"),
            level=entry.interval_level,
        )
        for row in (*board.rows, *board.controls)
        for task, entry in row.entries.items()
        if entry.score is not None
    }


def _runs(entry: Entry | None) -> TaskRuns:
    if entry is None:
        return TaskRuns(np.zeros(0), (), ())
    scored = [s for s in entry.scores if s.mean is not None]
    return TaskRuns(
        np.array([s.mean for s in scored]), tuple(s.seed for s in scored),
        tuple("diverged" if s.status == "diverged" else "ok" for s in scored),
        sum(s.status == "failed" for s in entry.scores),
    )  # fmt: skip
