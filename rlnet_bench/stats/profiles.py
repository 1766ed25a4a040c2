"""Performance profiles: the share of runs above every threshold (Agarwal et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import intervals
from rlnet_bench.stats.bands import band
from rlnet_bench.stats.bootstrap import check_options, enough_resamples, few_seeds_reason, reference_flags
from rlnet_bench.stats.pooled import Array
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES, redraw_values, resample_weights
from rlnet_bench.stats.result import BandEstimate
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks


def profile_grid(methods: Sequence[RunScores], n_points: int = 101, tasks: Tasks = "all") -> Array:
    """Return thresholds [T] for all methods: the span of the reference points, extended to the data.

    Normalised scores always span [0, 1]; raw ones span the data alone.
    """
    names, _ = select_tasks(methods, tasks)
    scores = np.concatenate([m.pooled(names).values_N for m in methods])
    low, high = float(scores.min()), float(scores.max())
    if any(m.bounds for m in methods):
        low, high = min(low, 0.0), max(high, 1.0)
    return np.linspace(low, high, n_points)


def performance_profile(
    runs: RunScores,
    rng: np.random.Generator,
    *,
    thresholds: npt.ArrayLike | None = None,
    level: float = 0.95,
    simultaneous: bool = True,
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> BandEstimate:
    """Estimate ``1/M sum_m 1/n_m #{runs of m with score > tau}`` at each threshold, with a band.

    The band is simultaneous (sup-t) unless asked otherwise, and stays in [0, 1]. Where no resample differs
    (below the lowest and above the highest score) it has no width. Pass the ``thresholds`` of
    :func:`profile_grid` to draw several methods on one axis. Raises :class:`BadInput` unless they increase.
    """
    check_options(level, "expanded", n_resamples)
    names, flags = select_tasks([runs], tasks)
    pooled = runs.pooled(names)
    tau_T = profile_grid([runs], tasks=names) if thresholds is None else np.asarray(thresholds, np.float64)
    if tau_T.ndim != 1 or tau_T.size == 0 or not np.all(np.isfinite(tau_T)) or np.any(np.diff(tau_T) < 0):
        raise BadInput("the thresholds of a profile must be finite and increase.")
    flags += reference_flags([pooled])
    above_NT = (pooled.values_N[:, None] > tau_T).astype(np.float64)
    value_T = pooled.weights_N @ above_NT
    reason = few_seeds_reason([pooled])
    if reason is not None:
        return BandEstimate(
            tau_T,
            value_T,
            None,
            None,
            level,
            "none",
            pooled.n_per_task,
            simultaneous,
            flags,
            reason,
            "profile",
        )
    correction = intervals.small_sample(pooled.variances_M, pooled.counts_M)
    n_resamples = enough_resamples(n_resamples, correction, level, "expanded")
    draws_BT = np.empty((n_resamples, tau_T.size))
    for rows, [weights_BN], errors in resample_weights([pooled], rng, n_resamples):
        values = redraw_values(pooled, errors)
        if values.ndim == 1:
            draws_BT[rows] = weights_BN @ above_NT
        else:
            for t, tau in enumerate(tau_T):
                draws_BT[rows, t] = np.einsum("bn,bn->b", weights_BN, (values > tau).astype(np.float64))
    low_T, high_T, method = band(value_T, draws_BT, correction, level, simultaneous)
    return BandEstimate(
        tau_T, value_T, np.clip(low_T, 0, 1), np.clip(high_T, 0, 1), level, method, pooled.n_per_task,
        simultaneous, flags, None, "profile", n_resamples,
    )  # fmt: skip
