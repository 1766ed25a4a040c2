"""The mean of a matrix whose rows and columns are runs: scores of every run of one method beside every run of another.

A run occurs in a whole row or column, so entries are not independent and are never resampled one by one: runs are.
Axes: **I** runs of the rows, **J** of the columns, **B** resamples.
"""

from __future__ import annotations

import numpy as np

from rlnet_bench.stats.bootstrap import enough_resamples, interval_of
from rlnet_bench.stats.intervals import MIN_RUNS_ONE_TASK, SmallSample
from rlnet_bench.stats.pooled import Array
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES, resample_counts, stratified_indices
from rlnet_bench.stats.result import Estimate


def crossed_mean(
    values_IJ: Array,
    rng: np.random.Generator,
    *,
    names: tuple[str, str],
    resampled: tuple[bool, bool] = (True, True),
    level: float = 0.95,
    n_resamples: int = DEFAULT_RESAMPLES,
) -> Estimate:
    """The mean over pairs of runs, with an interval by resampling runs.

    Args:
        values_IJ: scores [I, J].
        rng: of the resamples.
        names: of the two methods. Equal names mean that rows and columns are the same runs in the same order: they are
            drawn together, and pairs of a run with itself are dropped, also where a run was drawn twice.
        resampled: whether the runs of the rows, and of the columns, stand for others; False for a script, which
            has no training seed.
        level: nominal coverage.
        n_resamples: how many, raised when the quantiles need more.

    The small-sample correction is that of the side with fewer runs. No interval from fewer than 5 runs on a side.
    """
    rows, columns = values_IJ.shape
    same = names[0] == names[1]
    pairs_IJ = ~np.eye(rows, dtype=bool) if same else np.ones_like(values_IJ, dtype=bool)
    counts = {names[0]: rows} if same else dict(zip(names, (rows, columns)))
    drawn = [n for n, is_drawn in zip((rows, columns), resampled) if is_drawn]
    value = float(values_IJ[pairs_IJ].mean()) if pairs_IJ.any() else float("nan")
    reason = _reason(names, (rows, columns), resampled)
    if reason is not None:
        return Estimate(value, None, None, level, "none", counts, (), reason, "mean over pairs")
    fewest = min(drawn)
    correction = SmallSample(fewest - 1.0, fewest / (fewest - 1.0))
    n_resamples = enough_resamples(n_resamples, correction, level, "expanded")
    weights_BI = _weights(rng, rows, n_resamples, resampled[0])
    weights_BJ = weights_BI if same else _weights(rng, columns, n_resamples, resampled[1])
    draws_B = np.einsum("bi,ij,bj->b", weights_BI, np.where(pairs_IJ, values_IJ, 0.0), weights_BJ)
    total_B = np.einsum("bi,ij,bj->b", weights_BI, pairs_IJ.astype(np.float64), weights_BJ)
    kept = total_B > 0  # a resample of one run alone has no pair
    low, high, method, flags = interval_of(draws_B[kept] / total_B[kept], value, correction, level, "expanded", ())
    return Estimate(value, low, high, level, method, counts, flags, None, "mean over pairs", int(kept.sum()))


def _weights(rng: np.random.Generator, n: int, n_resamples: int, is_drawn: bool) -> Array:
    """How often each run was drawn [B, n]."""
    if not is_drawn:
        return np.ones((n_resamples, n))
    return resample_counts(stratified_indices(rng, [n], n_resamples)).astype(np.float64)


def _reason(names: tuple[str, str], counts: tuple[int, int], resampled: tuple[bool, bool]) -> str | None:
    if not any(resampled):
        return "no training seeds on either side: nothing to resample"
    for name, n, is_drawn in zip(names, counts, resampled):
        if is_drawn and n < MIN_RUNS_ONE_TASK:
            runs = "run" if n == 1 else "runs"
            return f"{n} {runs} of {name}: an interval needs at least {MIN_RUNS_ONE_TASK}"
    return None
