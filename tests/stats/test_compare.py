import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    Bounds,
    RunScores,
    difference,
    estimate,
    improvement_matrix,
    iqm,
    mean,
    newcombe,
    normalise,
    optimality_gap,
    probability_of_improvement,
)
from rlnet_bench.stats.intervals import newcombe_variance

lists = st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=7)


def runs(method, **tasks):
    return RunScores.from_arrays(method, tasks)


def suite(method, shift=0.0, tasks=4, n=6, seed=0):
    rng = np.random.default_rng(seed)
    return RunScores.from_arrays(method, {f"t{m}": rng.normal(shift, 1, n) for m in range(tasks)})


def test_one_task_point_estimate_is_mann_whitney():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 9) * 1.0, rng.integers(1, 7, 7) * 1.0
    u = stats.mannwhitneyu(x, y).statistic
    ours = probability_of_improvement(runs("a", t=x), runs("b", t=y), rng)
    assert ours.value == pytest.approx(u / 63)
    assert ours.n_per_task == {"t": 9} and ours.n_per_task_b == {"t": 7}


@given(lists, lists, lists, lists)
@settings(max_examples=20, deadline=None)
def test_antisymmetry_includes_the_limits(x, y, v, w):
    a, b = runs("a", t=x, u=v), runs("b", t=y, u=w)
    matrix = improvement_matrix([a, b], np.random.default_rng(0), n_resamples=2000)
    forward, back = matrix["a", "b"], matrix["b", "a"]
    assert forward.value + back.value == pytest.approx(1)
    if forward.has_interval:
        assert forward.low + back.high == pytest.approx(1) and forward.high + back.low == pytest.approx(1)
        assert 0 <= forward.low <= forward.value <= forward.high <= 1


@given(lists, lists)
@settings(max_examples=30, deadline=None)
def test_monotone_transforms_change_nothing(x, y):
    def cube(values):
        return [v**3 + 5 * v - 1 for v in values]

    plain = probability_of_improvement(runs("a", t=x), runs("b", t=y), np.random.default_rng(0))
    moved = probability_of_improvement(runs("a", t=cube(x)), runs("b", t=cube(y)), np.random.default_rng(0))
    assert plain == moved


def test_newcombe_limits_solve_their_equation():
    theta, n1, n2 = np.array([0.1, 0.5, 0.93]), np.array([5, 3, 10]), np.array([5, 8, 10])
    for limit in newcombe(theta, n1, n2):
        z = np.abs(theta - limit) / np.sqrt(newcombe_variance(limit, n1, n2))
        np.testing.assert_allclose(z, 1.959964, rtol=1e-4)
    low, high = newcombe(np.array([1.0, 0.0]), np.array([5, 5]), np.array([5, 5]))
    assert high[0] == 1.0 and low[1] == 0.0
    assert low[0] == pytest.approx(1 - high[1]) and 0.5 < low[0] < 0.8


def test_separation_never_gives_width_zero():
    a, b = suite("a", shift=50.0), suite("b")
    result = probability_of_improvement(a, b, np.random.default_rng(0))
    assert result.value == 1.0 and result.high == 1.0 and 0.5 < result.low < 1.0
    assert "widened" in result.method
    one = probability_of_improvement(a.select(["t0"]), b.select(["t0"]), np.random.default_rng(0))
    assert one.method == "Newcombe" and one.low < result.low


def test_equal_data_give_one_half():
    x = [1.0, 1.0, 2.0, 3.0, 3.0]
    assert probability_of_improvement(runs("a", t=x), runs("b", t=x), np.random.default_rng(0)).value == 0.5


def test_too_few_runs_give_a_reason():
    few = probability_of_improvement(runs("a", t=[1.0, 2.0]), runs("b", t=[0.0, 3.0]), np.random.default_rng(0))
    assert few.value == 0.5 and not few.has_interval and "fewer than 3 runs" in few.reason
    two = suite("a", tasks=2, n=3), suite("b", tasks=2, n=3)
    assert not probability_of_improvement(*two, np.random.default_rng(0)).has_interval


def test_adding_a_method_moves_no_other_pair():
    a, b, c = suite("a"), suite("b", seed=1), suite("c", seed=2)
    two = improvement_matrix([a, b], np.random.default_rng(0))
    three = improvement_matrix([c, a, b], np.random.default_rng(0))
    assert two["a", "b"] == three["a", "b"] and len(three) == 6


def test_draws_agree_with_a_plain_bootstrap():
    a, b = suite("a", shift=0.5), suite("b", seed=1)
    ours = probability_of_improvement(a, b, np.random.default_rng(0), n_resamples=20_000)
    rng, draws = np.random.default_rng(5), []
    for _ in range(4000):
        shares = []
        for t in a.tasks:
            x, y = rng.choice(a.runs[t].scores, 6), rng.choice(b.runs[t].scores, 6)
            shares.append(np.mean(x[:, None] > y) + 0.5 * np.mean(x[:, None] == y))
        draws.append(np.mean(shares))
    from rlnet_bench.stats.compare import _Pair

    alpha = _Pair.of(a.pooled(), b.pooled()).correction.alpha(0.95)
    low, high = np.quantile(draws, [alpha, 1 - alpha])
    np.testing.assert_allclose([ours.low, ours.high], [low, high], atol=0.02)


def test_difference_resamples_both_independently():
    a, b = suite("a", shift=1.0, n=10), suite("b", n=10, seed=1)
    result = difference(a, b, mean, np.random.default_rng(0))
    assert result.value == pytest.approx(mean(a) - mean(b))
    widths = [estimate(x, mean, np.random.default_rng(0)).half_width for x in (a, b)]
    assert result.half_width == pytest.approx(np.hypot(*widths), rel=0.1)
    assert result.excludes(0.0) and result.statistic == "mean(a) - mean(b)"
    swapped = difference(b, a, mean, np.random.default_rng(0))
    assert swapped.value == -result.value and swapped.low == pytest.approx(-result.high, abs=0.05)


def test_difference_by_bca_agrees_with_percentile_for_symmetric_scores():
    a, b = suite("a", n=40), suite("b", n=40, seed=1)
    bca = difference(a, b, mean, np.random.default_rng(0), interval="bca")
    plain = difference(a, b, mean, np.random.default_rng(0), interval="percentile")
    assert bca.method == "BCa"
    np.testing.assert_allclose([bca.low, bca.high], [plain.low, plain.high], atol=0.02)


def test_shared_reference_points_cancel_in_a_difference():
    bounds = {f"t{m}": Bounds(-5, 5, low_se=0.9, high_se=0.0) for m in range(4)}
    a, b = suite("a", n=10), suite("b", n=10, seed=1)
    na, nb = normalise(a, bounds), normalise(b, bounds)
    exact = difference(a, b, mean, np.random.default_rng(0)).half_width / 10
    shared = difference(na, nb, mean, np.random.default_rng(0)).half_width
    alone = np.hypot(*(estimate(x, mean, np.random.default_rng(0)).half_width for x in (na, nb)))
    assert shared < 1.15 * exact and alone > 1.3 * shared


def test_few_seeds_in_either_method_give_a_reason():
    result = difference(suite("a", tasks=1), suite("b", tasks=1, n=3), iqm, np.random.default_rng(0))
    assert not result.has_interval and "3 runs on task" in result.reason


def test_constant_methods_are_degenerate():
    result = difference(runs("a", t=[0.3] * 6), runs("b", t=[0.1] * 6), mean, np.random.default_rng(0))
    assert result.low == result.high == result.value and any("degenerate" in f for f in result.flags)


def test_pairing_needs_equal_seeds_and_prints_the_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    a, b = runs("a", t=x + 0.1), runs("b", t=x + 0.05 * rng.normal(size=12))
    paired = difference(a, b, mean, np.random.default_rng(0), paired=True)
    assert paired.half_width < 0.2 * difference(a, b, mean, np.random.default_rng(0)).half_width
    assert any("within-task correlation 1.00" in f for f in paired.flags)
    with pytest.raises(BadInput, match="needs the same seeds"):
        difference(a, runs("b", t=x[:7]), mean, np.random.default_rng(0), paired=True)


def test_comparisons_need_different_names():
    with pytest.raises(BadInput, match="different names"):
        improvement_matrix([suite("a"), suite("a")], np.random.default_rng(0))


def test_lower_is_better_aggregates_keep_their_sign():
    a, b = suite("a", shift=-1.0), suite("b")
    assert difference(a, b, optimality_gap, np.random.default_rng(0)).value > 0
