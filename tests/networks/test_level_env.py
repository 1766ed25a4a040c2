"""Any learner at a vertex: what is below it as an environment."""

from __future__ import annotations

import pytest
import torch
from tiny import LBF, SMOOTH, SPREAD, TINY

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.ppo import PpoLearner
from rlnet_bench.networks.build import Network, continuous, discrete
from rlnet_bench.networks.level_env import LevelEnv
from rlnet_bench.networks.method import NetworkConfig
from rlnet_bench.networks.spec import NetworkSpec

CONFIG = NetworkConfig(**TINY)


def two_levels(**fields: object) -> NetworkSpec:
    boss = {"action": continuous(2), "learner": "method:mine", **fields}
    return Network("two").vertex("boss", **boss).motors("motor").edge("boss", "motor").build()


class HillClimber:
    """A user's toy learner: it keeps one instruction per environment-independent trial if returns rise."""

    def __init__(self, width: int) -> None:
        self.draw = torch.Generator().manual_seed(0)
        self.best, self.value, self.width = torch.zeros(width), -float("inf"), width
        self.kept = 0

    def train(self, env: LevelEnv, rounds: int) -> None:
        env.reset(env.keys((0,), env.num_envs))
        for _ in range(rounds):
            trial = (self.best + 0.3 * torch.randn(self.width, generator=self.draw)).clamp(-1, 1)
            total = 0.0
            for _ in range(env.card.horizon):
                step = env.step(trial.expand(env.num_envs, 1, -1))
                total += float(step.reward.mean())
            if total > self.value:
                self.best, self.value, self.kept = trial, total, self.kept + 1


def test_ppo_below_learns_under_a_users_toy_learner_above() -> None:
    env = LevelEnv(two_levels(), "boss", task_card(SPREAD), 8, config=CONFIG)
    before = {k: v.clone() for k, v in env.below.policy().state_dict().items()}
    toy = HillClimber(2)
    toy.train(env, 6)
    assert toy.kept >= 1
    assert env.below.updates == 6 * env.card.horizon // 12
    after = env.below.policy().state_dict()
    assert all(not torch.equal(before[k], after[k]) for k in before)
    heard = env.below.rollout.stacks[1].features[env.t - 1, ..., -2:]
    assert torch.equal(heard[0, :, 0], env.below.executor.given[0][0])


def test_our_own_ppo_sits_at_a_vertex() -> None:
    env = LevelEnv(two_levels(), "boss", task_card(SMOOTH), 8, (0, 1), config=CONFIG)
    config = PpoConfig(**TINY, share_parameters=False)
    above = PpoLearner(env, (0, 1), config, critic="observation", training_reward="team_mean", total_frames=10_000)
    before = {k: v.clone() for k, v in above.policy().state_dict().items()}
    for _ in range(3):
        above.iterate()
    assert all(not torch.equal(before[k], v) for k, v in above.policy().state_dict().items())
    assert env.below.updates == 2  # the third rollout below is learned from when the next instruction comes


def test_actions_go_down_messages_and_rewards_come_up() -> None:
    spec = two_levels(action=discrete(3), count=2)
    env = LevelEnv(spec, "boss", task_card(LBF), 4, config=CONFIG, learns=False)
    assert env.card.agents == ("boss[0]", "boss[1]")
    assert (env.card.action_kind, env.card.action_sizes, env.card.observation_sizes) == ("discrete", (3, 3), (24, 24))
    first = env.reset(env.keys((0,), 4))
    assert torch.equal(first.observation[:, 0], env.below.now.observation.flatten(1))
    before = {k: v.clone() for k, v in env.below.policy().state_dict().items()}
    for t in range(30):
        step = env.step(torch.full((4, 2), t % 3))
        team = env.below.now.reward.mean(dim=1, keepdim=True).expand(-1, 2)
        assert torch.equal(step.reward, team)
        motor = env.below.rollout.stacks[1].features[env.t - 1, 0]
        assert torch.equal(motor[..., -6:-3].argmax(-1), torch.full((4, 2), t % 3))
    assert all(torch.equal(before[k], v) for k, v in env.below.policy().state_dict().items())


@pytest.mark.parametrize(
    ("spec", "level", "words"),
    [
        (two_levels(), "motor", "a level above the motors"),
        (two_levels(learner="ppo"), "boss", "expected `learner: method:NAME`"),
        (two_levels(period=2), "boss", "period 1"),
        (
            Network("three").vertex("top", action=continuous(2)).vertex("boss", learner="method:x")
            .motors("motor").edge("top", "boss").edge("boss", "motor").build(),
            "boss", "no superiors, found 'top'",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(spec: NetworkSpec, level: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        LevelEnv(spec, level, task_card(SPREAD), 4, config=CONFIG)
