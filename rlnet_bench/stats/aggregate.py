"""Aggregates of one method's runs over a suite: frozen objects that are called on scores.

``iqm(runs)`` gives the point estimate; ``estimate(runs, iqm, rng)`` adds the interval. Tasks always count
equally: a run of task m weighs 1/(M n_m). Every aggregate is a function of (values, weights), so the same
code serves the data (one row of weights) and all bootstrap resamples (B rows).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks


@dataclass(frozen=True)
class Aggregate:
    """Base of all aggregates: subclasses give ``draws`` and, where needed, ``flags``."""

    kind: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name used as a key: the kind, with its parameter where that is not the default."""
        odd = [getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{self.kind}({', '.join(f'{x:g}' for x in odd)})" if odd else self.kind

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """Return the aggregate [B] of weighted runs.

        ``values`` is [N], shared by all rows, or [B, N]; each row of ``weights_BN`` sums to 1 and each of
        the M tasks, which begin at columns ``starts_M``, has total weight 1/M.
        """
        raise NotImplementedError

    def flags(self, pooled: Pooled) -> tuple[str, ...]:
        """Return remarks about this aggregate on these data."""
        return ()

    def of(self, pooled: Pooled) -> float:
        """Return the point estimate of pooled runs."""
        return float(self.draws(pooled.values_N, pooled.weights_N[None], pooled.starts_M)[0])

    def __call__(self, runs: RunScores, tasks: Tasks = "all") -> float:
        """Return the point estimate; raises :class:`BadInput` when a task has no run."""
        return self.of(runs.pooled(select_tasks([runs], tasks)[0]))


@dataclass(frozen=True)
class Mean(Aggregate):
    """Mean over tasks of each task's mean: ``1/M sum_m mean_m``.

    >>> mean(RunScores.from_arrays("a", {"x": [0.0, 1.0], "y": [1.0, 1.0]}))
    0.75
    """

    kind: ClassVar[str] = "mean"

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        return _weighted_sum(values, weights_BN)


@dataclass(frozen=True)
class Median(Aggregate):
    """Median over tasks of each task's mean (Agarwal et al. 2021)."""

    kind: ClassVar[str] = "median"

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        n_tasks = len(starts_M)
        means_BM = np.add.reduceat(weights_BN * values, starts_M, axis=1)
        means_BM.sort(axis=1)
        # np.median handles NaN at a cost that dominates here; scores are finite by construction.
        middle = n_tasks // 2
        low = middle if n_tasks % 2 else middle - 1
        return n_tasks * 0.5 * (means_BM[:, low] + means_BM[:, middle])

    def flags(self, pooled: Pooled) -> tuple[str, ...]:
        """Warn when the median is the score of one or two tasks."""
        few = len(pooled.tasks) < 5
        return (f"median over {len(pooled.tasks)} task(s) is one or two tasks' score",) if few else ()


@dataclass(frozen=True)
class Iqm(Aggregate):
    """Interquartile mean with fractional weights: the mean of the middle half of the weighted runs.

    ``2 sum_k x_(k) |[C_(k-1), C_k] & [1/4, 3/4]|`` with C the cumulative weight of the sorted runs, so the
    quantity does not change with the number of seeds (``scipy.stats.trim_mean`` rounds the cut down).
    On bimodal tasks it can hide failures: print :class:`LowerTailMean` next to it.

    >>> iqm(RunScores.from_arrays("a", {"x": [0.0, 1.0, 2.0]}))
    1.0
    """

    kind: ClassVar[str] = "iqm"

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        return _mean_between(values, weights_BN, 0.25, 0.75)

    def flags(self, pooled: Pooled) -> tuple[str, ...]:
        """Warn when there are too few runs to leave any out."""
        few = pooled.values_N.size < 4
        return (f"IQM of {pooled.values_N.size} run(s) is only a weighted mean",) if few else ()


@dataclass(frozen=True)
class OptimalityGap(Aggregate):
    """How far runs fall short of ``gamma`` on average: ``gamma - mean(min(x, gamma))``; lower is better."""

    gamma: float = 1.0
    kind: ClassVar[str] = "optimality_gap"
    higher_is_better: ClassVar[bool] = False

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        # Averaging shortfalls (not scores) keeps a solved suite at exactly 0.
        return _weighted_sum(self.gamma - np.minimum(values, self.gamma), weights_BN)


@dataclass(frozen=True)
class LowerTailMean(Aggregate):
    """Mean of the worst share ``q`` of the weighted runs (conditional value at risk)."""

    q: float = 0.25
    kind: ClassVar[str] = "lower_tail_mean"

    def __post_init__(self) -> None:
        if not 0 < self.q <= 1:
            raise BadInput(f"the tail share q must lie in (0, 1], found {self.q}.")

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        return _mean_between(values, weights_BN, 0.0, self.q)

    def flags(self, pooled: Pooled) -> tuple[str, ...]:
        """Warn when the tail holds less than one run."""
        few = self.q * pooled.values_N.size < 1
        return (f"the worst {self.q:g} of {pooled.values_N.size} run(s) is the worst run alone",) if few else ()


@dataclass(frozen=True)
class SolveRate(Aggregate):
    """Share of runs with score ``>= threshold`` (at the threshold counts as solved)."""

    threshold: float = 1.0
    kind: ClassVar[str] = "solve_rate"

    def draws(self, values: Array, weights_BN: Array, starts_M: np.ndarray) -> Array:
        """See :meth:`Aggregate.draws`."""
        return _weighted_sum((values >= self.threshold).astype(np.float64), weights_BN)


mean = Mean()
median = Median()
iqm = Iqm()
optimality_gap = OptimalityGap()
lower_tail_mean = LowerTailMean()


def solve_rate(threshold: float) -> SolveRate:
    """Return the aggregate "share of runs at or above ``threshold``"."""
    return SolveRate(threshold)


def _weighted_sum(values: Array, weights_BN: Array) -> Array:
    # einsum, not BLAS: a matrix product may round a row differently when the number of rows changes, and
    # results must not depend on the chunk size, to the bit.
    return np.einsum("bn,n->b" if values.ndim == 1 else "bn,bn->b", weights_BN, values)


def _mean_between(values: Array, weights_BN: Array, low: float, high: float) -> Array:
    """Mean of the weighted values whose cumulative weight lies in [low, high], edges taken fractionally."""
    order = np.argsort(values, axis=-1, kind="stable")
    if values.ndim == 1:
        sorted_values, cumulative_BN = values[order], np.take(weights_BN, order, axis=1)
    else:
        sorted_values = np.take_along_axis(values, order, axis=1)
        cumulative_BN = np.take_along_axis(weights_BN, order, axis=1)
    np.cumsum(cumulative_BN, axis=1, out=cumulative_BN)
    np.clip(cumulative_BN, low, high, out=cumulative_BN)
    # Summation by parts: sum_k x_k (C_k - C_(k-1)) = x_last (high - low) - sum_k (x_(k+1) - x_k) (C_k - low).
    # It needs no array of differences of C and is exact for constant values.
    steps = np.diff(sorted_values, axis=-1)
    below = cumulative_BN[:, :-1] - low
    return sorted_values[..., -1] - _weighted_sum(steps, below) / (high - low)
