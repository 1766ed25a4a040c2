"""Any learner at a vertex: what is below it as an environment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import LBF, SMOOTH, SPREAD, TINY, differing, learner, weights

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import find_method
from rlnet_bench.networks.build import Network, continuous, discrete
from rlnet_bench.networks.build import learned as learned_message
from rlnet_bench.networks.level_env import LevelEnv
from rlnet_bench.networks.method import NetworkConfig
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.checkpoint import flatten, unflatten

CONFIG = NetworkConfig(share_parameters=False, **TINY)

IPPO = find_method("ippo").learner_class()


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
    assert env.below.iteration == 6 * env.card.horizon // 12
    after = env.below.policy().state_dict()
    assert all(not torch.equal(before[k], after[k]) for k in before)
    heard = env.below.rollout.stacks[1].features[env.t - 1, ..., -2:]
    assert torch.equal(heard[0, :, 0], env.below.executor.given[0][0])


def test_our_own_ppo_sits_at_a_vertex() -> None:
    env = LevelEnv(two_levels(), "boss", task_card(SMOOTH), 8, (0, 1), config=CONFIG)
    config = PpoConfig(**TINY, share_parameters=False)
    above = IPPO(env, (0, 1), config, training_reward="team_mean", total_frames=10_000)
    sides: tuple[Any, ...] = (above, env.below)
    before = [weights(side) for side in sides]
    for _ in range(3):
        above.iterate()
    assert all(differing(weights(side), old) == sorted(old) for side, old in zip(sides, before))
    assert env.below.iteration == 2  # the third rollout below is learned from when the next instruction comes


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


def three_levels(mid: str = "method:mine", memory: str = "none", **fields: object) -> NetworkSpec:
    return (
        Network("three", hidden=[8])
        .vertex("top", action=continuous(3), period=10)
        .vertex("mid", **{"action": continuous(2), "learner": mid, **fields})
        .vertex("side", action=continuous(2), memory=memory)
        .motors("motor", memory=memory)
        .edge("top", "mid")
        .edge("top", "side")
        .edge("mid", "motor")
        .edge("side", "motor", delay=1)
        .build()
    )


def as_untrained(env: LevelEnv, made: Any, observation: torch.Tensor) -> torch.Tensor:
    """What the untrained policy at the same place of a learner would instruct."""
    net = next(n for n in made.nets if n.stack.name == "mid")
    seen = observation.unflatten(0, (made.shape[1], -1))
    raw = net.sample_own(net.outputs(seen)[1], env.draws[env.t].own[net.stack.number])
    return net.instruction(raw).flatten(0, 1).detach()


@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_in_the_middle_the_others_learn_as_if_the_level_were_one_of_ours(task: str) -> None:
    """A caller who plays the untrained policy gives the numbers of `learner: frozen` to the bit."""
    env = LevelEnv(three_levels(), "mid", task_card(task), 8, (0, 1), config=CONFIG, total_frames=100_000)
    made = learner(three_levels("frozen"), task)
    seen = env.reset(env.keys((0, 1), 4)).observation
    for _ in range(12):
        seen = env.step(as_untrained(env, made, seen)).observation
    assert env.below.updates == 0
    rewards = env.below.rollout.rewards.clone()
    env.step(as_untrained(env, made, seen))  # values what follows the rollout, which is learned from
    made.iterate()
    assert torch.equal(rewards, made.rollout.rewards)
    theirs, ours = (
        env.below.optimiser.parameters,
        [p for n in made.nets if n.stack.name != "mid" for p in _trained(made, n)],
    )
    assert len(theirs) == len(ours) and all(torch.equal(a, b) for a, b in zip(theirs, ours))
    assert differing(weights(made), weights(learner(three_levels("frozen"), task))) != []


def _trained(made: Any, net: Any) -> list[torch.Tensor]:
    return net.actor_parameters() + net.critic_parameters()


def test_the_level_sees_reports_and_instructions_and_gets_its_reward() -> None:
    spec = three_levels(reward="sum")
    env = LevelEnv(spec, "mid", task_card(LBF), 4, config=CONFIG, training_reward="individual")
    assert env.card.observation_sizes == (2 * 12 + 3,)
    seen = env.reset(env.keys((0,), 4)).observation
    top = next(b for b in env.below.rollout.stacks if b.net.stack.name == "top")
    held = None
    for t in range(24):
        note = env.begun.taken[top.net.stack.number]
        if t % 10 == 0:
            held = torch.tanh(note.own[0, :, 0])
        assert torch.equal(seen[:, 0], torch.cat((env.below.now.observation.flatten(1), held), dim=1))
        step = env.step(torch.full((4, 1, 2), t / 24))
        assert torch.allclose(step.reward[:, 0], env.below.now.reward.sum(dim=1))
        motor = env.below.rollout.stacks[-1].features[env.t - 1, 0]
        assert torch.equal(motor[:, 0, 12:14], torch.full((4, 2), t / 24))
        seen = step.observation
    assert env.below.iteration == 1


def test_a_last_observation_is_that_of_its_own_episode() -> None:
    """After 25 steps of spread: the reports of the end, under the instruction that held then."""
    env = LevelEnv(three_levels(), "mid", task_card(SPREAD), 4, config=CONFIG)
    seen = env.reset(env.keys((0,), 4)).observation
    for _ in range(25):
        before, step = seen, env.step(torch.zeros(4, 1, 2))
        seen = step.observation
    assert step.truncated.all()
    final = env.below.now.final_observation
    assert torch.equal(step.final_observation[:, 0, :54], final.flatten(1))
    assert torch.equal(step.final_observation[:, 0, 54:], before[:, 0, 54:])
    assert not torch.equal(seen[:, 0, 54:], before[:, 0, 54:])  # a new episode: the top decides again


def test_one_vertex_of_several_while_the_others_learn() -> None:
    spec = (
        Network("crew", hidden=[8])
        .vertex("manager", count=3, action=continuous(2), message=learned_message(2), group="all")
        .motors("motor")
        .edge("manager", "motor")
        .build()
    )
    env = LevelEnv(spec, "manager[1]", task_card(SMOOTH), 8, (0, 1), config=CONFIG)
    assert env.card.agents == ("manager[1]",)
    assert [len(n.stack.members) for n in env.below.nets] == [2, 1, 3]
    above = IPPO(env, (0, 1), PpoConfig(**TINY), training_reward="team_mean", total_frames=10_000)
    before = {k: v.clone() for k, v in env.below.policy().state_dict().items()}
    for _ in range(3):
        above.iterate()
    after, mine = env.below.policy().state_dict(), f"{env.stack.number}."
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    assert moved == {k for k in before if not k.startswith(mine)}
    heard = env.below.rollout.stacks[-1].features[env.t - 1, ..., 20:22]
    assert torch.equal(heard, env.below.executor.given[1][..., None, :].expand(-1, -1, 3, -1))


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_the_rest_continues_to_the_bit(memory: str) -> None:
    def make() -> LevelEnv:
        return LevelEnv(three_levels(memory=memory), "mid", task_card(LBF), 8, (0, 1), config=CONFIG)

    one, two = make(), make()
    seen = one.reset(one.keys((0, 1), 4)).observation
    for _ in range(24):
        seen = one.step(seen[..., -2:]).observation
    two.load_state_dict(unflatten(*flatten(one.state_dict())))
    assert torch.equal(two.current().observation, seen)
    for env in (one, two):
        there = seen
        for _ in range(13):
            there = env.step(there[..., -2:]).observation
    assert differing(weights(one.below), weights(two.below)) == []


@pytest.mark.parametrize(
    ("spec", "level", "words"),
    [
        (two_levels(), "motor", "a level above the motors"),
        (two_levels(learner="ppo"), "boss", "expected `learner: method:NAME`"),
        (two_levels(period=2), "boss", "period 1"),
        (
            Network("three").vertex("top", action=continuous(2), gradient="through").vertex("boss", learner="method:x")
            .motors("motor").edge("top", "boss").edge("boss", "motor").build(),
            "boss", "'top' above it is trained by its subordinates' losses",
        ),
        (
            Network("three").vertex("top", action=continuous(2)).vertex("boss", learner="method:x")
            .motors("motor").edge("top", "boss", weight="learned").edge("boss", "motor").build(),
            "boss", "fixed weights of the edges from above, found `weight: learned`",
        ),
        (
            Network("three").vertex("boss", learner="method:x").motors("a", [0]).motors("b", "rest", message="none")
            .edge("a", "boss", carry="instructions").edge("boss", "b").build(),
            "boss", r"'a\[0\]' above it is a motor",
        ),
        (two_levels(count=2), "boss[0]", r"'boss\[1\]' beside it has `learner: method:mine`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(spec: NetworkSpec, level: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        LevelEnv(spec, level, task_card(SPREAD), 4, config=CONFIG)
