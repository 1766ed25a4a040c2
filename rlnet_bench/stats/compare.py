"""Two methods against each other: the interval of a difference, and the probability of improvement.

Non-overlap of two single intervals is not a test; these are the intervals to report. Both methods are
resampled independently: equal seed numbers of two methods are not paired data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy import special

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import intervals
from rlnet_bench.stats.aggregate import Aggregate
from rlnet_bench.stats.bootstrap import (
    check_options,
    enough_resamples,
    few_seeds_reason,
    interval_of,
    jackknife,
    reference_flags,
    stream,
)
from rlnet_bench.stats.intervals import IntervalKind
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.resample import (
    DEFAULT_RESAMPLES,
    chunks,
    resample,
    resample_counts,
    stratified_indices,
)
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks


def difference(
    a: RunScores,
    b: RunScores,
    statistic: Aggregate,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    interval: IntervalKind = "expanded",
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
    paired: bool = False,
) -> Estimate:
    """Estimate ``statistic(a) - statistic(b)``, both resampled independently.

    Scores normalised with uncertain reference points share each draw of those points. ``paired=True`` is
    for runs that truly share their randomness: it needs the same seeds on every task, resamples them
    together and flags the correlation found. Antisymmetric: exchanging ``a`` and ``b`` turns the interval's sign
    and moves no digit. Raises :class:`BadInput` for tasks that one of them lacks.
    """
    if b.method < a.method:
        options: dict[str, Any] = {"level": level, "interval": interval, "tasks": tasks, "paired": paired}
        return _mirrored(difference(b, a, statistic, rng, n_resamples=n_resamples, **options), statistic, a, b)
    check_options(level, interval, n_resamples)
    names, flags = select_tasks([a, b], tasks)
    x, y = a.pooled(names), b.pooled(names)
    value = statistic.of(x) - statistic.of(y)
    name = f"{statistic.name}({a.method}) - {statistic.name}({b.method})"
    flags += reference_flags([x, y])
    flags += tuple(dict.fromkeys(statistic.flags(x) + statistic.flags(y)))
    if paired:
        flags += (_pairing_flag(a, b, names),)
    blank = Estimate(
        value, None, None, level, "none", x.n_per_task, flags, None, name, 0, y.n_per_task
    )  # fmt: skip
    reason = few_seeds_reason([x, y])
    if reason is not None:
        return replace(blank, reason=reason)
    if paired:
        between = Pooled(names, x.values_N - y.values_N, x.counts_M)
        correction = intervals.small_sample(between.variances_M, between.counts_M)
    else:
        correction = intervals.small_sample(
            np.concatenate([x.variances_M, y.variances_M]), np.concatenate([x.counts_M, y.counts_M])
        )
    n_resamples = enough_resamples(n_resamples, correction, level, interval)
    draws_B = np.empty(n_resamples)
    for rows, [(x_values, x_weights), (y_values, y_weights)] in resample([x, y], rng, n_resamples, paired=paired):
        draws_B[rows] = statistic.draws(x_values, x_weights, x.starts_M)
        draws_B[rows] -= statistic.draws(y_values, y_weights, y.starts_M)
    if not np.any(x.variances_M) and not np.any(y.variances_M) and not reference_flags([x, y]):
        draws_B[:] = value
    # b enters with a minus sign; so do its jackknife values.
    left_out = [] if interval != "bca" or paired else [*jackknife(x, statistic), *(-j for j in jackknife(y, statistic))]
    low, high, method, remarks = interval_of(draws_B, value, correction, level, interval, left_out)
    return replace(
        blank, low=low, high=high, method=method, flags=flags + remarks, n_resamples=n_resamples
    )  # fmt: skip


def replication_interval(
    a: RunScores, b: RunScores, *, level: float = 0.95, tasks: Tasks = "all"
) -> tuple[float, float] | None:
    """Return where the difference of suite means will lie when all runs are made again with as many fresh seeds.

    ``d +- t_nu sqrt(2 sum_m (s_am^2 / n_am + s_bm^2 / n_bm)) / M`` with Satterthwaite's nu: twice the variance of the
    present difference, whose interval speaks of the *true* difference and is narrower by a factor of about sqrt(2).
    None when a task has a single run of a method.
    """
    intervals.check_level(level)
    names, _ = select_tasks([a, b], tasks)
    x, y = a.pooled(names), b.pooled(names)
    counts = np.concatenate([x.counts_M, y.counts_M])
    if counts.min() < 2:
        return None
    variances = np.concatenate([x.variances_M, y.variances_M])
    value = float(x.weights_N @ x.values_N - y.weights_N @ y.values_N)
    t = special.stdtrit(intervals.small_sample(variances, counts).nu, 0.5 + level / 2)
    half = float(t * np.sqrt(2 * np.sum(variances / counts))) / len(names)
    return value - half, value + half


def _mirrored(e: Estimate, statistic: Aggregate, a: RunScores, b: RunScores) -> Estimate:
    """The estimate of ``a - b`` from that of ``b - a``."""
    return replace(
        e,
        value=-e.value,
        low=None if e.high is None else -e.high,
        high=None if e.low is None else -e.low,
        n_per_task=e.n_per_task_b,
        n_per_task_b=e.n_per_task,
        statistic=f"{statistic.name}({a.method}) - {statistic.name}({b.method})",
    )


def probability_of_improvement(
    a: RunScores,
    b: RunScores,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> Estimate:
    """Estimate the probability that a run of ``a`` beats a run of ``b`` on a random task; ties count half.

    ``1/M sum_m 1/(n n') sum_ij [x_i > y_j] + [x_i = y_j] / 2`` (Agarwal et al. 2021; per task the
    Mann-Whitney U over n n'). One task: Newcombe's score interval (2006, method 5), which needs 3 runs a
    side. Several: percentiles at the t-corrected level, widened to at least
    ``+- z sqrt(sum_m V(centre_m)) / M`` so that complete separation never yields width 0 (which makes the
    interval conservative, about 99 %, for probabilities above 0.9).

    >>> a = RunScores.from_arrays("a", {"spread": [0.6, 0.7, 0.9, 0.8, 0.7]})
    >>> b = RunScores.from_arrays("b", {"spread": [0.5, 0.4, 0.6, 0.3, 0.2]})
    >>> print(probability_of_improvement(a, b, np.random.default_rng(0)))
    P(a > b) 0.98 [0.6167, 0.9992]
    """
    return improvement_matrix([a, b], rng, level=level, tasks=tasks, n_resamples=n_resamples)[a.method, b.method]


def improvement_matrix(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> dict[tuple[str, str], Estimate]:
    """Estimate the probability of improvement of every ordered pair of methods.

    Every method is resampled once, from a stream of its own (adding a method moves no other pair), and the
    resamples are shared by its pairs. ``P(a > b) + P(b > a) = 1`` holds exactly, limits included.
    """
    check_options(level, "expanded", n_resamples)
    labels = [m.method for m in methods]
    if len(methods) < 2 or len(set(labels)) < len(labels):
        raise BadInput(f"a comparison needs at least two methods with different names, found {labels}.")
    names, flags = select_tasks(methods, tasks)
    pooled = [m.pooled(names) for m in methods]
    root = int(rng.integers(2**63))
    by_name = sorted(range(len(methods)), key=lambda k: labels[k])
    pairs = {(i, j): _Pair.of(pooled[i], pooled[j]) for i, j in combinations(by_name, 2)}
    drawn = {k: p for k, p in pairs.items() if p.reason is None and len(names) > 1}
    if drawn:
        enough = {k: enough_resamples(n_resamples, p.correction, level, "expanded") for k, p in drawn.items()}
        draws = _improvement_draws(pooled, labels, drawn, root, max(enough.values()))
        draws = {k: x[: enough[k]] for k, x in draws.items()}  # as many as the pair would get alone
    result = {}
    for (i, j), pair in pairs.items():
        low: float | None = None
        high: float | None = None
        method, remarks = "none", tuple[str, ...]()
        if pair.reason is None and len(names) == 1:
            low, high, method = float(pair.limits(level)[0][0]), float(pair.limits(level)[1][0]), "Newcombe"
        elif pair.reason is None:
            low, high, method, remarks = pair.widened(draws[i, j], level)
        forward = Estimate(
            pair.value, low, high, level, method, pooled[i].n_per_task, flags + remarks, pair.reason,
            f"P({labels[i]} > {labels[j]})", len(draws[i, j]) if (i, j) in drawn else 0, pooled[j].n_per_task,
        )  # fmt: skip
        result[labels[i], labels[j]] = forward
        result[labels[j], labels[i]] = replace(
            forward,
            value=1 - pair.value,
            low=None if high is None else 1 - high,
            high=None if low is None else 1 - low,
            n_per_task=forward.n_per_task_b,
            n_per_task_b=forward.n_per_task,
            statistic=f"P({labels[j]} > {labels[i]})",
        )
    return result


@dataclass(frozen=True)
class _Pair:
    """Comparison matrices of two methods, one [n, n'] per task, and what follows from them."""

    wins: tuple[Array, ...]
    by_task_M: Array
    counts_M2: np.ndarray
    correction: intervals.SmallSample
    reason: str | None

    @classmethod
    def of(cls, x: Pooled, y: Pooled) -> _Pair:
        wins = tuple(
            (u[:, None] > v).astype(np.float64) + 0.5 * (u[:, None] == v)
            for u, v in zip(np.split(x.values_N, x.starts_M[1:]), np.split(y.values_N, y.starts_M[1:]))
        )
        if len(wins) == 1:
            few = min(x.counts_M[0], y.counts_M[0]) < 3
            reason = f"fewer than 3 runs of a method on task {x.tasks[0]!r}" if few else None
        else:
            reason = few_seeds_reason([replace(x, bounds={}), replace(y, bounds={})])
        # A run's share of wins (its "placement") is what varies between runs: DeLong et al. 1988.
        placements = [w.mean(axis=1) for w in wins] + [w.mean(axis=0) for w in wins]
        variances = [p.var(ddof=1) if p.size > 1 else 0.0 for p in placements]
        counts = np.concatenate([x.counts_M, y.counts_M])
        # No variance ratio here: resampling both sides of a U statistic adds the interaction of the two draws,
        # which makes up for (n - 1) / n. With the ratio, intervals measured 98 % instead of 95 %.
        correction = intervals.SmallSample(intervals.small_sample(variances, counts).nu, 1.0)
        return cls(
            wins,
            np.array([w.mean() for w in wins]),
            np.stack([x.counts_M, y.counts_M], axis=1),
            correction,
            reason,
        )

    @property
    def value(self) -> float:
        return float(self.by_task_M.mean())

    def limits(self, level: float) -> tuple[Array, Array]:
        n1, n2 = self.counts_M2.T
        return intervals.newcombe(self.by_task_M, n1, n2, level)

    def widened(self, draws_B: Array, level: float) -> tuple[float, float, str, tuple[str, ...]]:
        low, high, method, _ = interval_of(draws_B, self.value, self.correction, level, "expanded", [])
        low_M, high_M = self.limits(level)
        variance_M = intervals.newcombe_variance((low_M + high_M) / 2, self.counts_M2[:, 0], self.counts_M2[:, 1])
        half = float(special.ndtri(0.5 + level / 2) * np.sqrt(variance_M.sum()) / len(variance_M))
        # A symmetric half-width may overshoot: it stops at the outermost limit of a single task, so that lost
        # comparisons keep the upper limit below 1.
        floor_low, floor_high = max(self.value - half, low_M.min()), min(self.value + half, high_M.max())
        is_wider = floor_low < low or floor_high > high
        low, high = max(0.0, min(low, floor_low)), min(1.0, max(high, floor_high))
        return low, high, f"{method}, widened by Newcombe's variance" if is_wider else method, ()


def _improvement_draws(
    pooled: Sequence[Pooled],
    labels: Sequence[str],
    pairs: dict[tuple[int, int], _Pair],
    root: int,
    n_resamples: int,
) -> dict[tuple[int, int], Array]:
    draws = {key: np.empty(n_resamples) for key in pairs}
    streams = [stream(root, label) for label in labels]
    for rows in chunks(n_resamples, sum(p.values_N.size for p in pooled)):
        shares = []
        for group, generator in zip(pooled, streams):
            indices_BN = stratified_indices(generator, group.counts_M, rows.stop - rows.start)
            shares.append(resample_counts(indices_BN) / np.repeat(group.counts_M, group.counts_M))
        for (i, j), pair in pairs.items():
            total_B = np.zeros(rows.stop - rows.start)
            for m, wins in enumerate(pair.wins):
                first, second = pooled[i].starts_M[m], pooled[j].starts_M[m]
                left = shares[i][:, first : first + wins.shape[0]]
                right = shares[j][:, second : second + wins.shape[1]]
                total_B += np.einsum("bi,bi->b", left @ wins, right)
            draws[i, j][rows] = total_B / len(pair.wins)
    return draws


def _pairing_flag(a: RunScores, b: RunScores, tasks: Sequence[str]) -> str:
    for t in tasks:
        if sorted(a.runs[t].seeds) != sorted(b.runs[t].seeds):
            raise BadInput(
                f"paired=True needs the same seeds for {a.method!r} and {b.method!r} on task {t!r}, "
                f"found {a.runs[t].seeds} and {b.runs[t].seeds}."
            )
        if a.runs[t].seeds != b.runs[t].seeds:
            raise BadInput(f"paired=True needs the runs of task {t!r} in the same order of seeds.")
    centred = [np.concatenate([r.runs[t].scores - r.runs[t].scores.mean() for t in tasks]) for r in (a, b)]
    norm = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    r = float(centred[0] @ centred[1]) / norm if norm > 0 else float("nan")
    return f"paired by seed, within-task correlation {r:.2f}"
