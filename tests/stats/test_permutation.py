import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    RunScores,
    adjust_pvalues,
    pairwise_tests,
    permutation_test,
    rank_intervals,
    smallest_attainable_p,
    tied_with_best,
)
from rlnet_bench.stats.permutation import max_t_pvalues


def runs(method, **tasks):
    return RunScores.from_arrays(method, tasks)


def world(means, n=8, tasks=2, seed=0):
    rng = np.random.default_rng(seed)
    return [
        RunScores.from_arrays(m, {f"t{k}": rng.normal(x, 1, n) for k in range(tasks)})
        for m, x in zip("abcdefgh", means)
    ]


def welch(x, y, axis=-1):
    n, m = x.shape[axis], y.shape[axis]
    se = np.sqrt(x.var(axis=axis, ddof=1) / n + y.var(axis=axis, ddof=1) / m)
    return np.abs(x.mean(axis=axis) - y.mean(axis=axis)) / se


@pytest.mark.parametrize("n, m", [(3, 3), (4, 5), (6, 6), (7, 3)])
def test_exact_p_values_agree_with_scipy(n, m):
    rng = np.random.default_rng(n * m)
    x, y = rng.normal(0.8, 1, n), rng.normal(0, 1.5, m)
    theirs = stats.permutation_test((x, y), welch, vectorized=True, n_resamples=np.inf, alternative="greater")
    ours = permutation_test(runs("a", t=x), runs("b", t=y), np.random.default_rng(0))
    assert ours.is_exact and ours.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    assert abs(ours.statistic) == pytest.approx(theirs.statistic, rel=1e-6)


def test_drawn_and_exact_p_values_agree():
    a, b = runs("a", t=[1.0, 2.0, 3.0, 3.5, 5.0]), runs("b", t=[0.0, 0.5, 1.5, 2.5, 4.0])
    exact = permutation_test(a, b, np.random.default_rng(0)).p_value
    # A second shape in the family forces drawn labellings.
    c = runs("c", t=[0.0, 1.0, 2.0, 3.0])
    drawn = pairwise_tests([a, b, c], np.random.default_rng(0), adjust="none", n_labellings=50_000)[0]
    assert not drawn.is_exact and drawn.p_value == pytest.approx(exact, abs=0.01)


def test_two_tasks_are_enumerated_as_a_product():
    a, b = runs("a", t=[1.0, 2.0, 3.0], u=[4.0, 5.0, 6.0]), runs("b", t=[0.1, 0.2, 0.3], u=[0.1, 0.2, 0.3])
    test = permutation_test(a, b, np.random.default_rng(0))
    assert test.is_exact and test.n_labellings == 400 and test.p_value == pytest.approx(2 / 400)
    assert test.smallest_p == pytest.approx(2 / 400)


@pytest.mark.parametrize("n, p", [(3, 0.1), (4, 2 / 70), (5, 2 / 252), (8, 2 / 12870)])
def test_smallest_attainable_p(n, p):
    assert smallest_attainable_p([n], [n]) == pytest.approx(p)
    separated = permutation_test(
        runs("a", t=np.arange(n) + 100.0), runs("b", t=np.arange(n) * 1.0), np.random.default_rng(0)
    )
    assert separated.p_value == separated.smallest_p == pytest.approx(p)


def test_unbalanced_counts_do_not_share_the_extreme():
    assert smallest_attainable_p([3], [4]) == pytest.approx(1 / 35)
    assert smallest_attainable_p([1], [1]) == 1.0


def test_identical_data_have_p_one():
    x = [0.1, 0.7, 0.7, 0.2]
    test = permutation_test(runs("a", t=x), runs("b", t=x), np.random.default_rng(0))
    assert test.p_value == 1.0 and test.difference == 0.0 and test.verdict() == "not distinguishable"
    same = permutation_test(runs("a", t=[0.1] * 5), runs("b", t=[0.1] * 5), np.random.default_rng(0))
    assert same.p_value == 1.0 and same.smallest_p == 1.0


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e12])
def test_constant_but_different_methods_are_separated(scale):
    a, b = runs("a", t=np.full(5, 0.3) * scale), runs("b", t=np.full(5, 0.1) * scale)
    test = permutation_test(a, b, np.random.default_rng(0))
    assert np.isfinite(test.statistic) and test.p_value == pytest.approx(2 / 252)
    assert test.verdict() == "better"


def test_single_runs_fall_back_to_the_plain_difference():
    test = permutation_test(runs("a", t=[5.0]), runs("b", t=[1.0, 2.0, 3.0, 2.5]), np.random.default_rng(0))
    assert test.p_value == pytest.approx(0.2) and np.isfinite(test.statistic)


@given(st.permutations(range(6)), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_order_of_runs_and_affine_scale_do_not_matter(order, c, d):
    x, y = np.array([0.1, 0.4, 0.35, 0.8, 0.9, 0.2]), np.array([0.0, 0.3, 0.25, 0.5, 0.6, 0.1])
    plain = permutation_test(runs("a", t=x), runs("b", t=y), np.random.default_rng(0))
    moved = permutation_test(runs("a", t=c * x[order] + d), runs("b", t=c * y + d), np.random.default_rng(0))
    assert moved.p_value == pytest.approx(plain.p_value)


def test_adjustments_by_hand():
    np.testing.assert_allclose(adjust_pvalues([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    p = np.array([0.01, 0.04, 0.03, 0.5])
    np.testing.assert_allclose(adjust_pvalues(p, "bh"), stats.false_discovery_control(p))
    np.testing.assert_allclose(adjust_pvalues(p, "none"), p)
    with pytest.raises(BadInput, match="p-values in"):
        adjust_pvalues([0.2, 1.2])
    with pytest.raises(BadInput, match="unknown adjustment 'sidak'"):
        adjust_pvalues(p, "sidak")


def test_max_t_by_hand():
    relabelled = np.array([[1.0, 2.0], [3.0, 0.5], [0.1, 0.1]])
    # Largest first: max per row is 2, 3, 0.1; then the other column by itself, never below its predecessor.
    np.testing.assert_allclose(max_t_pvalues(np.array([0.9, 2.5]), relabelled, 1), [3 / 4, 2 / 4])
    np.testing.assert_allclose(max_t_pvalues(np.array([5.0, 0.3]), relabelled, 0), [0.0, 2 / 3])


def test_max_t_is_at_most_holm_and_at_least_the_single_p():
    tests = {adj: pairwise_tests(world([0, 0.7, 1.4, 2.0]), np.random.default_rng(0), adjust=adj) for adj in
             ("max-t", "holm", "none")}  # fmt: skip
    for m, h, s in zip(tests["max-t"], tests["holm"], tests["none"]):
        assert s.p_value <= m.adjusted_p <= h.adjusted_p + 0.01
    assert {t.family for t in tests["holm"]} == {"all 6 pairs of 4 methods"}
    assert tests["holm"][0].smallest_adjusted_p == pytest.approx(6 * tests["holm"][0].smallest_p)


def test_declared_pairs_are_the_family():
    tests = pairwise_tests(world([0, 1, 2]), np.random.default_rng(0), pairs=[("c", "a")])
    assert len(tests) == 1 and tests[0].family == "1 pair, declared" and tests[0].verdict() == "better"
    for pairs in ([("a", "z")], [("a", "a")], []):
        with pytest.raises(BadInput, match="pairs of two different methods"):
            pairwise_tests(world([0, 1]), np.random.default_rng(0), pairs=pairs)
    with pytest.raises(BadInput, match="at least 999"):
        pairwise_tests(world([0, 1]), np.random.default_rng(0), n_labellings=10)
    with pytest.raises(BadInput, match="unknown adjustment"):
        pairwise_tests(world([0, 1]), np.random.default_rng(0), adjust="tukey")


def test_power_rises_with_seeds():
    found = [
        sum(
            permutation_test(*world([0, 0.8], n=n, seed=s), np.random.default_rng(s), n_labellings=999).p_value < 0.05
            for s in range(60)
        )
        for n in (3, 6, 12)
    ]
    assert found[0] < found[1] < found[2]


def test_rank_intervals_are_counts_of_significant_pairs():
    ranking = rank_intervals(world([0, 0.1, 5, 10]), np.random.default_rng(0))
    assert [(r.method, str(r)) for r in ranking.ranks[:2]] == [("d", "1"), ("c", "2")]
    assert str(ranking["a"]) == str(ranking["b"]) == "3-4"
    assert ranking.reason is None and len(ranking.tests) == 6
    for r in ranking.ranks:
        assert r.low <= r.rank <= r.high


def test_equal_values_share_a_rank():
    x = [0.1, 0.5, 0.9, 0.4, 0.6]
    ranking = rank_intervals([runs("a", t=x), runs("b", t=x)], np.random.default_rng(0))
    assert [r.rank for r in ranking.ranks] == [1, 1]


def test_tied_with_best_and_bold():
    methods = world([0, 5, 5.1], seed=3)
    ranking = rank_intervals(methods, np.random.default_rng(0))
    tied = tied_with_best(methods, np.random.default_rng(0), ranking=ranking)
    assert {tied.best, *tied.tied} == {"b", "c"} and tied.worse == ("a",) and tied.bold == tied.best
    assert tied == tied_with_best(methods, np.random.default_rng(0))
    everything = tied_with_best(world([0, 0, 0], seed=3), np.random.default_rng(0))
    assert everything.is_everything_tied and everything.bold is None and len(everything.tied) == 2


def test_few_seeds_on_one_task_claim_nothing():
    a, b = runs("a", t=[10.0, 11.0, 12.0, 13.0]), runs("b", t=[1.0, 2.0, 3.0, 4.0])
    assert permutation_test(a, b, np.random.default_rng(0)).p_value < 0.05
    ranking = rank_intervals([a, b], np.random.default_rng(0))
    assert "4 runs on task 't'" in ranking.reason and str(ranking["a"]) == "1-2"
    assert tied_with_best([a, b], np.random.default_rng(0)).bold is None


def test_one_method_is_ranked_alone():
    ranking = rank_intervals(world([0]), np.random.default_rng(0))
    assert str(ranking["a"]) == "1" and ranking.tests == ()
    assert tied_with_best(world([0]), np.random.default_rng(0)).bold is None
