"""Execution classes are computed from what moves a policy's actions, never declared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.information import class_of, execution_class, information_flow
from rlnet_bench.learning.policy import ActorPolicy, Policy, PolicyState
from rlnet_bench.learning.untrained import ScriptPolicy, UniformPolicy

SPREAD = task_card("mpe/simple_spread-discrete-v1")
SPEAKER = task_card("mpe/simple_speaker_listener-discrete-v1")


class Reads(Policy):
    """Agent i picks by the sign of a coordinate summed over the agents it reads."""

    def __init__(self, reads: list[list[int]], replicas: int = 1, sampled_only: bool = False, **flags: Any) -> None:
        self.reads, self.replicas, self.sampled_only = reads, replicas, sampled_only
        for name, value in flags.items():
            setattr(self, name, value)

    def act(
        self, observation: Tensor, state: PolicyState, mask: Any = None, reset: Any = None, deterministic: bool = True
    ) -> tuple[Tensor, PolicyState]:
        score = torch.stack([observation[:, js, 2:4].sum(dim=(1, 2)) for js in self.reads], dim=1)
        action = (score > 0).long()
        return (torch.zeros_like(action) if deterministic and self.sampled_only else action), state


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([[0], [1], [2]], "D0"),
        ([[0], [0, 1], [2]], "D2"),
        ([[1], [2], [0]], "D2"),
        ([[0], [1], [0, 1, 2]], "C"),
        ([[0, 1, 2]] * 3, "C"),
    ],
)
def test_class_of_a_policy_per_class(reads: list[list[int]], expected: str, replicas: int) -> None:
    policy: Any = Reads(reads, replicas)
    flow = information_flow(policy, SPREAD)
    for i, js in enumerate(reads):
        assert flow[i].tolist() == [j in js or j == i for j in range(3)]
    assert execution_class(policy, information_flow(policy, SPREAD)) == expected


def test_a_policy_that_reads_others_sampled_actions_says_so() -> None:
    policy: Any = Reads([[0], [1], [2]], execution_floor="D1")
    assert execution_class(policy, information_flow(policy, SPREAD)) == "D1"
    both: Any = Reads([[0, 1], [1], [2]], execution_floor="D1")
    assert execution_class(both, information_flow(both, SPREAD)) == "D2"


def test_dependence_that_shows_only_when_sampling_is_found() -> None:
    policy: Any = Reads([[0], [0, 1], [2]], sampled_only=True)
    assert execution_class(policy, information_flow(policy, SPREAD)) == "D2"


def test_one_agent_alone_is_never_central() -> None:
    assert class_of([[True]]) == "D0"
    assert class_of([[True, False], [False, True]]) == "D0"
    assert class_of([[True, True], [False, True]]) == "C"


@pytest.mark.parametrize(("observe", "expected"), [("own", "D0"), ("all", "C")])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("task", ["mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1"])
def test_our_actors(task: str, share: bool, observe: str, expected: str) -> None:
    card = task_card(task)
    actor = Actor(card, ActorSpec((8,), "tanh", share, observe), (0, 1))  # type: ignore[arg-type]
    assert execution_class(ActorPolicy(actor), information_flow(ActorPolicy(actor), card)) == expected


def test_controls_and_scripts() -> None:
    from rlnet_bench.envs.mpe.policies import SCRIPTS

    uniform: Any = UniformPolicy(SPREAD, 2)
    assert execution_class(uniform, information_flow(uniform, SPREAD)) == "D0"
    for name, card, expected in (("nearest", SPREAD, "D0"), ("silent", SPEAKER, "D0")):
        script: Any = ScriptPolicy(SCRIPTS[name], card, 1)
        assert execution_class(script, information_flow(script, card)) == expected, name


def test_measuring_changes_nothing() -> None:
    before = torch.get_rng_state()
    policy: Any = Reads([[0], [1], [2]])
    first = information_flow(policy, SPREAD)
    assert torch.equal(first, information_flow(policy, SPREAD))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("name", ["simple_spread", "simple_speaker_listener", "simple_reference"])
def test_uniform_policy_is_uniform_over_what_each_agent_has(name: str, kind: str) -> None:
    card = task_card(f"mpe/{name}-{kind}-v1")
    policy, n = UniformPolicy(card, 1), 20_000
    env = make_env(card, 4)
    now = env.reset(torch.arange(4))
    observation = now.observation[:1].expand(n, -1, -1)
    action, _ = policy.act(observation, policy.initial_state(n, torch.arange(n)))
    for agent, size in enumerate(card.action_sizes):
        if kind == "discrete":
            share = torch.bincount(action[:, agent], minlength=card.action_size) / n
            assert not share[size:].any()
            assert (share[:size] - 1 / size).abs().max().item() < 4 * (1 / size / n) ** 0.5
        else:
            mine = action[:, agent, :size]
            assert not action[:, agent, size:].any()
            assert mine.min().item() >= card.action_low and mine.max().item() <= card.action_high
            middle = (card.action_low + card.action_high) / 2
            assert (mine.mean(dim=0) - middle).abs().max().item() < 0.02 * (card.action_high - card.action_low)
