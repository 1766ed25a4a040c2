"""What crosses between agents, cut, late and coarse: actors that read everything, and the record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning import channel
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.information import class_of, information_flow
from rlnet_bench.learning.policy import ActorPolicy
from rlnet_bench.methods import find_method
from rlnet_bench.runs.loop import run_group
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.records import read_evals
from rlnet_bench.runs.suite import Suite
from rlnet_bench.vocabulary import CHANNEL_KINDS

TASK = "mpe/simple_spread-continuous-v1"


def policy(observe: str) -> ActorPolicy:
    """Fresh weights of one replica, loud enough to be seen."""
    actor = Actor(task_card(TASK), ActorSpec((8,), "tanh", True, observe), (0,))
    for tensor in actor.state_dict().values():
        tensor.mul_(10)
    return ActorPolicy(actor)


def test_without_its_channel_an_actor_that_reads_everything_is_d0() -> None:
    card, whole = task_card(TASK), policy("all")
    assert class_of(information_flow(whole, card)) == "C"
    changed = dict(channel.degraded(whole, card))
    assert tuple(changed) == CHANNEL_KINDS
    assert torch.equal(information_flow(changed["decentralised"], card), torch.eye(3, dtype=torch.bool))
    assert class_of(information_flow(changed["8-bit"], card)) == "C"
    assert class_of(information_flow(whole, card)) == "C"
    assert not dict(channel.degraded(policy("own"), card))


def test_late_numbers_are_those_of_the_step_before() -> None:
    whole = policy("all")
    late = dict(channel.degraded(whole, task_card(TASK)))["delay-1"]
    first, second = torch.randn(4, 3, 18), torch.randn(4, 3, 18)
    _, state = late.act(first, late.initial_state(4))
    action, _ = late.act(second, state)
    for agent in range(3):  # agent i: its own observation of now, the others' of one step ago
        mixed = first.clone()
        mixed[:, agent] = second[:, agent]
        assert torch.equal(action[:, agent], whole.act(mixed, whole.initial_state(4))[0][:, agent])
    reset = torch.tensor([True, False, False, False])
    fresh, _ = late.act(second, state, reset=reset)
    assert torch.equal(fresh[1:], action[1:]) and not torch.equal(fresh[0], action[0])


def test_coarse_numbers_have_few_values_and_stay_near() -> None:
    habit = channel.Habit(torch.tensor(0.0), torch.tensor(-1.0), torch.tensor(1.0))
    x, everything = torch.linspace(-1.5, 1.5, 4001), torch.tensor(True)
    for bits in channel.BITS:
        coarse = channel.quantised(everything, habit, bits)(x, None)
        assert len(coarse.unique()) == 2**bits
        inside = x.abs() < 1
        assert float((coarse - x)[inside].abs().max()) <= 1 / 2**bits + 1e-6
    assert torch.equal(channel.quantised(torch.tensor(False), habit, 1)(x, None), x)


@pytest.mark.parametrize(("method", "settings"), [("ippo", {"observe": "all"}), ("commnet", {}), ("mat", {"width": 8})])
def test_a_run_records_them_once_in_its_primary_mode(tmp_path: Path, method: str, settings: dict[str, Any]) -> None:
    settings = {**find_method(method).small(), **settings, "rollout_steps": 8}
    suite = {
        "name": "small", "tasks": ["mpe/simple_spread-discrete-v1"], "seeds": 2, "budget": {"frames": 96},
        "methods": [{"id": method, "set": settings}],
        "evaluation": {"every": 96, "episodes": 2, "absolute_episodes": 3},
    }  # fmt: skip
    run_group(tmp_path, make_plan(Suite.model_validate(suite)).groups[0].config)
    lines = read_evals(tmp_path / "evals.jsonl")[0]
    mine = [x for x in lines if x.kind in CHANNEL_KINDS]
    assert [(x.kind, x.seed) for x in mine] == [(k, s) for k in CHANNEL_KINDS for s in (0, 1)]
    assert {x.mode for x in mine} == {"deterministic"}
    best = {x.seed: x.weights for x in lines if x.kind == "absolute" and x.mode == "deterministic"}
    assert all(x.weights == best[x.seed] and len(x.returns) == 3 for x in mine)


def test_reading_everything_costs_every_observation_to_every_other_agent() -> None:
    card = task_card(TASK)
    whole, own = (information_flow(policy(observe), card) for observe in ("all", "own"))
    assert channel.needs(whole, card) == {"bits_up": 32 * 54 * 2, "bits_down": 0, "hops": 1}
    assert channel.needs(own, card) == {"bits_up": 0, "bits_down": 0, "hops": 0}


@pytest.mark.parametrize("task", [TASK, "lbf/8x8-2p-2f-coop-v1"])
def test_agents_played_side_by_side_act_as_together(task: str) -> None:
    """An edit that changes nothing: same actions, whatever is remembered, in both modes, across resets."""
    card = task_card(task)
    actor = Actor(card, ActorSpec((8,), "tanh", False, "all", "gru"), (0, 1))
    for tensor in actor.state_dict().values():
        tensor.mul_(3)
    whole = ActorPolicy(actor)
    same = channel.Edited(whole, card, lambda x, before: x)
    keys = torch.arange(100, 106)
    for deterministic in (True, False):
        mine, theirs = whole.initial_state(6, keys), same.initial_state(6, keys)
        assert {k: v.shape[0] for k, v in theirs.memory.items()} == {"copy actor": 6}
        for t in range(5):
            seen = torch.randn(6, card.num_agents, card.observation_size, generator=torch.Generator().manual_seed(t))
            begun = torch.tensor([t % 3 == 0, t == 2, False, False, t % 2 == 0, False])
            action, mine = whole.act(seen, mine, None, begun, deterministic)
            other, theirs = same.act(seen, theirs, None, begun, deterministic)
            torch.testing.assert_close(action, other)
