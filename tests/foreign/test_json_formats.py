"""marl-eval and BenchMARL JSON, and EPyMARL's sacred folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.benchmarl import read_benchmarl
from rlnet_bench.foreign.epymarl import SacredOptions, parse_run, read_epymarl
from rlnet_bench.foreign.marl_eval import JsonOptions, read_marl_eval
from rlnet_bench.foreign.table import ForeignTable
from rlnet_bench.reading.plain import parse_json

RUN = {
    "step_0": {"step_count": 0, "return": [1.0, 3.0]},
    "step_1": {"step_count": 100, "return": [2.0, 6.0], "win_rate": [0.0, 1.0]},
    "absolute_metrics": {"return": [4.0, 5.0, 3.0]},
}


def _data(run: Any) -> Any:
    return {"env": {"task": {"ippo": {"seed_3": run}}}}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that every test writes anew."""
    return tmp_path_factory.mktemp("json") / "f.json"


def read(file: Path, data: Any) -> ForeignTable:
    """The data as a marl-eval file, read."""
    file.write_text(json.dumps(data))
    return read_marl_eval(file)


def test_marl_eval_keeps_episodes_and_seeds(file: Path) -> None:
    table = read(file, _data(RUN))
    assert [e.frames for e in table.evaluations] == [0, 100, 100]
    assert table.evaluations[2].kind == "absolute" and table.evaluations[2].returns.ravel().tolist() == [4.0, 5.0, 3.0]
    assert {e.seed for e in table.evaluations} == {3} and table.tasks == ("env/task",)
    assert table.evaluations[1].success is not None and not table.warnings


def test_means_per_point_are_flagged(file: Path) -> None:
    table = read(file, _data({"step_0": {"step_count": 0, "mean_episode_return": [1.5]}}))
    assert table.evaluations[0].episodes is None and "unknown number of episodes" in table.warnings[0]


def test_an_absolute_that_is_the_best_episode_is_never_absolute(file: Path) -> None:
    run = {**RUN, "absolute_metrics": {"return": [6.0]}}
    table = read(file, _data(run))
    assert [e.kind for e in table.evaluations] == ["curve", "curve", "best-episode"]
    assert "best single episode" in table.warnings[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["f.json", "an object of environments", "[]"]),
        ({"env": 3}, ["f.json: env", "an object of tasks", "3"]),
        (_data({"absolute_metrics": {}}), ["seed_3", "step_k"]),
        (_data({"step_0": {"return": [1]}}), ["env/task/ippo/seed_3/step_0", "step_count"]),
        (_data({"step_0": {"step_count": 1.5, "return": [1]}}), ["step_count", "whole number", "1.5"]),
        (_data({"step_0": {"step_count": 1, "return": [1, "x"]}}), ["step_0/return[1]", "finite number", "'x'"]),
        (_data({"step_0": {"step_count": 1, "reward": [1]}}), ["a return under one of the names", "--metric"]),
        (_data({k: {"step_count": 1, "return": [1]} for k in "ab"}), ["step_count", "once"]),
        ({"e": {"t": {"m": {"run_1": RUN, "seed_1": RUN}}}}, ["e/t/m", "different numbers"]),
    ],
)
def test_a_malformed_object_names_the_key(file: Path, data: Any, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        read(file, data)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_broken_json_names_line_or_key() -> None:
    with pytest.raises(BadInput, match=r"f\.json, line 2"):
        parse_json('{\n"a": }', "f.json")
    with pytest.raises(BadInput, match="'a' once"):
        parse_json('{"a": 1, "a": 2}', "f.json")
    with pytest.raises(BadInput, match="at most 40 levels, found a deeper nesting"):
        parse_json("[" * 100_000, "f.json")


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.sampled_from(["step_0", "step_count", "return", "absolute_metrics", "seed_1", "test_return_mean", "steps", "values", "x"])  # fmt: skip # noqa: E501
trees = st.recursive(leaf, lambda x: st.lists(x, max_size=3) | st.dictionaries(keys, x, max_size=4), max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_any_json_is_read_or_refused_in_a_sentence(file: Path, tree: Any) -> None:
    for data in (tree, _data(tree), _data({"step_0": tree}), _data({"step_0": {"step_count": 0, "return": tree}})):
        try:
            read(file, data)
        except BadInput as error:
            assert "expected" in str(error)
    config = {"name": "qmix", "env": "gymma", "env_args": {"key": "k"}, "seed": 1}
    for pair in (
        (tree, tree),
        (config, tree),
        (config, {"test_return_mean": tree}),
        ({**config, "env_args": tree}, {}),
    ):
        try:
            parse_run(*pair, "run")
        except BadInput as error:
            assert "expected" in str(error)


def test_benchmarl_is_a_mean_and_its_absolute_is_never_used(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = {**RUN, "absolute_metrics": {"return": [6.0]}}
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        (folder / f"run{seed}.json").write_text(json.dumps({"vmas": {"balance": {"mappo": {f"seed_{seed}": run}}}}))
    table = read_benchmarl(tmp_path)
    assert table.facts["mappo", "vmas/balance"].scale == "mean" and table.seeds("mappo", "vmas/balance") == (0, 1)
    assert "absolute" not in {e.kind for e in table.evaluations}
    assert any("best single episode" in w for w in table.warnings)
    with pytest.raises(BadInput, match="averaged over agents"):
        read_benchmarl(tmp_path, JsonOptions(scale="sum"))


CONFIG = {
    "name": "qmix", "env": "gymma", "env_args": {"key": "lbforaging:Foraging-8x8-2p-3f-v2", "time_limit": 25},
    "seed": 7, "test_nepisode": 100, "common_reward": True, "reward_scalarisation": "sum",
}  # fmt: skip
METRICS = {"test_return_mean": {"steps": [0, 50], "values": [0.1, {"py/object": "numpy.float64", "value": 0.4}]}}


def _sacred(folder: Path, config: Any, metrics: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_sacred_folders_are_read(tmp_path: Path) -> None:
    _sacred(tmp_path / "qmix/1", CONFIG, METRICS)
    _sacred(tmp_path / "qmix/2", {**CONFIG, "seed": 8}, METRICS)
    table = read_epymarl(tmp_path)
    facts = table.facts["qmix", "lbforaging:Foraging-8x8-2p-3f-v2"]
    assert facts.scale == "sum" and facts.horizon == 25
    assert [(e.seed, e.frames, e.value, e.episodes) for e in table.evaluations][:2] == [
        (7, 0, 0.1, 100),
        (7, 50, 0.4, 100),
    ]


def test_older_configurations_do_not_know_the_scale_and_training_returns_stay_apart() -> None:
    old = {k: v for k, v in CONFIG.items() if k not in ("common_reward", "reward_scalarisation")}
    assert parse_run(old, METRICS, "r").cells_without_scale
    assert not parse_run(old, METRICS, "r", SacredOptions("mean")).cells_without_scale
    table = parse_run(CONFIG, {"return_mean": METRICS["test_return_mean"]}, "r")
    assert {e.kind for e in table.evaluations} == {"training"} and "exploration" in table.warnings[0]


@pytest.mark.parametrize(
    ("config", "metrics", "words"),
    [
        ({}, METRICS, ["config.json", "an object"]),
        ({**CONFIG, "name": ""}, METRICS, ["name", "printable"]),
        ({**CONFIG, "env_args": {"x": 1}}, METRICS, ["'key' or 'map_name'"]),
        ({k: v for k, v in CONFIG.items() if k != "seed"}, METRICS, ["'seed'"]),
        (CONFIG, {"loss": {}}, ["test_return_mean", "loss"]),
        (CONFIG, {"test_return_mean": {"steps": [1], "values": []}}, ["equal length"]),
        ({**CONFIG, "reward_scalarisation": "max"}, METRICS, ["sum or mean", "'max'"]),
    ],
)
def test_a_malformed_run_names_the_key(config: Any, metrics: Any, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        parse_run(config, metrics, "run")
    for word in words:
        assert word in str(error.value), str(error.value)
