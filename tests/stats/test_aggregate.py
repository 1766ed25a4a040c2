import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    LowerTailMean,
    OptimalityGap,
    RunScores,
    SolveRate,
    iqm,
    lower_tail_mean,
    mean,
    median,
    optimality_gap,
    solve_rate,
)

ALL = [mean, median, iqm, optimality_gap, lower_tail_mean, SolveRate(0.5)]
finite = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 6))
suites = st.dictionaries(st.sampled_from("uvwxyz"), st.lists(finite, min_size=1, max_size=6), min_size=1, max_size=5)


def runs(tasks):
    return RunScores.from_arrays("a", tasks)


@pytest.mark.parametrize("n, m", [(4, 1), (8, 1), (2, 6), (10, 2), (5, 4)])
def test_iqm_equals_trim_mean_when_nothing_is_cut_in_part(n, m):
    x = np.random.default_rng(n).normal(size=(n, m))
    ours = iqm(RunScores.from_rliable({"a": x})["a"])
    np.testing.assert_allclose(ours, stats.trim_mean(x, 0.25, axis=None), rtol=1e-12)


def test_iqm_takes_fractions_of_runs():
    assert iqm(runs({"t": [0.0, 1.0, 5.0]})) == pytest.approx((0.25 * 0 + 1 * 1 + 0.25 * 5) / 1.5)
    assert iqm(runs({"t": [0.0, 1.0, 2.0, 3.0, 10.0]})) == pytest.approx((0.75 * 1 + 2 + 0.75 * 3) / 2.5)


def test_unequal_seeds_do_not_shift_the_weights_of_tasks():
    few, many = runs({"x": [0.0, 1.0], "y": [5.0, 7.0]}), runs({"x": [0.0, 1.0] * 5, "y": [5.0, 7.0]})
    for statistic in ALL:
        assert statistic(few) == pytest.approx(statistic(many))


def test_median_is_over_task_means():
    assert median(runs({"x": [0.0, 2.0], "y": [5.0], "z": [100.0]})) == pytest.approx(5.0)
    assert median(runs({"x": [0.0, 2.0], "y": [5.0]})) == pytest.approx(3.0)


def test_optimality_gap_clips_only_above_gamma():
    assert optimality_gap(runs({"t": [-1.0, 0.5, 2.0]})) == pytest.approx((2 + 0.5 + 0) / 3)
    assert OptimalityGap(0.5)(runs({"t": [0.5, 2.0]})) == 0.0
    assert not optimality_gap.higher_is_better


def test_lower_tail_is_the_mean_of_the_worst_share():
    x = np.arange(8.0)
    assert lower_tail_mean(runs({"t": x})) == pytest.approx(0.5)
    assert LowerTailMean(0.5)(runs({"t": x})) == pytest.approx(1.5)
    assert LowerTailMean(1.0)(runs({"t": x})) == pytest.approx(3.5)
    assert lower_tail_mean(runs({"t": [3.0, 1.0]})) == pytest.approx(1.0)
    with pytest.raises(BadInput, match=r"\(0, 1\]"):
        LowerTailMean(0.0)


def test_solve_rate_counts_the_threshold_itself():
    assert solve_rate(0.5)(runs({"t": [0.4, 0.5, 0.6, 0.2]})) == 0.5


def test_parameters_show_in_the_name():
    assert [s.name for s in (iqm, LowerTailMean(), LowerTailMean(0.1))] == [
        "iqm",
        "lower_tail_mean",
        "lower_tail_mean(0.1)",
    ]
    assert [s.name for s in (SolveRate(0.9), OptimalityGap(2.0))] == ["solve_rate(0.9)", "optimality_gap(2)"]


def test_small_data_raise_flags():
    tiny = runs({"t": [1.0, 2.0, 3.0]}).pooled()
    assert "only a weighted mean" in iqm.flags(tiny)[0]
    assert "worst run alone" in lower_tail_mean.flags(tiny)[0]
    assert "one or two tasks" in median.flags(tiny)[0]
    large = runs({str(t): np.arange(5.0) for t in range(5)}).pooled()
    assert all(s.flags(large) == () for s in ALL)


@given(suites, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_runs_and_tasks_does_not_matter(tasks, random):
    names = list(tasks)
    random.shuffle(names)
    shuffled = {t: random.sample(tasks[t], len(tasks[t])) for t in names}
    for statistic in ALL:
        assert statistic(runs(tasks)) == pytest.approx(statistic(runs(shuffled)), abs=1e-8)


@given(suites, st.floats(0.01, 50), st.floats(-50, 50))
@settings(max_examples=60, deadline=None)
def test_location_and_scale(tasks, c, d):
    moved = {t: c * np.array(x) + d for t, x in tasks.items()}
    for statistic in (mean, median, iqm, lower_tail_mean):
        assert statistic(runs(moved)) == pytest.approx(c * statistic(runs(tasks)) + d, abs=1e-6)


@given(suites)
@settings(max_examples=60, deadline=None)
def test_duplicating_every_run_leaves_estimates_alone(tasks):
    for statistic in ALL:
        twice = {t: list(x) * 2 for t, x in tasks.items()}
        assert statistic(runs(twice)) == pytest.approx(statistic(runs(tasks)), abs=1e-8)


@given(suites)
@settings(max_examples=60, deadline=None)
def test_estimates_stay_within_the_data(tasks):
    x = np.concatenate([np.array(v) for v in tasks.values()])
    for statistic in (mean, median, iqm, lower_tail_mean):
        assert x.min() - 1e-9 <= statistic(runs(tasks)) <= x.max() + 1e-9


@given(hnp.arrays(float, (3, 7), elements=finite), hnp.arrays(float, (3, 7), elements=st.floats(0.01, 1)))
@settings(max_examples=40, deadline=None)
def test_shared_and_separate_values_agree(values, weights):
    weights /= weights.sum(axis=1, keepdims=True)
    starts = np.array([0, 3])
    for statistic in ALL:
        separate = statistic.draws(np.repeat(values[:1], 3, axis=0), weights, starts)
        np.testing.assert_allclose(statistic.draws(values[0], weights, starts), separate, atol=1e-8)


@pytest.mark.parametrize("x", [[0.3] * 7, [1e12, 1.0, -1e12], [0.0, 1.0] * 5, [2.5]])
def test_nasty_values(x):
    for statistic in ALL:
        assert np.isfinite(statistic(runs({"t": x})))
    if len(set(x)) == 1:
        assert iqm(runs({"t": x})) == x[0]
