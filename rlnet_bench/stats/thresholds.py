"""How soon a threshold is reached, counting the runs that never reach it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.aggregate import SolveRate, mean
from rlnet_bench.stats.bootstrap import add_flags
from rlnet_bench.stats.curves import RunCurves
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.pooled import Array
from rlnet_bench.stats.resample import DEFAULT_RESAMPLES
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores, TaskRuns, Tasks, select_tasks


@dataclass(frozen=True, eq=False)
class StepsToThreshold:
    """When runs first hold a threshold.

    ``share`` is the share of runs that do; ``restricted_mean`` the mean of min(step, budget), on the x axis
    of the curves. ``steps`` holds each task's runs, ``inf`` for those that never reach it: a mean over
    successes only would reward failing.
    """

    threshold: float
    window: int
    share: Estimate
    restricted_mean: Estimate
    budgets: dict[str, float]
    steps: dict[str, Array]


def steps_to_threshold(
    curves: RunCurves,
    threshold: float,
    rng: np.random.Generator,
    *,
    window: int = 3,
    level: float = 0.95,
    tasks: Tasks = "all",
    n_resamples: int = DEFAULT_RESAMPLES,
) -> StepsToThreshold:
    """Estimate the share of runs reaching ``threshold`` and the restricted mean of when they do.

    A run reaches it at the first evaluation where the mean of the last ``window`` values is at least
    ``threshold``; runs that do not are right-censored at their task's budget (last grid point). Raises
    :class:`BadInput` when a task has fewer than ``window`` evaluations.
    """
    names, flags = select_tasks([curves.at(-1)], tasks)
    steps: dict[str, Array] = {}
    for task in names:
        c = curves.curves[task]
        if not 1 <= window <= c.frames_T.size:
            raise BadInput(
                f"task {task!r} of {curves.method!r} has {c.frames_T.size} evaluations: expected a window of "
                f"1 to that many, found {window}."
            )
        running_nT = np.lib.stride_tricks.sliding_window_view(c.values_nT, window, axis=1).mean(axis=-1)
        is_reached_nT = running_nT >= threshold
        first_n = np.argmax(is_reached_nT, axis=1)
        steps[task] = np.where(is_reached_nT.any(axis=1), c.frames_T[first_n + window - 1], np.inf)
    budgets = {t: float(curves.curves[t].frames_T[-1]) for t in names}
    if len(set(budgets.values())) > 1:
        flags += ("budgets differ between tasks",)
    if curves.bounds and any(not b.is_exact for b in curves.bounds.values()):
        flags += ("without the reference points' standard errors",)
    reached = _scores(curves, {t: np.isfinite(s).astype(np.float64) for t, s in steps.items()})
    restricted = _scores(curves, {t: np.minimum(s, budgets[t]) for t, s in steps.items()})
    share = estimate(reached, SolveRate(1.0), rng, level=level)
    soon = estimate(restricted, mean, rng, level=level, n_resamples=n_resamples)
    return StepsToThreshold(
        threshold,
        window,
        replace(add_flags(share, flags), statistic=f"share reaching {threshold:g}"),
        replace(add_flags(soon, flags), statistic=f"restricted mean to {threshold:g}"),
        budgets,
        steps,
    )


def _scores(curves: RunCurves, scores: dict[str, Array]) -> RunScores:
    runs = {t: TaskRuns(x, curves.curves[t].seeds, curves.curves[t].statuses) for t, x in scores.items()}
    return RunScores(curves.method, runs)
