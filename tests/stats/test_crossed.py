"""Means over pairs of runs, and their intervals by resampling runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlnet_bench.stats.crossed import crossed_mean
from rlnet_bench.stats.intervals import SmallSample

X = np.array([[9.0, 1.0, 2.0], [3.0, 9.0, 4.0], [5.0, 6.0, 9.0]])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_run_is_never_paired_with_itself() -> None:
    assert crossed_mean(X, rng(), names=("a", "a")).value == (1 + 2 + 3 + 4 + 5 + 6) / 6
    assert crossed_mean(X, rng(), names=("a", "b")).value == X.mean()


@pytest.mark.parametrize("same", [True, False])
def test_draws_are_those_of_all_resamples_by_hand(same: bool) -> None:
    """Five runs that differ in the row alone: the distribution of every possible resample is enumerated."""
    n = 5
    values = np.add.outer(np.arange(n, dtype=float) ** 2, np.zeros(n))
    found = crossed_mean(values, rng(), names=("a", "a" if same else "b"), n_resamples=40_000)
    means = []
    for draw in itertools.product(range(n), repeat=n):
        if not same:
            means.append(np.mean([float(i) ** 2 for i in draw]))  # columns do not matter
            continue
        apart = [float(i) ** 2 for i in draw for j in draw if i != j]
        means += [np.mean(apart)] if apart else []
    alpha = SmallSample(n - 1.0, n / (n - 1.0)).alpha(0.95)
    low, high = np.quantile(means, [alpha, 1 - alpha])
    assert found.low == pytest.approx(low, abs=0.4) and found.high == pytest.approx(high, abs=0.4)
    assert found.n_per_task == ({"a": n} if same else {"a": n, "b": n})


def test_dependence_within_rows_widens_the_interval() -> None:
    """Resampling entries as if they were independent would be far too narrow."""
    values = np.repeat(np.arange(6.0)[:, None], 6, axis=1)
    found = crossed_mean(values, rng(), names=("a", "b"))
    assert found.half_width is not None and found.half_width > 1.96 * values.std(ddof=1) / 6


def test_scripts_are_not_resampled() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    alone = crossed_mean(values, rng(), names=("a", "script"), resampled=(True, False))
    assert alone.low is not None and alone.high is not None and alone.low < 3.0 < alone.high
    both = crossed_mean(values[:1], rng(), names=("s", "t"), resampled=(False, False))
    assert both.low is None and both.reason == "no training seeds on either side: nothing to resample"


@pytest.mark.parametrize(("shape", "sentence"), [((1, 6), "1 run of a"), ((6, 4), "4 runs of b")])
def test_few_runs_give_no_interval(shape: tuple[int, int], sentence: str) -> None:
    found = crossed_mean(np.zeros(shape), rng(), names=("a", "b"))
    assert found.low is None and found.reason == f"{sentence}: an interval needs at least 5"
