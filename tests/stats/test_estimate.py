import json

import numpy as np
import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    Bounds,
    LowerTailMean,
    RunScores,
    SolveRate,
    TaskRuns,
    aggregate_table,
    estimate,
    estimate_many,
    estimate_tasks,
    iqm,
    mean,
    median,
    normalise,
    sensitivity,
    wilson,
)


def suite(method="a", tasks=4, n=6, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return RunScores.from_arrays(method, {f"t{m}": rng.normal(0.5 + shift, 0.1, n) for m in range(tasks)})


def test_same_seed_same_bytes():
    first, second = (estimate(suite(), iqm, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != estimate(suite(), iqm, np.random.default_rng(8))


def test_result_says_what_it_is():
    result = estimate(suite(), iqm, np.random.default_rng(0), level=0.9)
    assert (result.statistic, result.level, result.n_per_task["t3"]) == ("iqm", 0.9, 6)
    assert result.low < result.value < result.high and result.reason is None
    assert json.loads(json.dumps(result.as_dict()))["low"] == result.low
    assert "90% interval" in result._repr_html_() and result.excludes(2.0)


def test_html_escapes_names():
    runs = RunScores.from_arrays("a", {"<script>": [0.1, 0.2]})
    assert "<script>" not in estimate(runs, mean, np.random.default_rng(0))._repr_html_()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"level": 95}, "level"),
        ({"interval": "basic"}, "unknown interval 'basic'"),
        ({"n_resamples": 100}, "at least 2000 resamples"),
        ({"other_tasks": True}, "at least 8 of them"),
        ({"tasks": ["nope"]}, "lacks 'nope'"),
    ],
)
def test_bad_options_are_explained(options, words):
    with pytest.raises(BadInput, match=words):
        estimate(suite(), iqm, np.random.default_rng(0), **options)


def test_many_aggregates_share_resamples_and_keep_their_names():
    row = estimate_many(suite(), [mean, LowerTailMean(0.1), SolveRate(0.5)], np.random.default_rng(0))
    assert list(row) == ["mean", "lower_tail_mean(0.1)", "solve_rate(0.5)"]
    assert row["mean"] == estimate(suite(), mean, np.random.default_rng(0))


def test_adding_or_reordering_methods_moves_nobody():
    a, b = suite("a"), suite("b", seed=1)
    alone = aggregate_table([a], np.random.default_rng(0))
    both = aggregate_table([b, a], np.random.default_rng(0))
    assert alone["a"] == both["a"] and set(both["b"]) == {"iqm", "mean", "median", "optimality_gap"}


def test_common_tasks_are_flagged_in_every_cell():
    a = suite("a", tasks=5)
    b = suite("b", tasks=4, seed=1)
    with pytest.raises(BadInput, match="'b' lacks 't4'"):
        aggregate_table([a, b], np.random.default_rng(0))
    table = aggregate_table([a, b], np.random.default_rng(0), tasks="common")
    assert all("without t4" in e.flags[0] for row in table.values() for e in row.values())
    assert "t4" not in table["a"]["iqm"].n_per_task


def test_estimates_per_task():
    runs = RunScores.from_arrays("a", {"x": np.arange(6.0), "y": [1.0, 2.0], "z": []})
    result = estimate_tasks(runs, np.random.default_rng(0))
    assert list(result) == ["x", "y"] and result["x"].has_interval and not result["y"].has_interval


def test_solve_rate_uses_wilson_and_never_has_zero_width():
    one = estimate(RunScores.from_arrays("a", {"t": [1.0] * 6}), SolveRate(0.9), np.random.default_rng(0))
    assert (one.value, one.high) == (1.0, 1.0) and one.low == pytest.approx(float(wilson(6, 6)[0]))
    assert one.method == "Wilson" and one.flags == ()
    four = estimate(
        RunScores.from_arrays("a", {t: [1.0] * 6 for t in "wxyz"}), SolveRate(0.9), np.random.default_rng(0)
    )
    assert one.low < four.low < 1.0
    few = estimate(RunScores.from_arrays("a", {"t": [1.0] * 2}), SolveRate(0.9), np.random.default_rng(0))
    assert not few.has_interval and "fewer than 3 runs" in few.reason


def test_solve_rate_of_normalised_scores_does_not_claim_their_errors():
    runs = normalise(suite(tasks=1), {"t0": Bounds(0, 1, low_se=0.01)})
    assert estimate(runs, SolveRate(0.5), np.random.default_rng(0)).flags == ()


@pytest.mark.parametrize("statistic", [iqm, mean, median])
def test_other_tasks_are_a_wider_question(statistic):
    rng = np.random.default_rng(0)
    runs = RunScores.from_arrays("a", {str(m): rng.normal(rng.normal(), 0.1, 6) for m in range(10)})
    these = estimate(runs, statistic, np.random.default_rng(0))
    others = estimate(runs, statistic, np.random.default_rng(0), other_tasks=True)
    assert others.half_width > 2 * these.half_width
    assert "speaks about other tasks of this kind" in others.flags


def diverging(n_bad):
    statuses = ("ok",) * (10 - n_bad) + ("diverged",) * n_bad
    scores = np.concatenate([np.linspace(0.8, 1.0, 10 - n_bad), np.zeros(n_bad)])
    return RunScores("a", {"t": TaskRuns(scores, tuple(range(10)), statuses)})


def test_sensitivity_compares_floor_with_dropped():
    none = sensitivity(diverging(0), mean, np.random.default_rng(0))
    assert none.at_floor == none.dropped and not none.is_material
    some = sensitivity(diverging(4), mean, np.random.default_rng(0))
    assert some.n_diverged == 4 and some.is_material
    assert some.at_floor.n_per_task == {"t": 10} and some.dropped.n_per_task == {"t": 6}
    assert some.dropped.value > some.at_floor.value
    every = sensitivity(diverging(10), mean, np.random.default_rng(0))
    assert every.dropped is None and every.is_material and "every run diverged on t" in every.reason


@pytest.mark.parametrize(
    "scores",
    [
        {"t": [0.4] * 5},
        {"t": [1.0]},
        {"t": [0.0, 1.0] * 4},
        {"t": [1e12, 1.0, -1e12, 5.0, 2.0]},
        {"t": np.arange(6.0), "u": [3.0]},
        {f"t{m}": np.arange(m + 2.0) for m in range(7)},
    ],
)
@pytest.mark.parametrize("interval", ["expanded", "percentile", "bca", "student_t"])
def test_nasty_inputs_give_an_interval_or_a_reason(scores, interval):
    row = estimate_many(
        RunScores.from_arrays("a", scores),
        [iqm, mean, median, LowerTailMean(), SolveRate(0.5)],
        np.random.default_rng(0),
        interval=interval,
    )
    for result in row.values():
        assert result.has_interval == (result.reason is None)
        if result.has_interval:
            assert np.isfinite([result.low, result.high]).all() and result.low <= result.high
