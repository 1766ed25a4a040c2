import sys

import numpy as np
import pytest

from rlnet_bench.errors import BadInput, MissingExtra
from rlnet_bench.stats import RunScores, iqm, mean, median, optimality_gap, rliable_table


def suite(n=8, tasks=5):
    rng = np.random.default_rng(0)
    x = {m: rng.normal(0.5, 0.2, (n, tasks)) for m in ("a", "b")}
    return x, list(RunScores.from_rliable(x).values())


def test_point_estimates_and_percentile_intervals_agree():
    pytest.importorskip("rliable")
    _, methods = suite()
    check = rliable_table(methods, np.random.default_rng(0), interval="percentile", n_resamples=2000)
    assert check.largest_value_difference < 1e-12
    for row in check.difference.values():
        assert set(row) == {"iqm", "mean", "median", "optimality_gap"}
        assert max(abs(limit) for cell in row.values() for limit in cell[1:]) < 0.02


def test_metrics_of_rliable_are_an_oracle():
    metrics = pytest.importorskip("rliable.metrics")
    x, (a, _) = suite(n=4)
    assert iqm(a) == pytest.approx(metrics.aggregate_iqm(x["a"]))
    assert mean(a) == pytest.approx(metrics.aggregate_mean(x["a"]))
    assert median(a) == pytest.approx(metrics.aggregate_median(x["a"]))
    assert optimality_gap(a) == pytest.approx(metrics.aggregate_optimality_gap(x["a"]))


def test_probability_of_improvement_agrees_with_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    from rlnet_bench.stats import probability_of_improvement

    x, (a, b) = suite()
    ours = probability_of_improvement(a, b, np.random.default_rng(0)).value
    assert ours == pytest.approx(metrics.probability_of_improvement(x["a"], x["b"]))


def test_the_global_random_state_is_put_back_and_the_seed_counts():
    pytest.importorskip("rliable")
    _, methods = suite(n=5, tasks=2)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (rliable_table(methods, np.random.default_rng(3), n_resamples=2000) for _ in range(2))
    assert first.rliable == second.rliable
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_ragged_runs_and_absent_package_are_explained(monkeypatch):
    pytest.importorskip("rliable")
    ragged = RunScores.from_arrays("a", {"x": [1.0, 2.0], "y": [1.0]})
    with pytest.raises(BadInput, match="same number of runs on every task"):
        rliable_table([ragged], np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "rliable", None)
    with pytest.raises(MissingExtra, match=r"rlnet-bench\[rliable\]"):
        rliable_table(suite()[1], np.random.default_rng(0))
