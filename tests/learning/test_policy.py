"""Acting: noise from counters, state that is carried, specs that survive JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.policy import ActorPolicy

TASKS = ["mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1"]


def policy_of(task: str, seeds: tuple[int, ...] = (0, 1)) -> ActorPolicy:
    return ActorPolicy(Actor(task_card(task), ActorSpec((8,), "tanh", True), seeds))


@pytest.mark.parametrize("task", TASKS)
def test_sampled_actions_depend_on_key_step_and_agent_alone(task: str) -> None:
    policy = policy_of(task)
    env = make_env(task, 16)
    keys = rng.env_keys((0, 1), rng.Stream.USER, 8)
    observation = env.reset(keys).observation
    state = policy.initial_state(16, keys)
    first, state = policy.act(observation, state, deterministic=False)
    second, _ = policy.act(observation, state, deterministic=False)
    assert not torch.equal(first, second)  # the step counter moved
    again, _ = policy.act(observation, policy.initial_state(16, keys), deterministic=False)
    assert torch.equal(first, again)
    half = policy_of(task, (0,))  # replica 0 alone, with half of its environments
    few, _ = half.act(observation[:4], half.initial_state(4, keys[:4]), deterministic=False)
    torch.testing.assert_close(few, first[:4])


@pytest.mark.parametrize("task", TASKS)
def test_acting_leaves_the_global_generator_alone(task: str) -> None:
    before = torch.get_rng_state()
    policy = policy_of(task)
    observation = make_env(task, 4).reset(torch.arange(4)).observation
    policy.act(observation, policy.initial_state(4), deterministic=False)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [True, False])
def test_spec_survives_json(task: str, share: bool) -> None:
    spec = ActorSpec((8, 4), "relu", share, "all", "gru")
    assert ActorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_specs_of_the_first_format_are_read() -> None:
    old = {"observation_sizes": [18] * 3, "action_kind": "discrete", "hidden": [8], "activation": "tanh",
           "share_parameters": True, "observe": "own", "action_lows": None}  # fmt: skip
    assert ActorSpec.from_json(old) == ActorSpec((8,), "tanh", True)


def test_bounds_of_every_agent_are_kept() -> None:
    card = task_card(TASKS[1])
    lows = tuple(tuple(-1.0 - i for _ in range(n)) for i, n in enumerate(card.action_sizes))
    highs = tuple(tuple(2.0 + i for _ in range(n)) for i, n in enumerate(card.action_sizes))
    card = replace(card, action_lows=lows, action_highs=highs)
    far = torch.full((1, 1, 2, 5), 100.0)
    assert Actions(card).to_task(far)[0, 0].tolist() == [[2, 2, 2, 0, 0], [3, 3, 3, 3, 3]]
    assert Actions(card).to_task(-far)[0, 0].tolist() == [[-1, -1, -1, 0, 0], [-2, -2, -2, -2, -2]]
    assert Actions(card, [1]).to_task(far[:, :, 1:])[0, 0].tolist() == [[3, 3, 3, 3, 3]]


def test_masks_hold_in_both_modes() -> None:
    policy = policy_of(TASKS[0])
    n = 64
    observation = torch.randn(n, 3, 18, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(n, 3, 5, dtype=torch.bool)
    mask[..., 3] = True
    mask[:, 1, 0] = True
    for deterministic in (True, False):
        action, _ = policy.act(observation, policy.initial_state(n), mask, None, deterministic)
        assert mask.gather(2, action[..., None]).all()


def test_loading_names_what_does_not_fit() -> None:
    policy, other = policy_of(TASKS[0]), policy_of(TASKS[0], (0, 1, 2))
    with pytest.raises(ValueError, match=r"weight\.0: expected shape"):
        policy.load_state_dict(other.state_dict())
