"""From runs to estimates: one aggregate, a table of aggregates for many methods, and sensitivity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import intervals
from rlnet_bench.stats.aggregate import Aggregate, SolveRate, iqm, mean, median, optimality_gap
from rlnet_bench.stats.bootstrap import (
    add_flags,
    check_options,
    enough_resamples,
    few_seeds_reason,
    interval_of,
    jackknife,
    reference_flags,
    stream,
)
from rlnet_bench.stats.intervals import IntervalKind, SmallSample
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES, resample, resample_tasks
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks

MIN_TASKS_TO_RESAMPLE = 8
STANDARD_AGGREGATES: tuple[Aggregate, ...] = (iqm, mean, median, optimality_gap)


def estimate(
    runs: RunScores,
    statistic: Aggregate,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    interval: IntervalKind = "expanded",
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
    other_tasks: bool = False,
) -> Estimate:
    """Estimate one aggregate of one method with its interval.

    ``interval`` is ``"expanded"`` (default), ``"percentile"``, ``"bca"`` or ``"student_t"``; a solve rate
    always uses Wilson's. ``other_tasks=True`` resamples tasks as well and answers "on other tasks of this
    kind" (at least 8 tasks). The number of resamples is raised when the interval's quantiles need it.
    Deterministic in the generator's state. Raises :class:`BadInput` for missing tasks and bad options.

    >>> runs = RunScores.from_arrays("ippo", {"spread": [0.52, 0.61, 0.58, 0.7, 0.49]})
    >>> print(estimate(runs, mean, np.random.default_rng(0)))
    mean 0.58 [0.496, 0.682]
    """
    return estimate_many(
        runs,
        [statistic],
        rng,
        level=level,
        interval=interval,
        tasks=tasks,
        n_resamples=n_resamples,
        other_tasks=other_tasks,
    )[statistic.name]


def estimate_many(
    runs: RunScores,
    statistics: Sequence[Aggregate],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    interval: IntervalKind = "expanded",
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
    other_tasks: bool = False,
) -> dict[str, Estimate]:
    """Estimate several aggregates from the same resamples; returns aggregate name -> estimate."""
    check_options(level, interval, n_resamples)
    names, flags = select_tasks([runs], tasks)
    pooled = runs.pooled(names)
    if other_tasks:
        if len(names) < MIN_TASKS_TO_RESAMPLE:
            raise BadInput(
                f"resampling tasks needs at least {MIN_TASKS_TO_RESAMPLE} of them, found {len(names)}: "
                "few tasks say nothing about others."
            )
        flags += ("speaks about other tasks of this kind",)
    plain_flags, flags = flags, flags + reference_flags([pooled])
    reason = few_seeds_reason([pooled])
    result: dict[str, Estimate] = {}
    resampled = [s for s in statistics if not isinstance(s, SolveRate)]
    if resampled and reason is None:
        correction = (
            SmallSample(len(names) - 1.0, len(names) / (len(names) - 1.0))
            if other_tasks
            else intervals.small_sample(pooled.variances_M, pooled.counts_M)
        )
        n_resamples = enough_resamples(n_resamples, correction, level, interval)
        draws_SB = _draw(pooled, resampled, rng, n_resamples, other_tasks)
        for statistic, draws_B in zip(resampled, draws_SB):
            value = statistic.of(pooled)
            left_out = jackknife(pooled, statistic) if interval == "bca" else []
            low, high, method, remarks = interval_of(draws_B, value, correction, level, interval, left_out)
            result[statistic.name] = Estimate(
                value, low, high, level, method, pooled.n_per_task,
                flags + statistic.flags(pooled) + remarks, None, statistic.name, n_resamples,
            )  # fmt: skip
    for statistic in statistics:
        if isinstance(statistic, SolveRate):
            result[statistic.name] = _solve_rate(pooled, statistic, level, plain_flags)
        elif reason is not None:
            result[statistic.name] = Estimate(
                statistic.of(pooled), None, None, level, "none", pooled.n_per_task,
                flags + statistic.flags(pooled), reason, statistic.name,
            )  # fmt: skip
    return {s.name: result[s.name] for s in statistics}


def estimate_tasks(
    runs: RunScores, rng: np.random.Generator, *, statistic: Aggregate = mean, **options: object
) -> dict[str, Estimate]:
    """Estimate an aggregate (default: the mean) on each task that has runs, with its own generator.

    Options are those of :func:`estimate` without ``tasks``.
    """
    root = int(rng.integers(2**63))
    return {
        task: estimate(runs.select([task]), statistic, stream(root, task), **options)  # type: ignore[arg-type]
        for task in runs.tasks
        if runs.runs[task].n > 0
    }


def aggregate_table(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    statistics: Sequence[Aggregate] = STANDARD_AGGREGATES,
    level: float = 0.95,
    interval: IntervalKind = "expanded",
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> dict[str, dict[str, Estimate]]:
    """Estimate all aggregates of all methods: method -> aggregate name -> estimate.

    Every method has its own random stream, derived from the generator and its name: adding a method or
    changing the order moves nobody's interval.
    """
    names, flags = select_tasks(methods, tasks)
    root = int(rng.integers(2**63))
    table = {}
    for runs in methods:
        row = estimate_many(
            runs,
            statistics,
            stream(root, runs.method),
            level=level,
            interval=interval,
            tasks=names,
            n_resamples=n_resamples,
        )
        table[runs.method] = {k: add_flags(e, flags) for k, e in row.items()}
    return table


@dataclass(frozen=True)
class Sensitivity:
    """One aggregate with diverged runs at their floor (the rule) and dropped (the usual bias)."""

    at_floor: Estimate
    dropped: Estimate | None
    n_diverged: int
    reason: str | None = None

    @property
    def is_material(self) -> bool:
        """Whether the two differ by more than half an interval, or dropping cannot even be judged."""
        if self.n_diverged == 0:
            return False
        if self.dropped is None or self.at_floor.half_width is None:
            return True
        return abs(self.at_floor.value - self.dropped.value) > self.at_floor.half_width


def sensitivity(runs: RunScores, statistic: Aggregate, rng: np.random.Generator, **options: object) -> Sensitivity:
    """Compare "diverged at the floor" with "diverged dropped"; options are those of :func:`estimate`."""
    root = int(rng.integers(2**63))
    at_floor = estimate(runs, statistic, stream(root, "resamples"), **options)  # type: ignore[arg-type]
    kept = runs.without_diverged()
    empty = [t for t in at_floor.n_per_task if kept.runs[t].n == 0]
    if empty:
        return Sensitivity(at_floor, None, runs.n_diverged, f"every run diverged on {', '.join(empty)}")
    dropped = estimate(kept, statistic, stream(root, "resamples"), **options)  # type: ignore[arg-type]
    return Sensitivity(at_floor, dropped, runs.n_diverged)


def _draw(
    pooled: Pooled,
    statistics: Sequence[Aggregate],
    rng: np.random.Generator,
    n_resamples: int,
    other_tasks: bool,
) -> Array:
    draws_SB = np.empty((len(statistics), n_resamples))
    if other_tasks:
        for rows, values, weights, starts in resample_tasks(pooled, rng, n_resamples):
            for s, statistic in enumerate(statistics):
                draws_SB[s, rows] = statistic.draws(values, weights, starts)
        return draws_SB
    starts_M = pooled.starts_M
    for rows, [(values, weights_BN)] in resample([pooled], rng, n_resamples):
        for s, statistic in enumerate(statistics):
            draws_SB[s, rows] = statistic.draws(values, weights_BN, starts_M)
    if not reference_flags([pooled]) and not np.any(pooled.variances_M):
        # Constant tasks: the resamples can differ by rounding only, which must not look like an interval.
        draws_SB[:] = np.array([s.of(pooled) for s in statistics])[:, None]
    return draws_SB


def _solve_rate(pooled: Pooled, statistic: SolveRate, level: float, flags: tuple[str, ...]) -> Estimate:
    solved_N = pooled.values_N >= statistic.threshold
    solved_M = np.add.reduceat(solved_N.astype(np.float64), pooled.starts_M)
    low_M, high_M = intervals.wilson(solved_M, pooled.counts_M, level)
    low, high = intervals.combine_independent(solved_M / pooled.counts_M, low_M, high_M)
    few = [t for t, n in pooled.n_per_task.items() if n < 3]
    reason = f"fewer than 3 runs on task(s) {', '.join(map(repr, few))}" if few else None
    method = "Wilson" if len(pooled.tasks) == 1 else "Wilson, combined over tasks"
    return Estimate(
        float(np.mean(solved_M / pooled.counts_M)),
        None if reason else low,
        None if reason else high,
        level,
        "none" if reason else method,
        pooled.n_per_task,
        flags,
        reason,
        statistic.name,
    )
