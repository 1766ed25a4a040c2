"""From suites to groups: stable ids, what is part of them, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import SPEAKER, SPREAD, group, method, plan, suite

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.plan import make_plan, plan_from_json, run_id


def test_run_ids_are_stable() -> None:
    """A golden id over a written-out configuration: ids of published results must never move."""
    config = {
        "format": 1, "label": "IPPO", "task": "t", "task_hash": "0", "method": "ippo", "method_version": 1,
        "method_source": "", "settings": {"gamma": 0.9}, "network": None, "seeds": [0, 1], "frames": 10,
        "evaluation": {"every": 5, "episodes": 2, "absolute_episodes": 3, "primary": "deterministic"},
        "training_reward": "team_mean", "device": "cpu", "dtype": "float32", "threads": 1, "compile": False,
    }  # fmt: skip
    assert run_id(config) == "0f5155867c7727e3"
    assert run_id(dict(reversed(config.items()))) == run_id(config)  # the order of keys is no content


def test_the_label_is_not_part_of_the_id_and_everything_else_is() -> None:
    base = group()
    assert run_id({**base.config, "label": "another"}) == base.run_id
    assert group({**method(), "label": "another"}).run_id == base.run_id
    others = [
        group(method(gamma=0.5)), group(method("mappo")), group(seeds=3), group(seeds=[1, 0]),
        group(budget={"frames": 200}), group(tasks=[SPEAKER]), group(training_reward="individual"),
        group(evaluation={"every": 40, "episodes": 2, "absolute_episodes": 3}),
        group(evaluation={"every": 80, "episodes": 2, "absolute_episodes": 3, "primary": "sampled"}),
        make_plan(suite(), threads=2).groups[0], make_plan(suite(), device="cuda").groups[0],
    ]  # fmt: skip
    ids = [base.run_id, *(g.run_id for g in others)]
    assert len(set(ids)) == len(ids)
    for key in base.config.keys() - {"label"}:
        assert run_id({**base.config, key: "changed"}) != base.run_id, key


def test_the_suite_is_not_part_of_the_id() -> None:
    """The same cell of two suites is one run."""
    assert group(name="other", version=7, description="x").run_id == group().run_id


def test_a_default_written_out_is_the_same_run() -> None:
    assert group(method(gae_lambda=0.95)).run_id == group().run_id


def test_groups_of_seeds() -> None:
    groups = plan(seeds=7).groups
    assert sorted(g.config["seeds"] for g in groups) == [[0, 1, 2, 3, 4], [5, 6]]
    assert [g.config["seeds"] for g in plan(seeds=3, seed_group=1).groups] == [[0], [1], [2]]
    assert groups[0].describe() == f"ippo on {SPREAD}, seeds 0-4"
    assert plan(seeds=[6]).groups[0].describe() == f"ippo on {SPREAD}, seed 6"


def test_longest_first_and_controls_are_not_trained() -> None:
    planned = plan(method("random"), method(), tasks=[SPREAD, SPEAKER], budget={"frames": {SPREAD: 80, SPEAKER: 400}})
    assert [g.frames for g in planned.groups] == [800, 160, 0, 0]
    control = planned.groups[-1].config
    assert control["frames"] == 0 and control["evaluation"]["every"] == 0


def test_points_of_the_curve_default_to_a_tenth() -> None:
    assert group(evaluation={}, budget={"frames": 1000}).config["evaluation"]["every"] == 100
    assert group(evaluation={"every": 10**9}).config["evaluation"]["every"] == 160


def test_json_round_trip() -> None:
    planned = plan(method(), method("random"))
    assert plan_from_json(json.loads(json.dumps(planned.to_json()))) == planned


def test_every_problem_is_listed() -> None:
    bad = suite(method("ipppo"), method("nearest"), method("mapppo"), tasks=["mpe/simple_spred-discrete-v1", SPEAKER])
    with pytest.raises(BadInput) as caught:
        make_plan(bad)
    text = str(caught.value)
    assert "unknown method 'ipppo'. Did you mean 'ippo'?" in text
    assert "unknown method 'mapppo'. Did you mean 'mappo'?" in text
    assert "unknown task 'mpe/simple_spred-discrete-v1'. Did you mean 'mpe/simple_spread-discrete-v1'?" in text


def test_impossible_cells_are_all_listed_once() -> None:
    with pytest.raises(BadInput) as caught:
        plan(method("nearest"), method("silent"), method("random"), tasks=[SPREAD, SPEAKER])
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"impossible cell nearest x {SPEAKER}: ")
    assert lines[1].startswith(f"impossible cell silent x {SPREAD}: ")
    assert all(line.endswith("Remove one, or say `only: [TASK, ...]`.") for line in lines)


def test_a_method_that_is_run_on_some_tasks_only() -> None:
    planned = plan({**method("nearest"), "only": [SPREAD]}, method("random"), tasks=[SPREAD, SPEAKER])
    assert [(g.label, g.config["task"]) for g in planned.groups] == [
        ("nearest", SPREAD), ("random", SPREAD), ("random", SPEAKER)
    ]  # fmt: skip
    assert plan_from_json(json.loads(json.dumps(planned.to_json()))) == planned
    with pytest.raises(ValueError, match="nearest: only names"):
        plan({**method("nearest"), "only": [SPREAD]}, method("random"), tasks=[SPEAKER])


def test_a_budget_that_would_train_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"ippo on .*: expected a budget of at least one iteration \(40 frames"):
        plan(budget={"frames": 39})
    assert plan(budget={"frames": 40}).groups[0].frames == 80
    with pytest.raises(BadInput, match=r"minibatches: expected at most num_envs x rollout_steps = 40 joint steps"):
        plan(method(minibatches=41))


OWN = """
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Capabilities, Method

class Mine(Method):
    \"\"\"Mine.\"\"\"
    id = "my-model"
    version = 1
    Config = PpoConfig
    capabilities = Capabilities()
"""


def test_own_methods_and_networks_have_their_declared_names(tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(OWN)
    entry = {"id": f"{tmp_path}/my_model.py:Mine"}
    enough = {"budget": {"frames": 100_000}, "evaluation": {"every": 50_000, "episodes": 2, "absolute_episodes": 3}}
    trusted = make_plan(suite(entry, {**entry, "label": "tuned"}, "ippo", **enough), trust_code=True)
    assert [m.name for m in trusted.suite.methods] == ["my-model", "tuned", "ippo"]
    assert {g.label for g in trusted.groups} == {"my-model", "tuned", "ippo"}
    twice = make_plan(suite(entry, {"id": "ippo", "label": "my-model"}, **enough), trust_code=True)
    assert [m.name for m in twice.suite.methods] == [entry["id"], "my-model"]
    (tmp_path / "mine.yaml").write_text(Path("rlnet_bench/networks/zoo/leader-follower.yaml").read_text())
    network = make_plan(suite({"network": f"{tmp_path}/mine.yaml"}, tasks=[SPEAKER], **enough), trust_code=True)
    assert "/" not in network.suite.methods[0].name and network.groups[0].label == network.suite.methods[0].name
