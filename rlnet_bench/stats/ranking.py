"""Honest ranking: rank intervals and "tied with the best", both from one family of pairwise tests.

All pairs are tested and adjusted together. Testing only against the best would be too liberal, because
the best was picked by looking at the same scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlnet_bench.stats.aggregate import Aggregate, mean
from rlnet_bench.stats.bootstrap import few_seeds_reason
from rlnet_bench.stats.intervals import check_level
from rlnet_bench.stats.permutation import DEFAULT_LABELLINGS, Adjustment, PairTest, pairwise_tests
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks


@dataclass(frozen=True)
class RankInterval:
    """A method's place: ``rank`` by point estimate (equal values share it), between ``low`` and ``high``."""

    method: str
    value: float
    rank: int
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Ranking:
    """Rank intervals of all methods, best first, with the tests behind them.

    ``reason`` is given when there are too few runs for any claim; every interval is then 1 to K.
    """

    ranks: tuple[RankInterval, ...]
    tests: tuple[PairTest, ...]
    statistic: str
    level: float
    family: str
    flags: tuple[str, ...] = ()
    reason: str | None = None

    def __getitem__(self, method: str) -> RankInterval:
        return {r.method: r for r in self.ranks}[method]


@dataclass(frozen=True)
class TiedWithBest:
    """Which methods cannot be told from the best one.

    ``tied`` excludes ``best``; ``worse`` are significantly worse. ``bold`` is what a table prints bold:
    the best, or None when everything is tied (say so in the caption).
    """

    best: str
    tied: tuple[str, ...]
    worse: tuple[str, ...]
    adjusted_p: dict[str, float]
    statistic: str
    level: float
    family: str
    flags: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def is_everything_tied(self) -> bool:
        """Whether no method is significantly worse than the best."""
        return not self.worse

    @property
    def bold(self) -> str | None:
        """The method to print bold, if any."""
        return None if self.is_everything_tied else self.best


def rank_intervals(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    statistic: Aggregate = mean,
    level: float = 0.95,
    adjust: Adjustment = "max-t",
    tasks: Tasks = "all",
    n_labellings: int = DEFAULT_LABELLINGS,
    anchors: Sequence[str] | None = None,
) -> Ranking:
    """Rank methods and say how far each rank is certain.

    ``low = 1 + #{significantly better}`` and ``high = K - #{significantly worse}``. The intervals are
    simultaneous: with probability ``level`` no method is placed above or below one that it equals.
    ``statistic`` orders the point estimates; the tests compare suite means. Give methods of one execution
    class. Raises :class:`BadInput` for missing tasks.

    Among very many methods a family of all pairs decides nothing. With ``anchors`` (names, perhaps none) every
    method is tested against the best by estimate and against these alone; a rank then only counts them.

    >>> rng = np.random.default_rng(1)
    >>> runs = [RunScores.from_arrays(m, {"t": rng.normal(x, 1, 8)}) for m, x in zip("abc", (9, 9, 1))]
    >>> [f"{r.method} {r}" for r in rank_intervals(runs, rng).ranks]
    ['a 1-2', 'b 1-2', 'c 3']
    """
    check_level(level)
    names, flags = select_tasks(methods, tasks)
    values = {m.method: statistic(m, names) for m in methods}
    sign = 1.0 if statistic.higher_is_better else -1.0
    reason = few_seeds_reason([m.pooled(names) for m in methods])
    tests: tuple[PairTest, ...] = ()
    if len(methods) > 1:
        pairs = None if anchors is None else _against(values, sign, anchors)
        tests = pairwise_tests(methods, rng, adjust=adjust, pairs=pairs, tasks=names, n_labellings=n_labellings)
    better = dict.fromkeys(values, 0)
    worse = dict.fromkeys(values, 0)
    for test in tests if reason is None else ():
        verdict = test.verdict(level)
        if verdict != "not distinguishable":
            winner, loser = (test.a, test.b) if verdict == "better" else (test.b, test.a)
            better[loser] += 1
            worse[winner] += 1
    ranks = [
        RankInterval(
            name,
            value,
            1 + sum(sign * other > sign * value for other in values.values()),
            1 + better[name],
            len(values) - worse[name],
        )
        for name, value in values.items()
    ]
    ranks.sort(key=lambda r: (r.rank, r.low, r.high, r.method))
    family = tests[0].family if tests else "one method"
    return Ranking(tuple(ranks), tests, statistic.name, level, family, flags, reason)


def _against(values: Mapping[str, float], sign: float, anchors: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of every method with the best and with each anchor, each pair once."""
    best = min(values, key=lambda m: (-sign * values[m], m))
    fixed = [best, *(a for a in anchors if a != best and a in values)]
    return [(a, m) for k, a in enumerate(fixed) for m in values if m not in fixed[: k + 1]]


def tied_with_best(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    statistic: Aggregate = mean,
    level: float = 0.95,
    adjust: Adjustment = "max-t",
    tasks: Tasks = "all",
    n_labellings: int = DEFAULT_LABELLINGS,
    ranking: Ranking | None = None,
) -> TiedWithBest:
    """Find the best method by point estimate and all that are not significantly worse than it.

    Pass ``ranking`` to reuse the tests of :func:`rank_intervals`. With too few runs nothing is ever bold.
    """
    if ranking is None:
        ranking = rank_intervals(
            methods,
            rng,
            statistic=statistic,
            level=level,
            adjust=adjust,
            tasks=tasks,
            n_labellings=n_labellings,
        )
    best = ranking.ranks[0].method
    adjusted: dict[str, float] = {}
    worse: list[str] = []
    for test in ranking.tests:
        if best in (test.a, test.b):
            other = test.b if test.a == best else test.a
            adjusted[other] = test.adjusted_p
            expected = "better" if test.a == best else "worse"
            if ranking.reason is None and test.verdict(ranking.level) == expected:
                worse.append(other)
    tied = tuple(r.method for r in ranking.ranks if r.method not in (best, *worse))
    return TiedWithBest(
        best, tied, tuple(worse), adjusted, ranking.statistic, ranking.level, ranking.family,
        ranking.flags, ranking.reason,
    )  # fmt: skip
