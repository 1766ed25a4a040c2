"""Statistics against rliable, both timed in one run: the ratios are printed, seconds are never asserted."""

import time

import numpy as np
import pytest

from rlnet_bench.stats import RunScores, aggregate_table, improvement_matrix

library = pytest.importorskip("rliable.library")
metrics = pytest.importorskip("rliable.metrics")


def matrices(n_methods, n_runs=10, n_tasks=5):
    rng = np.random.default_rng(0)
    return {f"m{k}": rng.normal(0.5 + 0.03 * k, 0.15, (n_runs, n_tasks)) for k in range(n_methods)}


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def report(benchmark, title, theirs, note=""):
    # The median is steadier than the mean on a shared machine.
    ours = benchmark.stats.stats.median
    benchmark.extra_info.update(rliable_s=theirs, ratio=theirs / ours)
    print(f"\n{title}: ours {ours * 1e3:.1f} ms, rliable {theirs:.2f} s{note}, {theirs / ours:.0f} times faster")


def test_aggregate_table(benchmark, capsys):
    """4 aggregates x 6 methods x 5 000 resamples, 10 runs on 5 tasks."""
    scores = matrices(6)
    methods = list(RunScores.from_rliable(scores).values())
    benchmark.pedantic(
        lambda: aggregate_table(methods, np.random.default_rng(0), n_resamples=5000), rounds=7, warmup_rounds=1
    )
    functions = (
        metrics.aggregate_iqm,
        metrics.aggregate_mean,
        metrics.aggregate_median,
        metrics.aggregate_optimality_gap,
    )
    theirs = seconds(
        lambda: library.get_interval_estimates(scores, lambda x: np.array([f(x) for f in functions]), reps=5000)
    )
    with capsys.disabled():
        report(benchmark, "4 aggregates x 6 methods x 5000 resamples", theirs)


def test_probability_of_improvement(benchmark, capsys):
    """All 36 pairs of 9 methods, 2 000 resamples, 10 runs on 5 tasks; rliable on 1 pair with 200, scaled up."""
    scores = matrices(9)
    methods = list(RunScores.from_rliable(scores).values())
    benchmark.pedantic(
        lambda: improvement_matrix(methods, np.random.default_rng(0), n_resamples=2000), rounds=7, warmup_rounds=1
    )
    pair = {"m0,m1": (scores["m0"], scores["m1"])}
    sample = seconds(lambda: library.get_interval_estimates(pair, metrics.probability_of_improvement, reps=200))
    theirs = sample * 36 * 2000 / 200
    with capsys.disabled():
        report(benchmark, "P(improvement), 36 pairs x 2000 resamples", theirs, " (from 1 pair x 200)")
