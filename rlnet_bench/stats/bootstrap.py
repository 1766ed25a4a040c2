"""How bootstrap draws become an interval, or a reason: shared by single estimates and comparisons."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import intervals
from rlnet_bench.stats.aggregate import Aggregate
from rlnet_bench.stats.intervals import SmallSample
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.resample import MIN_RESAMPLES
from rlnet_bench.stats.result import Estimate

_LABELS = {
    "expanded": "expanded percentile",
    "percentile": "percentile",
    "bca": "BCa",
    "student_t": "student t",
}


def check_options(level: float, interval: str, n_resamples: int) -> None:
    """Raise :class:`BadInput` for a level, interval or number of resamples that cannot be used."""
    intervals.check_level(level)
    if interval not in intervals.INTERVAL_KINDS:
        raise BadInput(f"unknown interval {interval!r}: expected one of {intervals.INTERVAL_KINDS}.")
    if n_resamples < MIN_RESAMPLES:
        raise BadInput(f"an interval needs at least {MIN_RESAMPLES} resamples, found {n_resamples}.")


def few_seeds_reason(groups: Sequence[Pooled]) -> str | None:
    """Return why there is no interval: too few runs, or reference points too uncertain to divide by."""
    for group in groups:
        reason = intervals.no_interval_reason(group.n_per_task)
        if reason is not None:
            return reason
        for task, bounds in group.bounds.items():
            if not bounds.is_usable:
                return (
                    f"the reference points of task {task!r} lie {bounds.gap:g} apart, less than 5 of their "
                    "standard errors: evaluate them on more episodes"
                )
    return None


def reference_flags(groups: Sequence[Pooled]) -> tuple[str, ...]:
    """Return the remark that the reference points' errors are in the interval, where they are."""
    uncertain = any(not b.is_exact for g in groups for b in g.bounds.values())
    return ("includes the reference points' standard errors",) if uncertain else ()


def enough_resamples(n_resamples: int, correction: SmallSample, level: float, interval: str) -> int:
    """Raise the number of resamples to what the expanded quantiles need, up to a cap."""
    if interval != "expanded":
        return n_resamples
    needed = intervals.resamples_needed(correction.alpha(level))
    return max(n_resamples, needed) if needed <= intervals.MAX_RESAMPLES else n_resamples


def interval_of(
    draws_B: Array,
    value: float,
    correction: SmallSample,
    level: float,
    interval: str,
    left_out: Sequence[Array],
) -> tuple[float, float, str, tuple[str, ...]]:
    """Turn bootstrap draws into ``(low, high, method, flags)``; BCa needs the jackknife's ``left_out``."""
    if np.all(draws_B == draws_B[0]):
        return float(draws_B[0]), float(draws_B[0]), _LABELS[interval], ("degenerate: no resample differs",)
    if interval == "percentile":
        return (*intervals.percentile(draws_B, level), "percentile", ())
    if interval == "student_t":
        return (*intervals.student_t(value, float(draws_B.std()), correction, level), "student t", ())
    notes: tuple[str, ...] = ()
    if interval == "bca":
        limits = intervals.bca(draws_B, value, left_out, level)
        if limits is not None:
            return (*limits, "BCa", ())
        notes = ("no jackknife variance: expanded percentile instead of BCa",)
    limits = intervals.expanded_percentile(draws_B, correction, level)
    if limits is not None:
        return (*limits, "expanded percentile", notes)
    limits = intervals.student_t(value, float(draws_B.std()), correction, level)
    return (*limits, "student t", (*notes, "too few degrees of freedom for quantiles: t interval"))


def jackknife(pooled: Pooled, statistic: Aggregate) -> list[Array]:
    """Return, per task, the aggregate with one run of that task left out: a list of [n_m]."""
    task_of_N = np.repeat(np.arange(len(pooled.tasks)), pooled.counts_M)
    same_task_NN = task_of_N[:, None] == task_of_N
    n_N = pooled.counts_M[task_of_N]
    weights_NN = np.where(same_task_NN, 1 / (len(pooled.tasks) * (n_N - 1)), pooled.weights_N)
    np.fill_diagonal(weights_NN, 0.0)
    left_out_N = statistic.draws(pooled.values_N, weights_NN, pooled.starts_M)
    return np.split(left_out_N, pooled.starts_M[1:])


def stream(root: int, name: str) -> np.random.Generator:
    """Return the generator of a named part of a computation, independent of the other names."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([root, int.from_bytes(digest[:8], "little")])


def add_flags(result: Estimate, flags: tuple[str, ...]) -> Estimate:
    """Return the estimate with further remarks in front."""
    return replace(result, flags=flags + result.flags) if flags else result
