"""IA2C and MAA2C against PPO and by hand; what small games say of every on-policy method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "learning"))
from games import EASY, Game, matrix, two_step
from scripted import Scripted

from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.methods import find_method

SEEDS = (0, 1, 2)
SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-continuous-v1"
TINY: dict[str, Any] = {"num_envs": 4, "rollout_steps": 10, "hidden": [8], "critic_hidden": [8]}
# One setting for all games: nothing is annealed, so that what is learned depends on the number of iterations alone.
GAMES: dict[str, Any] = {
    "num_envs": 16, "rollout_steps": 8, "hidden": [32], "critic_hidden": [32], "learning_rate": 5e-3, "gamma": 0.99,
    "entropy_weight": 0.02, "anneal": False, "epochs": 4, "minibatches": 1,
}  # fmt: skip


def made(method: str, env: Any, seeds: tuple[int, ...] = SEEDS, reward: str = "team_mean", **settings: Any) -> Any:
    found = find_method(method)
    config = found.configure({k: v for k, v in settings.items() if k in found.Config.model_fields})
    return found.learner_class()(env, seeds, config, training_reward=reward, total_frames=10**6)


def expected_return(learner: TeamLearner, game: Game) -> list[float]:
    """Mean return per episode of sampled play over the last rollout, per seed; episodes of ``game`` have one length."""
    rewards, ends = learner.rollout.rewards[..., 0].sum(dim=(0, 2)), learner.rollout.terminated.sum(dim=(0, 2))
    return (rewards / ends).tolist()


@pytest.mark.parametrize("method", ["ia2c", "maa2c"])
def test_an_easy_game_is_solved_by_all(method: str) -> None:
    learner = made(method, matrix(EASY, 48), **GAMES)
    for _ in range(150):
        learner.iterate()
    assert min(expected_return(learner, matrix(EASY, 48))) > 3.7


@pytest.mark.parametrize("method", ["ia2c", "maa2c"])
def test_values_reach_back_through_the_two_step_game(method: str) -> None:
    """A safe 7 or a coordinated 8: a team that moves in small steps from uniform play takes at least the 7."""
    learner = made(method, two_step(48), **GAMES)
    for _ in range(150):
        learner.iterate()
    assert min(expected_return(learner, two_step(48))) > 6.8


# -- advantage actor-critic ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a2c", "ppo"), [("ia2c", "ippo"), ("maa2c", "mappo")])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize("share", [True, False])
def test_one_epoch_of_ppo_is_advantage_actor_critic(a2c: str, ppo: str, task: str, share: bool) -> None:
    """Where the ratio is 1 the clipped surrogate's gradient is the policy gradient; GAE(1) sums all rewards."""
    same = {**TINY, "share_parameters": share, "normalise_value": False, "entropy_weight": 0.02}
    one = made(a2c, make_env(task, 8), (0, 1), **same, n_step=10)
    settings = {"epochs": 1, "minibatches": 1, "gae_lambda": 1.0, "normalise_advantage": "none"}
    two = made(ppo, make_env(task, 8), (0, 1), **same, **settings)
    start = [p.detach().clone() for p in one.optimiser.parameters]
    for _ in range(2):
        first, second = one.iterate(), two.iterate()
    for mine, theirs, before in zip(one.optimiser.parameters, two.optimiser.parameters, start):
        assert not torch.equal(mine, before)
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)
    for name in ("value_loss", "entropy", "gradient_norm"):
        torch.testing.assert_close(first[name], second[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["ia2c", "maa2c"])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["", "", "", ""], [-0.5, -6.5, -12.5, -11.0]),
        (["", "terminated", "", ""], [-8.0, -18.0, -12.5, -11.0]),
        (["", "truncated", "", ""], [17.0, 32.0, -12.5, -11.0]),
    ],
)
def test_two_step_advantages_by_hand(method: str, ends: list[str], expected: list[float]) -> None:
    """V(x) = 10 x sees 1 to 5 and, at the time limit, 10; rewards 1 to 4; gamma 1/2:
    A_0 = 1 + 2 / 2 + 30 / 4 - 10, and 1 + 2 / 2 - 10 where the task ends, 1 + 2 / 2 + 100 / 4 - 10 at the limit."""
    env = Scripted([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]], [1.0, 2.0, 3.0, 4.0, 5.0], ends, [0, 10.0, 0, 0])
    settings = {"num_envs": 1, "rollout_steps": 4, "gamma": 0.5, "n_step": 2, "hidden": [4], "critic_hidden": []}
    learner = made(method, env, (0,), **settings, normalise_value=False)
    with torch.no_grad():
        weight, bias = learner.critic.parameters()
        weight.zero_()
        weight[:, 0] = 10.0
        bias.zero_()
    learner.collect()
    advantage, returns = learner.advantages()
    assert [advantage[:, 0, 0, agent].tolist() for agent in range(2)] == [expected] * 2
    assert returns[:, 0, 0, 0].tolist() == [a + v for a, v in zip(expected, (10.0, 20.0, 30.0, 40.0))]


def test_advantages_have_the_units_in_which_the_critic_speaks() -> None:
    """Rewards a hundred times as large give the same advantages, once the returns are known."""
    found = []
    for scale in (1.0, 100.0):
        env = Scripted([[scale * x] * 2 for x in (1.0, 5.0, 3.0, 4.0)], [0.0] * 5, ["terminated"] * 4, [0.0] * 4)
        learner = made("ia2c", env, (0,), num_envs=1, rollout_steps=4, critic_hidden=[])
        for p in learner.critic.parameters():
            p.data.zero_()
        learner.collect()
        advantage, returns = learner.advantages()
        deviation = torch.tensor([1.0, 5.0, 3.0, 4.0]).std(correction=0)
        torch.testing.assert_close(advantage[:, 0, 0, 0], torch.tensor([1.0, 5.0, 3.0, 4.0]) / deviation)
        found.append(advantage)
    torch.testing.assert_close(*found)
