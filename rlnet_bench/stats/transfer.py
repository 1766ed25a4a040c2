"""How much of what training at a place brings arrives there from elsewhere, with seeds as units on both sides.

Axes: **B** resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlnet_bench.stats.bootstrap import enough_resamples, interval_of
from rlnet_bench.stats.intervals import MIN_RUNS_ONE_TASK, SmallSample
from rlnet_bench.stats.normalise import MIN_GAP_IN_SE
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES, resample_counts, stratified_indices
from rlnet_bench.stats.result import Estimate


def transfer(
    moved: Sequence[float],
    trained: Sequence[float],
    random: tuple[float, float],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    n_resamples: int = DEFAULT_RESAMPLES,
) -> Estimate:
    """(moved - random) / (trained - random), of means over training runs.

    Runs of both sides are resampled, independently, and the random policy's score is drawn from its standard error. The
    small-sample correction is that of the side with fewer runs.

    Args:
        moved: one score per run that was trained elsewhere.
        trained: one score per run that was trained here.
        random: the random policy's mean score and its standard error.
        rng: of the resamples.
        level: nominal coverage.
        n_resamples: how many, raised when the quantiles need more.

    Returns:
        No interval from fewer than 5 runs on a side. A value of NaN, and the reason, where the runs trained here are
        less than 5 standard errors better than random: nothing can be divided by that.
    """
    low, se = random
    sides = [np.asarray(x, dtype=np.float64) for x in (moved, trained)]
    counts = {"moved": len(moved), "trained": len(trained)}
    gap = float(sides[1].mean()) - low
    spread = float(sides[1].std(ddof=1)) / len(trained) ** 0.5 if len(trained) > 1 else 0.0
    blank = Estimate(float("nan"), None, None, level, "none", counts, statistic="transfer")
    if gap <= MIN_GAP_IN_SE * float(np.hypot(spread, se)):
        better = f"{gap:.4g} above random play" if gap >= 0 else f"{-gap:.4g} below random play"
        return replace(blank, reason=f"what was trained there is {better}, and less than 5 standard errors above it "
                                     "cannot be divided by")  # fmt: skip
    blank = replace(blank, value=(float(sides[0].mean()) - low) / gap)
    fewest = min(counts.values())
    if fewest < MIN_RUNS_ONE_TASK:
        return replace(blank, reason=f"{fewest} runs on one side: an interval needs at least {MIN_RUNS_ONE_TASK}")
    correction = SmallSample(fewest - 1.0, fewest / (fewest - 1.0))
    n_resamples = enough_resamples(n_resamples, correction, level, "expanded")
    low_B = low + se * rng.standard_normal(n_resamples)
    moved_B, trained_B = (
        resample_counts(stratified_indices(rng, [len(x)], n_resamples)) @ x / len(x) - low_B for x in sides
    )
    lower, upper, method, flags = interval_of(moved_B / trained_B, blank.value, correction, level, "expanded", ())
    return replace(blank, low=lower, high=upper, method=method, flags=flags, n_resamples=n_resamples)
