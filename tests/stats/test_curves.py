import numpy as np
import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    Bounds,
    RunCurve,
    RunCurves,
    RunScores,
    align_to_grid,
    area_under_curve,
    band,
    curve_aggregate,
    estimate,
    iqm,
    mean,
    steps_to_threshold,
)
from rlnet_bench.stats.intervals import SmallSample, small_sample


def walks(n=8, points=30, tasks=2, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    frames = np.arange(points) * 10.0
    return RunCurves.from_runs(
        "a",
        {
            f"t{m}": [RunCurve(s, frames, np.cumsum(rng.normal(0.1, noise, points))) for s in range(n)]
            for m in range(tasks)
        },
    )


def flat(n=10, points=20, tasks=4, seed=0):
    rng = np.random.default_rng(seed)
    frames = np.arange(points) * 1.0
    return RunCurves.from_runs(
        "a",
        {f"t{m}": [RunCurve(s, frames, np.full(points, rng.normal())) for s in range(n)] for m in range(tasks)},
    )


def test_different_lengths_are_cut_not_extrapolated():
    aligned = align_to_grid([RunCurve(0, [0, 5, 10, 15], [0, 1, 2, 3]), RunCurve(1, [2, 4, 9], [7, 8, 9])])
    assert aligned.frames_T.tolist() == [2, 4, 5, 9]
    assert aligned.values_nT.tolist() == [[0, 0, 1, 1], [7, 8, 8, 9]]


def test_a_diverged_run_stays_at_the_floor_to_the_end():
    runs = [RunCurve(0, [0, 10, 20], [0, 1, 2]), RunCurve(1, [0, 10], [0, 1], "diverged")]
    aligned = align_to_grid(runs, floor=-5.0)
    assert aligned.values_nT.tolist() == [[0, 1, 2], [0, 1, -5]] and aligned.statuses == ("ok", "diverged")
    with pytest.raises(BadInput, match="needs the task's floor"):
        align_to_grid(runs)


def test_only_diverged_runs_reach_a_given_budget():
    runs = [RunCurve(0, [0, 10], [1, 1], "diverged"), RunCurve(1, [0, 20], [1, 1], "diverged")]
    aligned = align_to_grid(runs, floor=0.0, budget=50)
    assert aligned.frames_T.tolist() == [0, 10, 20, 50] and aligned.values_nT[:, -1].tolist() == [0, 0]


def test_a_budget_cuts():
    assert align_to_grid([RunCurve(0, [0, 10, 20], [0, 1, 2])], budget=15).frames_T.tolist() == [0, 10]


@pytest.mark.parametrize(
    "curve, words",
    [
        (RunCurve(3, [0, 1], [0]), "seed 3 needs as many values as frames"),
        (RunCurve(3, [], []), "at least one"),
        (RunCurve(3, [0, 0], [1, 1]), "seed 3 do not increase"),
        (RunCurve(3, [0, 1], [1, np.nan]), "seed 3 has values or frames that are not finite"),
    ],
)
def test_broken_curves_name_the_seed(curve, words):
    with pytest.raises(BadInput, match=words):
        align_to_grid([curve])


def test_no_runs_and_no_overlap_are_explained():
    with pytest.raises(BadInput, match="at least one run"):
        align_to_grid([])
    with pytest.raises(BadInput, match="no frames in common"):
        align_to_grid([RunCurve(0, [0, 1], [0, 0]), RunCurve(1, [5, 6], [0, 0])])


def test_area_is_per_run_and_in_units_of_the_score():
    curves = RunCurves.from_runs("a", {"t": [RunCurve(4, [0, 10, 20], [0.0, 1.0, 1.0])]})
    runs = area_under_curve(curves)
    assert runs.runs["t"].scores.tolist() == [0.75] and runs.runs["t"].seeds == (4,)
    point = RunCurves.from_runs("a", {"t": [RunCurve(0, [5], [0.3])]})
    assert area_under_curve(point).runs["t"].scores.tolist() == [0.3]


def test_whole_runs_are_resampled():
    """For flat curves the band is equally wide everywhere, and so is the interval of the area."""
    curves = flat()
    result = curve_aggregate(curves, iqm, np.random.default_rng(0))
    assert np.ptp(result.low_T) == 0 and np.ptp(result.high_T) == 0
    area = estimate(area_under_curve(curves), iqm, np.random.default_rng(0))
    np.testing.assert_allclose([area.low, area.high], [result.low_T[0], result.high_T[0]], atol=1e-9)


def test_each_point_is_the_estimate_of_that_point():
    curves = walks()
    result = curve_aggregate(curves, mean, np.random.default_rng(0))
    point = estimate(curves.at(12), mean, np.random.default_rng(0))
    assert result.value_T[12] == pytest.approx(point.value)
    assert result.low_T[12] == pytest.approx(point.low, abs=0.15)
    assert result.n_per_task == {"t0": 8, "t1": 8}


def test_simultaneous_bands_are_wider():
    pointwise = curve_aggregate(walks(), mean, np.random.default_rng(0))
    whole = curve_aggregate(walks(), mean, np.random.default_rng(0), simultaneous=True)
    assert np.all(whole.high_T - whole.low_T >= 0.9 * (pointwise.high_T - pointwise.low_T))
    assert np.mean(whole.high_T - whole.low_T) > 1.1 * np.mean(pointwise.high_T - pointwise.low_T)


def test_points_without_spread_have_no_width_and_do_not_disturb():
    rng = np.random.default_rng(0)
    draws = np.concatenate([np.full((4000, 1), 0.5), rng.normal(size=(4000, 1))], axis=1)
    low, high, _ = band(np.array([0.5, 0.0]), draws, SmallSample(1e9, 1.0), simultaneous=True)
    assert low[0] == high[0] == 0.5 and high[1] == pytest.approx(1.96, abs=0.1)
    low, high, _ = band(np.array([0.5]), draws[:, :1], SmallSample(1e9, 1.0), simultaneous=True)
    assert low[0] == high[0] == 0.5


def test_sup_t_of_independent_points_is_the_sidak_value():
    draws = np.random.default_rng(0).normal(size=(50_000, 10))
    low, high, _ = band(np.zeros(10), draws, SmallSample(1e9, 1.0), simultaneous=True)
    np.testing.assert_allclose(high, 2.80, atol=0.04)  # two-sided quantile at 0.95 ** (1 / 10)
    assert band(np.zeros(10), draws[:100], small_sample([1.0], [3]))[2] == "pointwise student t"


def test_tasks_with_different_grids_meet_on_the_common_one():
    a = [RunCurve(s, [0, 10, 20], [0.0, s, s]) for s in range(6)]
    b = [RunCurve(s, [0, 5, 10], [0.0, 1.0, 1.0]) for s in range(6)]
    result = curve_aggregate(RunCurves.from_runs("a", {"x": a, "y": b}), mean, np.random.default_rng(0))
    assert result.x_T.tolist() == [0, 5, 10] and any("shortest common budget, 10" in f for f in result.flags)
    far = [RunCurve(s, [50, 60], [0.0, 1.0]) for s in range(6)]
    with pytest.raises(BadInput, match="no frames in common"):
        curve_aggregate(RunCurves.from_runs("a", {"x": a, "y": far}), mean, np.random.default_rng(0))


def test_few_runs_give_points_and_a_reason():
    result = curve_aggregate(walks(n=3, tasks=1), mean, np.random.default_rng(0))
    assert not result.has_interval and "3 runs on task" in result.reason and result.value_T.size == 30


def test_reference_points_widen_the_band():
    bounds = Bounds(0, 10, low_se=0.0, high_se=1.0)
    curves = walks(noise=0.05)
    plain = curve_aggregate(
        curves.normalised(dict.fromkeys(curves.tasks, Bounds(0, 10))), mean, np.random.default_rng(0)
    )
    wide = curve_aggregate(curves.normalised(dict.fromkeys(curves.tasks, bounds)), mean, np.random.default_rng(0))
    assert wide.high_T[-1] - wide.low_T[-1] > 1.5 * (plain.high_T[-1] - plain.low_T[-1])
    with pytest.raises(BadInput, match="no reference points for"):
        curves.normalised({})


def ramp(slopes):
    frames = np.arange(0, 101, 10)
    return RunCurves.from_runs("a", {"t": [RunCurve(s, frames, k * frames / 100) for s, k in enumerate(slopes)]})


def test_steps_to_threshold_count_failures_at_the_budget():
    curves = ramp([1.0, 1.0, 2.0, 2.0, 0.1, 0.1])
    result = steps_to_threshold(curves, 0.5, np.random.default_rng(0))
    # The mean of three points reaches 0.5 one evaluation after the curve does.
    assert result.steps["t"].tolist() == [60, 60, 40, 40, np.inf, np.inf]
    assert result.share.value == pytest.approx(4 / 6) and result.share.method == "Wilson"
    assert result.restricted_mean.value == pytest.approx((60 * 2 + 40 * 2 + 100 * 2) / 6)
    assert result.budgets == {"t": 100.0}


def test_threshold_is_reached_at_equality_and_smoothed():
    curves = RunCurves.from_runs("a", {"t": [RunCurve(s, [0, 1, 2, 3], [0, 9, 0, 0]) for s in range(5)]})
    assert steps_to_threshold(curves, 3.0, np.random.default_rng(0)).steps["t"].tolist() == [2.0] * 5
    assert np.all(np.isinf(steps_to_threshold(curves, 3.1, np.random.default_rng(0)).steps["t"]))
    assert steps_to_threshold(curves, 9.0, np.random.default_rng(0), window=1).steps["t"].tolist() == [1.0] * 5
    with pytest.raises(BadInput, match="has 4 evaluations"):
        steps_to_threshold(curves, 3.0, np.random.default_rng(0), window=5)


def test_curve_scores_are_run_scores():
    assert isinstance(walks().at(-1), RunScores) and walks().at(0).n_per_task == {"t0": 8, "t1": 8}
