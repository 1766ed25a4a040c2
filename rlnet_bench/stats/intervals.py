"""Interval formulae, and the rules that say when there is none.

The default is the *expanded percentile* interval: percentiles of the bootstrap distribution, taken further
out to make up for the narrowness of resampling few runs (Hesterberg 2015, arXiv:1411.5279, section 4.3.3,
carried over to strata). The "basic" (reflected) interval is not offered: it covers 50-70 % on the bimodal
scores that are common in multi-agent RL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array

IntervalKind = Literal["expanded", "percentile", "bca", "student_t"]
INTERVAL_KINDS = ("expanded", "percentile", "bca", "student_t")

MIN_RUNS_ONE_TASK = 5
MIN_SUITE_FREEDOM = 8
# An extreme quantile is trusted when at least this many resamples lie beyond it.
MIN_TAIL_RESAMPLES = 5
MAX_RESAMPLES = 50_000


def check_level(level: float) -> None:
    """Raise :class:`BadInput` unless ``level`` is a usable coverage such as 0.95."""
    if not 0.5 <= level < 1:
        raise BadInput(f"the level of an interval must lie in [0.5, 1), e.g. 0.95, found {level}.")


def no_interval_reason(n_per_task: Mapping[str, int]) -> str | None:
    """Say why runs per task are too few for a resampled interval, or return None when they suffice.

    One task needs at least 5 runs; several need two runs each and ``sum (n_m - 1) >= 8``.

    >>> no_interval_reason({"spread": 3})
    "3 runs on task 'spread': an interval needs at least 5"
    """
    single = [t for t, n in n_per_task.items() if n < 2]
    if single:
        return f"fewer than 2 runs on task(s) {', '.join(map(repr, single))}: spread unknown"
    if len(n_per_task) == 1:
        ((task, n),) = n_per_task.items()
        if n < MIN_RUNS_ONE_TASK:
            return f"{n} runs on task {task!r}: an interval needs at least {MIN_RUNS_ONE_TASK}"
        return None
    freedom = sum(n - 1 for n in n_per_task.values())
    if freedom < MIN_SUITE_FREEDOM:
        return (
            f"{sum(n_per_task.values())} runs on {len(n_per_task)} tasks: an interval needs at least "
            f"{MIN_SUITE_FREEDOM} runs beyond the first of each task, here {freedom}"
        )
    return None


@dataclass(frozen=True)
class SmallSample:
    """How much a bootstrap interval must be widened: ``nu`` degrees of freedom and a variance ratio."""

    nu: float
    inflation: float

    def alpha(self, level: float) -> float:
        """Tail probability to use in place of ``(1 - level) / 2``."""
        quantile = special.stdtrit(self.nu, 0.5 + level / 2)
        return float(special.ndtr(-np.sqrt(self.inflation) * quantile))

    def factor(self, level: float) -> float:
        """Ratio of the corrected to the plain normal half-width, for bands."""
        return float(
            np.sqrt(self.inflation) * special.stdtrit(self.nu, 0.5 + level / 2) / special.ndtri(0.5 + level / 2)
        )


def small_sample(variances: npt.ArrayLike, counts: npt.ArrayLike) -> SmallSample:
    """Return the small-sample correction of strata with unbiased ``variances`` and ``counts`` runs each.

    With ``v_m = s_m^2 / n_m``: Satterthwaite's ``nu = (sum v_m)^2 / sum v_m^2 / (n_m - 1)``, and the
    ratio of the unbiased variance to that of the bootstrap, ``sum v_m / sum v_m (n_m - 1) / n_m``, which is
    n / (n - 1) when all counts agree. Constant data fall back to ``sum (n_m - 1)``.
    """
    v = np.asarray(variances, dtype=np.float64) / np.asarray(counts)
    freedom = np.asarray(counts, dtype=np.float64) - 1
    top = v.max(initial=0.0)
    if top <= 0:
        return SmallSample(float(freedom.sum()), 1.0)
    v = v / top
    some = v > 0
    nu = float(v.sum() ** 2 / np.sum(v[some] ** 2 / freedom[some]))
    return SmallSample(nu, float(v.sum() / np.sum(v * freedom / (freedom + 1))))


def resamples_needed(alpha: float) -> int:
    """Return how many resamples put :data:`MIN_TAIL_RESAMPLES` of them beyond the ``alpha`` quantile."""
    return int(np.ceil(MIN_TAIL_RESAMPLES / alpha)) if alpha > 0 else MAX_RESAMPLES + 1


def percentile(draws_B: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the plain percentile interval of bootstrap draws [B] (too narrow below about 10 runs)."""
    return _quantiles(draws_B, (1 - level) / 2, (1 + level) / 2)


def expanded_percentile(draws_B: Array, correction: SmallSample, level: float = 0.95) -> tuple[float, float] | None:
    """Return the expanded percentile interval, or None when too few draws lie beyond its quantiles.

    Takes the ``alpha'`` and ``1 - alpha'`` quantiles, ``alpha' = Phi(-sqrt(inflation) t_(1-alpha/2, nu))``.
    """
    alpha = correction.alpha(level)
    if alpha * draws_B.size < MIN_TAIL_RESAMPLES:
        return None
    return _quantiles(draws_B, alpha, 1 - alpha)


def bca(draws_B: Array, value: float, jackknife: Sequence[Array], level: float = 0.95) -> tuple[float, float] | None:
    """Return the bias-corrected accelerated interval (Efron 1987), or None when the jackknife is constant.

    ``jackknife`` holds, per stratum, the estimates with one run of that stratum left out; the acceleration
    is the several-sample one (Davison & Hinkley 1997, equation 5.24): deleting whole rows or sharing one
    centre over strata would be wrong here. The share of draws below ``value`` is clamped to
    [1/(B+1), B/(B+1)].
    """
    n_draws = draws_B.size
    cube = square = 0.0
    for left_out in jackknife:
        n = left_out.size
        influence = (n - 1) * (left_out.mean() - left_out)
        cube += float(np.sum(influence**3)) / n**3
        square += float(np.sum(influence**2)) / n**2
    if square <= 0:
        return None
    acceleration = cube / (6 * square**1.5)
    below = (np.sum(draws_B < value) + 0.5 * np.sum(draws_B == value)) / n_draws
    z0 = special.ndtri(np.clip(below, 1 / (n_draws + 1), n_draws / (n_draws + 1)))
    z = z0 + special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shares = special.ndtr(z0 + z / np.maximum(1 - acceleration * z, 1e-6))
    return _quantiles(draws_B, float(shares[0]), float(shares[1]))


def student_t(value: float, bootstrap_se: float, correction: SmallSample, level: float = 0.95) -> tuple[float, float]:
    """Return ``value +- t_nu se sqrt(inflation)`` with the bootstrap's standard error.

    For the mean of one task this is the textbook t interval, up to resampling noise.
    """
    half = special.stdtrit(correction.nu, 0.5 + level / 2) * bootstrap_se * np.sqrt(correction.inflation)
    return float(value - half), float(value + half)


def welch(a: Array, b: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of ``mean(b) - mean(a)`` for samples [n], [m] of unequal variance (Welch 1947).

    Satterthwaite's degrees of freedom; both samples need two values at least. Constant samples give their difference.
    """
    variances = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    difference, total = float(b.mean() - a.mean()), float(sum(variances))
    if total == 0.0:
        return difference, difference
    freedom = total**2 / (variances[0] ** 2 / (a.size - 1) + variances[1] ** 2 / (b.size - 1))
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * total**0.5
    return difference - half, difference + half


def sidak(level: float, count: int) -> float:
    """Return the level of each of ``count`` independent intervals that all hold together with ``level`` (1967).

    >>> round(sidak(0.95, 3), 4)
    0.983
    """
    check_level(level)
    return float(level ** (1 / max(count, 1)))


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Return Wilson's score interval of a proportion, elementwise (Wilson 1927).

    >>> [round(float(x), 3) for x in wilson(5, 5)]
    [0.566, 1.0]
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    z2 = float(special.ndtri(0.5 + level / 2)) ** 2
    p = k / n
    centre = (k + z2 / 2) / (n + z2)
    half = np.sqrt(z2) / (n + z2) * np.sqrt(n * p * (1 - p) + z2 / 4)
    # At 0 and n the limit is exact; rounding must not say otherwise.
    return np.where(k == 0, 0.0, centre - half), np.where(k == n, 1.0, centre + half)


def newcombe_variance(theta: Array, n1: np.ndarray, n2: np.ndarray) -> Array:
    """Return Newcombe's variance of U/(n1 n2) when the true probability is ``theta`` (elementwise)."""
    mean_n = (n1 + n2) / 2
    spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
    return theta * (1 - theta) / (n1 * n2) * (1 + (mean_n - 1) * spread)


def newcombe(value: Array, n1: np.ndarray, n2: np.ndarray, level: float = 0.95) -> tuple[Array, Array]:
    """Return Newcombe's score interval of P(X > Y), elementwise (Statistics in Medicine 25, 2006, method 5).

    Solves ``|value - theta| = z sqrt(V(theta))`` by bisection on either side of ``value``.
    """
    value = np.asarray(value, dtype=np.float64)
    z = special.ndtri(0.5 + level / 2)
    limits = []
    for edge in (0.0, 1.0):
        outside, inside = np.full_like(value, edge), value.copy()
        for _ in range(60):
            middle = (outside + inside) / 2
            is_inside = np.abs(value - middle) <= z * np.sqrt(newcombe_variance(middle, n1, n2))
            inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
        limits.append(np.where(value == edge, edge, inside))
    return limits[0], limits[1]


def combine_independent(values_M: Array, lows_M: Array, highs_M: Array) -> tuple[float, float]:
    """Return the interval of the mean of independent estimates from their own intervals.

    Squares and adds the distances to the limits (MOVER, Zou & Donner 2008), so asymmetric limits such as
    Wilson's stay asymmetric and a rate of 1 on every task still has a lower limit below 1.
    """
    value, n_tasks = float(np.mean(values_M)), len(values_M)
    down = float(np.sqrt(np.sum((values_M - lows_M) ** 2))) / n_tasks
    up = float(np.sqrt(np.sum((highs_M - values_M) ** 2))) / n_tasks
    return value - down, value + up


def prediction_interval(scores: npt.ArrayLike, future: int = 1, level: float = 0.95) -> tuple[float, float]:
    """Return where the mean of ``future`` further runs of one task will lie, if they are like these.

    ``mean +- t_(n-1) s sqrt(1/n + 1/future)``: the spread of the new runs on top of the uncertainty of the mean.
    With ``future = n`` it is the interval of a replication. Exact for normally distributed runs. Raises
    :class:`BadInput` for fewer than 3 runs.

    >>> [round(x, 2) for x in prediction_interval([0.4, 0.5, 0.6])]
    [0.0, 1.0]
    """
    check_level(level)
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or x.size < 3 or future < 1 or not np.all(np.isfinite(x)):
        raise BadInput(f"a prediction needs at least 3 finite scores of one task, found {x.tolist()}.")
    half = special.stdtrit(x.size - 1, 0.5 + level / 2) * x.std(ddof=1) * np.sqrt(1 / x.size + 1 / future)
    return float(x.mean() - half), float(x.mean() + half)


@dataclass(frozen=True)
class ToleranceInterval:
    """A range expected to hold the share ``content`` of *future runs*, with confidence ``confidence``."""

    low: float
    high: float
    content: float
    confidence: float
    method: str
    n: int
    flags: tuple[str, ...] = ()


def tolerance_interval(scores: npt.ArrayLike, content: float = 0.9, confidence: float = 0.95) -> ToleranceInterval:
    """Return a two-sided tolerance interval of one task's runs: where will the next runs land?

    Order statistics (Wilks 1941) from 20 runs on, when they reach the confidence; otherwise normal theory
    with Howe's factor (1969), flagged. Not a confidence interval of the mean: never draw it like one.
    Raises :class:`BadInput` for fewer than 3 runs.
    """
    x = np.sort(np.asarray(scores, dtype=np.float64))
    if x.ndim != 1 or x.size < 3 or not np.all(np.isfinite(x)):
        raise BadInput(f"a tolerance interval needs at least 3 finite scores of one task, found {x.tolist()}.")
    if not (0 < content < 1 and 0 < confidence < 1):
        raise BadInput(f"content and confidence must lie in (0, 1), found {content} and {confidence}.")
    n = x.size
    if n >= 20:
        # Between the r-th smallest and r-th largest lies a Beta(n - 2r + 1, 2r) share of the population.
        for r in range(n // 2, 0, -1):
            if special.betaincc(n - 2 * r + 1, 2 * r, content) >= confidence:
                return ToleranceInterval(float(x[r - 1]), float(x[-r]), content, confidence, "order statistics", n)
    chi2 = special.chdtri(n - 1, confidence)
    factor = special.ndtri((1 + content) / 2) * np.sqrt((n - 1) * (1 + 1 / n) / chi2)
    flags = ("assumes normally distributed runs",)
    half = factor * x.std(ddof=1)
    return ToleranceInterval(
        float(x.mean() - half), float(x.mean() + half), content, confidence, "normal theory", n, flags
    )


def _quantiles(draws_B: Array, low: float, high: float) -> tuple[float, float]:
    pair = np.quantile(draws_B, [low, high])
    return float(pair[0]), float(pair[1])
