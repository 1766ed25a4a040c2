import subprocess
import sys

import numpy as np
import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import Bounds, RunScores, TaskRuns, denormalise, mean, normalise, select_tasks


def test_import_needs_neither_torch_nor_pandas_nor_rliable():
    code = "import sys, rlnet_bench.stats; print(sorted({'torch', 'pandas', 'rliable'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_scores_are_immutable_copies():
    x = np.array([1.0, 2.0])
    runs = RunScores.from_arrays("a", {"t": x})
    x[0] = 9.0
    assert runs.runs["t"].scores.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError):
        runs.runs["t"].scores[0] = 3.0
    with pytest.raises(TypeError):
        runs.runs["u"] = runs.runs["t"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_method_task_and_seed(bad):
    with pytest.raises(BadInput, match=r"'qmix' on task 'tag', seed 41"):
        RunScores("qmix", {"tag": TaskRuns(np.array([0.1, bad]), (40, 41), ("ok", "ok"))})


def test_duplicate_seeds_are_refused():
    with pytest.raises(BadInput, match=r"more than one score for seed\(s\) \[3\]"):
        RunScores("a", {"t": TaskRuns(np.zeros(3), (3, 3, 4), ("ok",) * 3)})


def test_lengths_must_agree():
    with pytest.raises(BadInput, match="one score, seed and status per run"):
        TaskRuns(np.zeros(3), (1, 2), ("ok", "ok"))
    with pytest.raises(BadInput, match="one score, seed and status per run"):
        RunScores.from_arrays("a", {"t": np.zeros((2, 2))})


def test_no_tasks_is_refused():
    with pytest.raises(BadInput, match="has no tasks"):
        RunScores("a", {})


def test_from_rliable_reads_runs_by_tasks():
    runs = RunScores.from_rliable({"a": np.arange(6.0).reshape(3, 2)}, ["x", "y"])["a"]
    assert runs.runs["y"].scores.tolist() == [1.0, 3.0, 5.0]
    with pytest.raises(BadInput, match="2 task columns, but 1 task names"):
        RunScores.from_rliable({"a": np.zeros((3, 2))}, ["x"])
    with pytest.raises(BadInput, match=r"found shape \(3,\)"):
        RunScores.from_rliable({"a": np.zeros(3)})


def test_a_missing_task_is_an_error_unless_common_is_asked_for():
    a = RunScores.from_arrays("a", {"x": [1.0, 2.0], "y": [3.0, 4.0]})
    b = RunScores.from_arrays("b", {"x": [1.0, 2.0], "y": []})
    with pytest.raises(BadInput, match="'b' lacks 'y'"):
        select_tasks([a, b])
    with pytest.raises(BadInput, match="'b' lacks 'y'"):
        mean(b)
    assert select_tasks([a, b], "common") == (("x",), ("tasks in common only: 1 of 2, without y",))
    assert mean(b, "common") == 1.5
    assert select_tasks([a], ["y"]) == (("y",), ())
    with pytest.raises(BadInput, match="'a' lacks 'z'"):
        select_tasks([a], ["x", "z"])
    with pytest.raises(BadInput, match="found 'some'"):
        select_tasks([a], "some")
    with pytest.raises(BadInput, match="no task in common"):
        select_tasks([RunScores.from_arrays("c", {"z": [1.0]}), a], "common")


def test_normalise_round_trip_without_clipping():
    runs = RunScores.from_arrays("a", {"t": [-200.0, -20.0, 10.0]})
    bounds = {"t": Bounds(-120.0, -20.0, version="3")}
    scaled = normalise(runs, bounds)
    assert scaled.runs["t"].scores.tolist() == [-0.8, 1.0, 1.3]
    assert scaled.bounds["t"].version == "3"
    np.testing.assert_allclose(denormalise(scaled).runs["t"].scores, runs.runs["t"].scores)
    with pytest.raises(BadInput, match="normalised already"):
        normalise(scaled, bounds)
    with pytest.raises(BadInput, match="no reference points"):
        normalise(runs, {})
    with pytest.raises(BadInput, match="carry no reference points"):
        denormalise(runs)


@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_bounds_that_cannot_be_divided_by(low, high):
    with pytest.raises(BadInput, match="reference points"):
        Bounds(low, high)


def test_bounds_refuse_negative_standard_errors():
    with pytest.raises(BadInput, match="cannot be negative"):
        Bounds(0.0, 1.0, low_se=-0.1)


def test_mixed_versions_of_reference_points_are_refused():
    raw = RunScores.from_arrays("a", {"t": [1.0, 2.0]})
    other = RunScores.from_arrays("b", {"t": [1.0, 2.0]})
    with pytest.raises(BadInput, match="different reference points"):
        select_tasks([normalise(raw, {"t": Bounds(0, 1)}), normalise(other, {"t": Bounds(0, 2)})])
