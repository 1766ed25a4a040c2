"""Which checkpoints may become the best: those whose graph is the declared one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import LBF, TINY, learner

from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy
from rlnet_bench.runs import loop
from rlnet_bench.runs.loop import run_group
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.records import EvalLine, read_evals
from rlnet_bench.runs.suite import Suite

SETTINGS = {**TINY, "hidden": [8], "critic_hidden": [8], "rollout_steps": 10}  # 40 frames per iteration


def run(folder: Path, network: str, frames: int, every: int, **settings: Any) -> list[EvalLine]:
    entry = {"network": network, "set": {**SETTINGS, **settings}}
    suite = {
        "name": "small", "tasks": [LBF], "methods": [entry], "seeds": 2, "budget": {"frames": frames},
        "evaluation": {"every": every, "episodes": 2, "absolute_episodes": 2},
    }  # fmt: skip
    config = make_plan(Suite.model_validate(suite)).groups[0].config
    (folder / "config.json").write_text(json.dumps(config))
    run_group(folder, config)
    lines = read_evals(folder / "evals.jsonl")[0]
    return [x for x in lines if x.mode == "deterministic"]


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation of a curve is worse than the one before, so that the first point to compete is the best."""
    played = [0]

    def worse(policy: Policy, *rest: Any, **options: Any) -> Any:
        got = evaluate(policy, *rest, **options)
        played[0] += 1
        return type(got)(got.returns - played[0], got.success, got.length)

    monkeypatch.setattr(loop, "evaluate", worse)


@pytest.mark.usefixtures("falling")
@pytest.mark.parametrize(("network", "best"), [("zoo/flat", 0), ("zoo/bayes-net", 8)])
def test_only_points_with_hard_gates_compete(tmp_path: Path, network: str, best: int) -> None:
    found = run(tmp_path, network, 400, 40)
    for seed in (0, 1):
        curve = [x for x in found if x.kind == "curve" and x.seed == seed]
        (absolute,) = [x for x in found if x.kind == "absolute" and x.seed == seed]
        assert (absolute.point, absolute.trained_frames) == (best, 40 * best)
        assert absolute.weights == curve[best].weights


@pytest.mark.usefixtures("falling")
def test_the_final_weights_count_where_no_point_could_compete(tmp_path: Path) -> None:
    """One iteration of 40 frames fits a budget of 70: its gates are still soft at the end."""
    found = run(tmp_path, "zoo/bayes-net", 70, 35)
    kinds = {x.kind: x for x in found if x.seed == 1}
    assert kinds["absolute"].point == 2 and kinds["absolute"].weights == kinds["final"].weights


def test_a_policy_says_whether_it_competes() -> None:
    assert learner("zoo/tag-3ppo").policy().competes
    made = learner("zoo/bayes-net")
    made.total_frames = 5 * made.frames_per_iteration
    said = []
    for _ in range(5):
        said.append(made.policy().competes)
        made.iterate()
    assert said == [False] * 4 + [True]
    assert made.policy().competes
    fresh = learner("zoo/bayes-net").policy()
    fresh.load_state_dict(made.policy().state_dict())
    assert fresh.competes


def test_weights_from_disk_know_it_too(tmp_path: Path) -> None:
    run(tmp_path, "zoo/bayes-net", 200, 40)
    policy: Any = load_policy(tmp_path)
    assert policy.competes
