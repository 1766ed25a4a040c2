import itertools

import numpy as np
import pytest
from scipy import stats

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    Bounds,
    RunScores,
    bca,
    estimate,
    iqm,
    mean,
    no_interval_reason,
    normalise,
    prediction_interval,
    tolerance_interval,
    welch,
    wilson,
)
from rlnet_bench.stats import intervals as module
from rlnet_bench.stats.resample import resample


def one_task(x):
    return RunScores.from_arrays("a", {"t": x})


def bootstrap_draws(x, statistic, n=100_000):
    group = one_task(x).pooled()
    chunks = resample([group], np.random.default_rng(0), n)
    return np.concatenate([statistic.draws(v, w, group.starts_M) for _, [(v, w)] in chunks])


@pytest.mark.parametrize("statistic", [mean, iqm])
@pytest.mark.parametrize("x", [[0.1, 0.4], [0.3, 0.9, 1.7], [0.0, 0.2, 0.7, 3.0]])
def test_draws_follow_the_exact_bootstrap_distribution(x, statistic):
    """All n^n resamples of one task, against 100 000 drawn ones."""
    exact = np.array([statistic(one_task(list(r))) for r in itertools.product(x, repeat=len(x))])
    drawn = bootstrap_draws(x, statistic)
    points = np.unique(np.round(exact, 9)) + 1e-7
    expected = np.mean(exact[:, None] <= points, axis=0)
    found = np.mean(drawn[:, None] <= points, axis=0)
    assert np.max(np.abs(expected - found)) < 4 * 0.5 / np.sqrt(drawn.size) + 1e-12


@pytest.mark.parametrize("kind, scipy_kind", [("percentile", "percentile"), ("bca", "BCa")])
def test_one_task_mean_agrees_with_scipy(kind, scipy_kind):
    x = np.random.default_rng(3).gamma(2.0, 1.0, 15)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=100_000, method=scipy_kind, rng=1).confidence_interval
    ours = estimate(one_task(x), mean, np.random.default_rng(0), interval=kind, n_resamples=100_000)
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], atol=0.02)


def test_student_t_of_one_task_is_the_textbook_interval():
    x = np.random.default_rng(0).normal(size=9)
    ours = estimate(one_task(x), mean, np.random.default_rng(0), interval="student_t", n_resamples=200_000)
    theirs = stats.ttest_1samp(x, 0).confidence_interval()
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], atol=0.01)


def test_correction_reduces_to_the_known_cases():
    c = module.small_sample([2.0], [5])
    assert (c.nu, c.inflation) == (pytest.approx(4), pytest.approx(5 / 4))
    c = module.small_sample([1.0, 1.0, 1.0], [4, 4, 4])
    assert (c.nu, c.inflation) == (pytest.approx(9), pytest.approx(4 / 3))
    c = module.small_sample([1.0, 0.0], [4, 4])
    assert c.nu == pytest.approx(3)
    assert module.small_sample([0.0, 0.0], [4, 3]).nu == 5
    # Hesterberg's table: 95 %, n = 5 takes the 0.1 % quantile.
    assert module.small_sample([1.0], [5]).alpha(0.95) == pytest.approx(0.00096, abs=2e-5)


def test_expanded_interval_is_wider_than_percentile():
    x = np.random.default_rng(0).normal(size=6)
    wide = estimate(one_task(x), mean, np.random.default_rng(0))
    plain = estimate(one_task(x), mean, np.random.default_rng(0), interval="percentile")
    assert wide.low < plain.low < plain.high < wide.high
    assert wide.method == "expanded percentile" and wide.n_resamples >= 5000


def test_resamples_are_raised_for_far_quantiles():
    x = np.random.default_rng(0).normal(size=5)
    assert estimate(one_task(x), mean, np.random.default_rng(0), n_resamples=2000).n_resamples > 5000


def test_t_takes_over_when_quantiles_are_out_of_reach():
    runs = RunScores.from_arrays("a", {"x": [0.0, 1.0], "y": np.full(9, 0.5) + np.arange(9) * 1e-9})
    result = estimate(runs, mean, np.random.default_rng(0))
    assert result.method == "student t" and any("too few degrees" in f for f in result.flags)
    assert module.expanded_percentile(np.zeros(100), module.SmallSample(2.0, 1.5)) is None


@pytest.mark.parametrize(
    "counts, words",
    [
        ({"t": 1}, "fewer than 2 runs on task"),
        ({"t": 4}, "4 runs on task 't': an interval needs at least 5"),
        ({"t": 5}, None),
        ({"t": 10, "u": 1}, "'u': spread unknown"),
        ({"t": 3, "u": 3}, "at least 8 runs beyond the first"),
        ({"t": 3, "u": 3, "v": 3, "w": 3}, None),
    ],
)
def test_few_seeds_rules(counts, words):
    reason = no_interval_reason(counts)
    assert reason is None if words is None else words in reason
    runs = RunScores.from_arrays("a", {t: np.arange(n) * 1.0 for t, n in counts.items()})
    result = estimate(runs, mean, np.random.default_rng(0))
    assert result.has_interval == (words is None) and result.reason == reason
    if words is not None:
        assert "no interval" in str(result) and result.half_width is None and not result.excludes(99)


@pytest.mark.parametrize("interval", ["expanded", "percentile", "bca", "student_t"])
def test_constant_data_have_zero_width_and_a_flag(interval):
    runs = RunScores.from_arrays("a", {"t": [0.1] * 7, "u": [0.7] * 9})
    for statistic in (mean, iqm):
        result = estimate(runs, statistic, np.random.default_rng(0), interval=interval)
        assert result.low == result.high == result.value
        assert any("degenerate" in f for f in result.flags)


def test_bca_without_jackknife_variance_says_so():
    # The IQM of 1 zero and 9 ones does not move when a run is left out, but some resamples differ.
    result = estimate(one_task([0.0] + [1.0] * 9), iqm, np.random.default_rng(0), interval="bca")
    assert result.method == "expanded percentile" and any("no jackknife variance" in f for f in result.flags)


def test_bca_clamps_the_share_below():
    draws = np.linspace(1, 2, 1000)
    jackknife = [np.array([0.9, 1.0, 1.1])]
    for value in (0.0, 3.0):
        assert np.all(np.isfinite(bca(draws, value, jackknife)))
    assert bca(draws, 1.5, [np.ones(4)]) is None


def test_wilson_agrees_with_scipy_and_is_exact_at_the_ends():
    for k, n in [(0, 5), (3, 7), (10, 10), (1, 40)]:
        theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
        np.testing.assert_allclose([float(x) for x in wilson(k, n)], [theirs.low, theirs.high], atol=1e-12)
    assert float(wilson(5, 5)[1]) == 1.0 and float(wilson(0, 5)[0]) == 0.0


def test_tolerance_interval_by_order_statistics_covers_future_runs():
    rng = np.random.default_rng(0)
    holds = 0
    for _ in range(400):
        t = tolerance_interval(rng.exponential(size=60), content=0.8, confidence=0.9)
        assert t.method == "order statistics"
        holds += np.exp(-t.low) - np.exp(-t.high) >= 0.8
    assert holds / 400 > 0.9 - 3 * np.sqrt(0.09 / 400)


def test_tolerance_interval_falls_back_to_normal_theory():
    x = np.random.default_rng(0).normal(size=10)
    t = tolerance_interval(x)
    assert t.method == "normal theory" and t.flags
    # Howe's factor for n = 10, 90 % content, 95 % confidence is tabulated as about 2.84.
    assert (t.high - t.low) / 2 / x.std(ddof=1) == pytest.approx(2.84, abs=0.02)
    assert tolerance_interval(np.random.default_rng(0).normal(size=20), 0.99).method == "normal theory"
    with pytest.raises(BadInput, match="at least 3 finite scores"):
        tolerance_interval([1.0, 2.0])
    with pytest.raises(BadInput, match="content and confidence"):
        tolerance_interval(x, content=1.0)


def test_reference_points_widen_the_interval_and_can_forbid_it():
    rng = np.random.default_rng(0)
    raw = RunScores.from_arrays("a", {f"t{m}": rng.normal(50, 5, 10) for m in range(4)})
    results = []
    for se in (0.0, 4.0, 15.0):
        bounds = dict.fromkeys(raw.tasks, Bounds(0, 100, 32, se, 32, se))
        results.append(estimate(normalise(raw, bounds), mean, np.random.default_rng(1)))
    exact, uncertain, useless = results
    assert exact.value == uncertain.value == useless.value
    assert uncertain.half_width > 1.2 * exact.half_width
    assert "includes the reference points' standard errors" in uncertain.flags
    assert not useless.has_interval and "reference points of task 't0'" in useless.reason


def test_prediction_intervals_cover_new_runs_and_new_means() -> None:
    rng = np.random.default_rng(3)
    one = many = 0
    for _ in range(1000):
        x = rng.normal(2.0, 0.5, 5)
        low, high = prediction_interval(x)
        one += low <= rng.normal(2.0, 0.5) <= high
        low, high = prediction_interval(x, 5)
        many += low <= rng.normal(2.0, 0.5, 5).mean() <= high
    assert 0.93 < one / 1000 < 0.97 and 0.93 < many / 1000 < 0.97


def test_prediction_intervals_by_hand() -> None:
    # t_(0.975, 2) = 4.302653, s = 1, n = 3: 4.302653 sqrt(1/3 + 1/3)
    low, high = prediction_interval([1.0, 2.0, 3.0], 3)
    assert (low, high) == pytest.approx((2 - 3.513101, 2 + 3.513101), abs=1e-5)
    with pytest.raises(BadInput, match="at least 3"):
        prediction_interval([1.0, 2.0])


def test_the_interval_is_welchs() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.normal(0, 1, 7), draw.normal(1, 3, 12)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.9)
    assert welch(a, b, 0.9) == pytest.approx((expected.low, expected.high))
