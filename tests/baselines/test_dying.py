"""Agents that die: they choose nothing then, so that nothing is learned from what is drawn for them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "learning"))
from games import EASY, Game

from rlnet_bench.envs.contract import Reset, Transition
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method

SEEDS = (0, 1)
FADING = f"{Path(__file__).parent.parent / 'envs' / 'pettingzoo' / 'foreign_envs.py'}:Fading"
SETTINGS: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 4, "hidden": [8], "critic_hidden": [8], "share_parameters": False, "epochs": 2,
    "minibatches": 1, "critic_minibatches": 1, "updates_per_iteration": 2, "batch_size": 8, "buffer_size": 200,
    "learning_starts": 20, "entropy_weight": 0.01, "temperature_start": 0.5,
}  # fmt: skip


class Ghost(Game):
    """Two steps of two agents; the second is dead from the start."""

    def __init__(self, num_envs: int, continuous: bool = False) -> None:
        super().__init__((EASY, EASY), ((1, 1, 1), None), num_envs)
        if continuous:
            self.card = replace(self.card, action_kind="continuous", action_sizes=(1, 1), action_low=-1, action_high=1)

    def _see(self, at: Tensor) -> Reset:
        return super()._see(at)._replace(alive_mask=torch.tensor([True, False]).expand(len(at), 2))

    def step(self, actions: Tensor) -> Transition:
        if actions.is_floating_point():
            actions = (actions[..., 0] * 1.4 + 1.5).long().clamp(0, 2)
        step = super().step(actions)
        lives = self.current().alive_mask
        dead = torch.stack((step.terminated, torch.ones_like(step.terminated)), dim=1)
        return step._replace(alive_mask=lives, final_alive_mask=lives, agent_terminated=dead)


def made(method: str, env: Game, **settings: Any) -> Any:
    found = find_method(method)
    config = found.configure({k: v for k, v in {**SETTINGS, **settings}.items() if k in found.Config.model_fields})
    return found.learner_class()(env, SEEDS, config, training_reward="team_mean", total_frames=10_000)


def weights(learner: Any) -> Tensor:
    """Of the actors, [R, N, P]."""
    actor = getattr(learner.actor, "network", learner.actor)
    return torch.cat([p.detach().reshape(len(SEEDS), 2, -1) for p in actor.parameters()], dim=2).clone()


CELLS = [("ippo", False), ("ia2c", False), ("coma", False), ("happo", False), ("isac", False), ("isac", True),
         ("masac", False), ("masac", True), ("iddpg", True), ("maddpg", True)]  # fmt: skip


@pytest.mark.parametrize(("method", "continuous"), CELLS)
def test_the_dead_learn_nothing_and_the_living_do(method: str, continuous: bool) -> None:
    learner = made(method, Ghost(8, continuous))
    before = weights(learner)
    for _ in range(4):
        learner.iterate()
    moved = (weights(learner) != before).any(dim=2)
    assert learner.updates and moved.tolist() == [[True, False]] * 2
    if method.endswith("sac"):
        assert learner.alpha[:, 0, 1].tolist() == pytest.approx([0.5, 0.5])
        assert not bool((learner.alpha[:, 0, 0] == 0.5).any())


LONG = [pytest.mark.slow, pytest.mark.minutes]  # its environments are processes
SEPARATE = {"share_parameters": False}
VARIANTS = [
    pytest.param(method, settings, reward, marks=LONG, id=f"{method}-{reward}")
    for method, settings, reward in (
        ("coma", {}, "team_mean"), ("coma", SEPARATE, "team_mean"), ("happo", {}, "individual"),
        ("central", {}, "team_mean"), ("isac", SEPARATE, "individual"), ("masac", {}, "team_mean"),
    )
]  # fmt: skip


@pytest.mark.parametrize(("method", "settings", "reward"), VARIANTS)
def test_the_contract_is_kept_where_agents_leave_one_by_one(method: str, settings: dict[str, Any], reward: Any) -> None:
    check_method(method, FADING, settings=settings, training_reward=reward, seeds=(0, 1), faults=1).raise_if_failed()
