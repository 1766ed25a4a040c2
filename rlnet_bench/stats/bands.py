"""Bands around curves: pointwise, or simultaneous by the sup-t method."""

from __future__ import annotations

import numpy as np
from scipy import special

from rlnet_bench.stats import intervals
from rlnet_bench.stats.aggregate import Aggregate
from rlnet_bench.stats.bootstrap import check_options, enough_resamples, few_seeds_reason, reference_flags
from rlnet_bench.stats.curves import RunCurves, on_common_grid
from rlnet_bench.stats.intervals import SmallSample
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES, redraw_values, resample_weights
from rlnet_bench.stats.result import BandEstimate
from rlnet_bench.stats.scores import Tasks


def curve_aggregate(
    curves: RunCurves,
    statistic: Aggregate,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    simultaneous: bool = False,
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> BandEstimate:
    """Aggregate learning curves point by point, with a band from resamples of whole runs.

    Pointwise (default): expanded percentile at each point. ``simultaneous=True``: covers the whole curve.
    The x axis is whatever the curves were aligned on. Raises :class:`BadInput` for missing tasks.
    """
    check_options(level, "expanded", n_resamples)
    frames_T, values_NT, pooled, flags = on_common_grid(curves, tasks)
    flags += reference_flags([pooled]) + statistic.flags(pooled)
    columns = [Pooled(pooled.tasks, v, pooled.counts_M, pooled.bounds) for v in values_NT.T]
    value_T = np.array([statistic.of(c) for c in columns])
    reason = few_seeds_reason([pooled])
    if reason is not None:
        return BandEstimate(
            frames_T, value_T, None, None, level, "none", pooled.n_per_task, simultaneous, flags, reason,
            statistic.name,
        )  # fmt: skip
    # One correction for the curve: that of its mean over points, which is less noisy than T of them.
    along = Pooled(pooled.tasks, values_NT.mean(axis=1), pooled.counts_M)
    correction = intervals.small_sample(along.variances_M, along.counts_M)
    n_resamples = enough_resamples(n_resamples, correction, level, "expanded")
    draws_BT = np.empty((n_resamples, frames_T.size))
    for rows, [weights_BN], errors in resample_weights([pooled], rng, n_resamples):
        for t, column in enumerate(columns):
            values = redraw_values(column, errors)
            draws_BT[rows, t] = statistic.draws(values, weights_BN, pooled.starts_M)
    low_T, high_T, method = band(value_T, draws_BT, correction, level, simultaneous)
    return BandEstimate(
        frames_T, value_T, low_T, high_T, level, method, pooled.n_per_task, simultaneous, flags, None,
        statistic.name, n_resamples,
    )  # fmt: skip


def band(
    value_T: Array,
    draws_BT: Array,
    correction: SmallSample,
    level: float = 0.95,
    simultaneous: bool = False,
) -> tuple[Array, Array, str]:
    """Return ``(low_T, high_T, method)`` from bootstrap draws of a curve.

    Simultaneous: ``value_t +- c se_t``, c the quantile of ``max_t |draw_t - value_t| / se_t`` (sup-t,
    Montiel Olea & Plagborg-Moller 2019), widened by the small-sample factor. Points with se = 0 have zero
    width and are left out of the maximum.
    """
    if not simultaneous:
        alpha = correction.alpha(level)
        if alpha * len(draws_BT) >= intervals.MIN_TAIL_RESAMPLES:
            low_T, high_T = np.quantile(draws_BT, [alpha, 1 - alpha], axis=0)
            return low_T, high_T, "pointwise expanded percentile"
        half_T = draws_BT.std(axis=0) * correction.factor(level) * special.ndtri(0.5 + level / 2)
        return value_T - half_T, value_T + half_T, "pointwise student t"
    se_T = draws_BT.std(axis=0)
    # Constant columns differ by rounding only.
    some = se_T > 1e-12 * np.maximum(1e-300, np.abs(value_T).max(initial=0.0))
    if not np.any(some):
        return value_T.copy(), value_T.copy(), "simultaneous sup-t"
    deviation_B = np.max(np.abs(draws_BT[:, some] - value_T[some]) / se_T[some], axis=1)
    half_T = np.where(some, np.quantile(deviation_B, level) * correction.factor(level) * se_T, 0.0)
    return value_T - half_T, value_T + half_T, "simultaneous sup-t"
