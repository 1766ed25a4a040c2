"""Planning: how many seeds, how many episodes, and what a given number of them can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy import special

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.intervals import check_level
from rlnet_bench.stats.permutation import smallest_attainable_p
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks


@dataclass(frozen=True)
class VarianceComponents:
    """Where the spread of one task's run scores comes from (in squared score units).

    ``run_variance`` is between training runs, ``episode_variance`` between episodes of one policy, and
    ``noise_share`` the part of the observed variance of run means that is evaluation noise.
    """

    run_variance: float
    episode_variance: float
    noise_share: float
    n_runs: int
    episodes_per_run: float

    @property
    def advice(self) -> str:
        """Say what to spend on."""
        if self.noise_share >= 0.5:
            return f"{self.noise_share:.0%} of the spread is evaluation noise: more episodes help most"
        return f"{1 - self.noise_share:.0%} of the spread is between training runs: only more seeds help"


def variance_components(episodes: Sequence[npt.ArrayLike]) -> VarianceComponents:
    """Split the variance of run means: ``run = max(0, Var(mean_i) - mean(s_i^2 / E_i))``.

    ``episodes`` holds one array of episode scores per run of one task. Raises :class:`BadInput` for fewer
    than 2 runs, fewer than 2 episodes in a run, or scores that are not finite.
    """
    arrays = [np.asarray(e, dtype=np.float64) for e in episodes]
    if len(arrays) < 2 or any(a.ndim != 1 or a.size < 2 for a in arrays):
        raise BadInput(
            "variance components need at least 2 runs of at least 2 episodes, found "
            f"{[int(a.size) for a in arrays]} episodes."
        )
    if not all(np.all(np.isfinite(a)) for a in arrays):
        raise BadInput("variance components need finite episode scores.")
    within = np.array([a.var(ddof=1) for a in arrays])
    count = np.array([a.size for a in arrays])
    noise = float(np.mean(within / count))
    observed = float(np.var([a.mean() for a in arrays], ddof=1))
    share = min(1.0, noise / observed) if observed > 0 else 1.0
    per_run = float(len(count) / np.sum(1 / count))
    return VarianceComponents(max(0.0, observed - noise), float(within.mean()), share, len(arrays), per_run)


def run_sd(methods: Sequence[RunScores], tasks: Tasks = "all") -> float:
    """Return the pooled standard deviation of runs within method and task (needs 2 runs somewhere)."""
    names, _ = select_tasks(methods, tasks)
    pooled = [m.pooled(names) for m in methods]
    freedom = sum(float(np.sum(p.counts_M - 1)) for p in pooled)
    if freedom < 1:
        raise BadInput("the spread of runs needs at least two runs of one task.")
    return float(np.sqrt(sum(float(p.variances_M @ (p.counts_M - 1)) for p in pooled) / freedom))


def seeds_needed(delta: float, sd: float, n_tasks: int = 1, *, level: float = 0.95, power: float = 0.8) -> int:
    """Return how many seeds per method and task detect a difference ``delta`` of suite means.

    ``n = 2 (t_(1-alpha/2) + t_power)^2 sd^2 / (M delta^2)`` with t on 2 M (n - 1) degrees of freedom;
    ``delta`` and ``sd`` (between runs of one task) in the same units.

    >>> seeds_needed(0.05, 0.15), seeds_needed(0.05, 0.15, n_tasks=10)
    (143, 15)
    """
    _check(sd, n_tasks, level, power)
    if not delta > 0:
        raise BadInput(f"the difference to detect must be positive, found {delta}.")
    normal = special.ndtri(0.5 + level / 2) + special.ndtri(power)
    n = max(2, ceil(2 * (normal * sd / delta) ** 2 / n_tasks))
    while n < 10**6 and smallest_detectable_difference(n, sd, n_tasks, level=level, power=power) > delta:
        n += 1
    return n


def smallest_detectable_difference(
    n_seeds: int, sd: float, n_tasks: int = 1, *, level: float = 0.95, power: float = 0.8
) -> float:
    """Return the difference of suite means that ``n_seeds`` per method and task detect with ``power``.

    >>> round(smallest_detectable_difference(5, 0.1, n_tasks=4), 3)
    0.091
    """
    _check(sd, n_tasks, level, power)
    if n_seeds < 2:
        raise BadInput(f"a comparison needs at least 2 seeds, found {n_seeds}.")
    nu = 2 * n_tasks * (n_seeds - 1)
    t = special.stdtrit(nu, 0.5 + level / 2) + special.stdtrit(nu, power)
    return float(t * sd * np.sqrt(2 / (n_seeds * n_tasks)))


def power_to_detect(delta: float, n_seeds: int, sd: float, n_tasks: int = 1, *, level: float = 0.95) -> float:
    """Return the probability that a two-sided t test finds a true difference ``delta``."""
    _check(sd, n_tasks, level, 0.8)
    if n_seeds < 2:
        raise BadInput(f"a comparison needs at least 2 seeds, found {n_seeds}.")
    nu = 2 * n_tasks * (n_seeds - 1)
    shift = abs(delta) / (sd * np.sqrt(2 / (n_seeds * n_tasks))) if sd > 0 else np.inf
    if not np.isfinite(shift):
        return 1.0 if delta else 1 - level
    critical = special.stdtrit(nu, 0.5 + level / 2)
    return float(1 - special.nctdtr(nu, shift, critical) + special.nctdtr(nu, shift, -critical))


def seeds_to_tell(
    a: RunScores, b: RunScores, *, tasks: Tasks = "all", level: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many seeds per task would tell two methods apart if the present difference were true.

    None when the present means are equal. Computed from an observed difference, so it is a rough guide for
    planning new runs, never a reason to call the present ones significant.
    """
    names, _ = select_tasks([a, b], tasks)
    x, y = a.pooled(names), b.pooled(names)
    delta = abs(float(x.weights_N @ x.values_N - y.weights_N @ y.values_N))
    if delta == 0:
        return None
    enough = seeds_needed(delta, run_sd([a, b], names), len(names), level=level, power=power)
    return max(enough, seeds_for_family(1, len(names), level=level))


def seeds_for_family(n_pairs: int, n_tasks: int = 1, *, level: float = 0.95) -> int:
    """Return the fewest seeds with which Holm's procedure over ``n_pairs`` can reach significance at all.

    >>> seeds_for_family(1), seeds_for_family(45)
    (4, 7)
    """
    check_level(level)
    n = 2
    while smallest_attainable_p([n] * n_tasks, [n] * n_tasks) > (1 - level) / n_pairs:
        n += 1
    return n


def _check(sd: float, n_tasks: int, level: float, power: float) -> None:
    check_level(level)
    if not (sd >= 0 and np.isfinite(sd)) or n_tasks < 1 or not 0.5 <= power < 1:
        raise BadInput(
            "expected a finite sd >= 0, at least one task and a power in [0.5, 1), "
            f"found sd={sd}, n_tasks={n_tasks}, power={power}."
        )
