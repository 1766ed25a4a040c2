"""Learning on VMAS: evaluation does not disturb training, and a killed run ends as if it had not been."""

from typing import Any

import pytest
import torch

from rlnet_bench.envs.cards.vmas import ids
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import Interrupted
from rlnet_bench.runs.loop import build_learner, run_group
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.suite import Suite, load_suite

pytest.importorskip("vmas", reason="vmas is not installed")

BALANCE = "vmas/balance-continuous-v1"


def config(iterations: int, every: int, task: str = BALANCE) -> dict[str, Any]:
    """The configuration of one tiny IPPO run on one seed."""
    frames = 8 * 30
    suite = Suite(
        name="tiny",
        tasks=[task],
        methods=[{"id": "ippo", "set": {"num_envs": 8, "rollout_steps": 30, "epochs": 1, "minibatches": 1}}],
        seeds=[0],
        budget={"frames": iterations * frames},
        evaluation={"every": every * frames, "episodes": 2, "absolute_episodes": 2},
    )
    (group,) = make_plan(suite).groups
    return group.config


def test_two_iterations_on_balance():
    _, learner = build_learner(config(2, 2))
    before = {k: v.clone() for k, v in learner.policy().state_dict().items()}
    for _ in range(2):
        metrics = learner.iterate()
        assert all(bool(torch.isfinite(value).all()) for value in metrics.values())
    after = learner.policy().state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    assert not learner.divergences


def lines(folder) -> list[str]:
    return (folder / "evals.jsonl").read_text().splitlines()


def weights(folder) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.safetensors") if "checkpoints" not in str(p)
    }


@pytest.mark.parametrize("stop_after", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_records(tmp_path, stop_after):
    settings = config(stop_after + 1, stop_after + 1)
    run_group(tmp_path / "whole", settings)
    asked = iter([False] * (stop_after - 1) + [True])
    with pytest.raises(Interrupted):
        run_group(tmp_path / "cut", settings, should_stop=lambda: next(asked))
    run_group(tmp_path / "cut", settings)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole") != {}


@pytest.mark.slow
def test_evaluating_more_often_changes_no_training(tmp_path):
    run_group(tmp_path / "often", config(2, 1))
    run_group(tmp_path / "seldom", config(2, 2))
    often, seldom = weights(tmp_path / "often"), weights(tmp_path / "seldom")
    final = [name for name in often if "final" in name]
    assert final and all(often[name] == seldom[name] for name in final)


def test_the_suite_plans_every_cooperative_scenario():
    suite = load_suite("vmas")
    cards = [task_card(task) for task in suite.tasks]
    assert all(card.shared_reward for card in cards)
    published = {task_card(i).constructor["scenario"] for i in ids()}
    assert {card.constructor["scenario"] for card in cards} == published
    assert all(len(group.config["seeds"]) == 1 for group in make_plan(suite).groups)
