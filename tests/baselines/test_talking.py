"""CommNet and the GNN by hand; what they may know, what their messages cost, and what is left of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.channel import degraded
from rlnet_bench.learning.information import execution_class, information_flow, situations
from rlnet_bench.learning.talking import Talking, TalkingPolicy, neighbours
from rlnet_bench.methods import find_method

N4 = "mpe/simple_spread-n4-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
TINY: dict[str, Any] = {"num_envs": 4, "rollout_steps": 10, "hidden": [6, 5], "critic_hidden": [8]}
SEEDS = (0, 1)


def policy(method: str, task: str = N4, **settings: Any) -> TalkingPolicy:
    """Of a learner whose weights are large enough that everything heard changes what is done."""
    found = find_method(method)
    config = found.configure({**TINY, **settings})
    made = found.learner_class()(make_env(task, 8), SEEDS, config, training_reward="team_mean", total_frames=100)
    for p in made.actor.parameters():
        p.data.mul_(3.0)
    made.actor.network.parts["readout"].mlp.weights[-1].data.mul_(100.0)
    acting: TalkingPolicy = made.policy()
    return acting


def linear(network: Talking, name: str, replica: int, agent: int, x: torch.Tensor) -> torch.Tensor:
    """One copy of a network of a round."""
    mlp = network.parts[name].mlp
    assert mlp is not None
    copy = replica if network.copies == 1 else replica * network.agents + agent
    for i, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases)):
        x = torch.tanh(x) if i else x
        x = x @ weight[copy] + bias[copy, 0]
    return x


@pytest.mark.parametrize("method", ["commnet", "gnn"])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("graph", ["all", "ring"])
def test_rounds_of_talk_written_out(method: str, share: bool, graph: str) -> None:
    acting = policy(method, share_parameters=share, graph=graph)
    network = acting.network
    x = torch.randn(2, 3, 4, acting.actor.width)
    found = network(x)
    hears = {i: [j for j in range(4) if j != i and (graph == "all" or (i - j) % 4 in (1, 3))] for i in range(4)}
    for r in range(2):
        for row in range(3):
            h = [torch.tanh(linear(network, "encoder", r, i, x[r, row, i])) for i in range(4)]
            for k in range(2):
                after = []
                for i in range(4):
                    if method == "commnet":
                        c = torch.stack([h[j] for j in hears[i]]).mean(dim=0)
                        after.append(torch.tanh(linear(network, f"mix.{k}", r, i, torch.cat((h[i], c)))))
                    else:
                        m = [linear(network, f"message.{k}", r, i, torch.cat((h[i], h[j]))) for j in hears[i]]
                        both = torch.cat((h[i], torch.tanh(torch.stack(m)).mean(dim=0)))
                        after.append(torch.tanh(linear(network, f"node.{k}", r, i, both)))
                h = after
            out = torch.stack([linear(network, "readout", r, i, h[i]) for i in range(4)])
            torch.testing.assert_close(found[r, row], out, atol=1e-3, rtol=1e-4)


def test_who_hears_whom() -> None:
    assert torch.equal(neighbours(4, "all"), ~torch.eye(4, dtype=torch.bool))
    assert [row.nonzero().flatten().tolist() for row in neighbours(5, "ring")] == [
        [1, 4],
        [0, 2],
        [1, 3],
        [2, 4],
        [0, 3],
    ]
    assert neighbours(2, "ring").tolist() == [[False, True], [True, False]]
    assert neighbours(1, "all").tolist() == [[False]]


@pytest.mark.parametrize("method", ["commnet", "gnn"])
def test_messages_are_counted_and_the_class_follows_from_the_graph(method: str) -> None:
    card = task_card(N4)
    everybody, beside = policy(method), policy(method, graph="ring", rounds=1)
    assert everybody.columns() == {"bits_up": 32 * 5 * 2 * 12, "bits_down": 0, "hops": 2, "edges": 12}
    assert beside.columns() == {"bits_up": 32 * 5 * 1 * 8, "bits_down": 0, "hops": 1, "edges": 8}
    assert execution_class(everybody, information_flow(everybody, card)) == "C"
    flow = information_flow(beside, card)
    assert torch.equal(flow, neighbours(4, "ring") | torch.eye(4, dtype=torch.bool))
    assert execution_class(beside, flow) == "D2"
    two = information_flow(policy(method, graph="ring", rounds=2), card)
    assert bool(two.all())  # in two hops every agent of four is reached


@pytest.mark.parametrize("method", ["commnet", "gnn"])
@pytest.mark.parametrize("task", [N4, SPEAKER])
def test_what_is_left_without_the_channel(method: str, task: str) -> None:
    """Cut or late, nobody learns of this step from others; in 8 bits the choices are nearly the same, in 1 bit not."""
    card, acting = task_card(task), policy(method, task)
    observation, _ = situations(card, len(SEEDS), "cpu")
    rows = len(observation)
    state = acting.initial_state(rows)
    whole = acting.act(observation, state)[0]
    kept = {}
    for kind, left in degraded(acting, card):
        kept[kind] = float((left.act(observation, left.initial_state(rows))[0] == whole).float().mean())
        if kind in ("decentralised", "delay-1"):
            assert torch.equal(information_flow(left, card), torch.eye(card.num_agents, dtype=torch.bool)), kind
        else:
            assert not torch.equal(information_flow(left, card), torch.eye(card.num_agents, dtype=torch.bool)), kind
    assert list(kept) == ["decentralised", "delay-1", "1-bit", "2-bit", "4-bit", "8-bit"]
    assert kept["8-bit"] > 0.9 and kept["8-bit"] > kept["1-bit"] and kept["decentralised"] < 0.95
    assert torch.equal(acting.act(observation, state)[0], whole)  # as before


def test_late_messages_are_those_of_the_step_before() -> None:
    """Where nothing changes, a message that is one step late says the same from the second step on, until a reset."""
    card, acting = task_card(N4), policy("commnet", rounds=1)
    late = dict(degraded(acting, card))["delay-1"]
    observation = torch.randn(200, 4, card.observation_size, generator=torch.Generator().manual_seed(1))
    plain = acting.act(observation, acting.initial_state(200))[0]
    begins = torch.ones(200, dtype=torch.bool)
    first, state = late.act(observation, late.initial_state(200), None, begins)
    second, state = late.act(observation, state, None, ~begins)
    third, _ = late.act(observation, state, None, begins)
    assert torch.equal(second, plain) and not torch.equal(first, plain) and torch.equal(third, first)


def test_gradients_flow_from_every_choice_into_what_all_others_said() -> None:
    acting = policy("gnn")
    x = torch.randn(2, 3, 4, acting.actor.width, requires_grad=True)
    (slope,) = torch.autograd.grad(acting.network(x)[:, :, 0].sum(), x)
    assert bool((slope.abs().sum(dim=(0, 1, 3)) > 0).all())


def test_a_team_of_one_has_nobody_to_talk_to() -> None:
    card = replace(task_card(N4), agents=("a",), action_sizes=(5,), observation_sizes=(24,))
    found = find_method("commnet")
    alone = found.rebuild(policy("commnet").spec(), card, SEEDS)
    assert alone.columns() == {"bits_up": 0, "bits_down": 0, "hops": 0, "edges": 0}
    assert list(degraded(alone, card)) == []
    assert alone.act(torch.randn(8, 1, 24), alone.initial_state(8))[0].shape == (8, 1)
