"""The encoder over entities: order, number, absence, copies."""

from __future__ import annotations

import pytest
import torch

from rlnet_bench.envs.layout import layout_of
from rlnet_bench.envs.registry import resized, task_card
from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.entities import WIDTH, Entities

SPREAD, FOOD = "mpe/simple_spread-discrete-v1", "lbf/2s-10x10-3p-3f-v1"
ALONE = "vmas/balance-continuous-v1"


def encoder(task: str, agents: int = 3, extra: int = 0, keys=(1, 2)) -> Entities:
    layout = layout_of(resized(task_card(task), agents))
    return Entities(layout, layout.width + extra, keys, "tanh")


def rows(layout, extra: int = 0) -> torch.Tensor:
    return torch.randn(2, 5, layout.width + extra, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("task", [SPREAD, FOOD])
def test_the_order_of_entities_does_not_matter_and_their_numbers_do(task):
    layout, encode = layout_of(task_card(task)), encoder(task)
    x = rows(layout)
    before = encode(x)
    assert before.shape == (2, 5, encode.width)
    for kind in layout.kinds:
        turned, changed = x.clone(), x.clone()
        for to, of in zip(kind.slots, (*kind.slots[1:], kind.slots[0])):
            turned[..., list(to)] = x[..., list(of)]
        torch.testing.assert_close(encode(turned), before)
        changed[..., list(kind.slots[0])] += 1.0
        assert (encode(changed) - before).abs().amax(dim=-1).min() > 1e-4
    changed = x.clone()
    changed[..., list(layout.own)] += 1.0
    assert (encode(changed) - before).abs().amax(dim=-1).min() > 1e-4


def test_what_is_absent_is_as_if_it_were_not():
    """Two more players and no more food in sight: the same numbers as without them."""
    few, many = layout_of(task_card(FOOD)), layout_of(resized(task_card(FOOD), 5))
    x, wide = rows(few), torch.empty(2, 5, many.width)
    wide[..., list(many.own)] = x[..., list(few.own)]
    for a, b in zip(few.kinds, many.kinds):
        wide[..., [i for s in b.slots for i in s]] = torch.tensor(b.absent).repeat(len(b.slots))
        for s, t in zip(a.slots, b.slots):
            wide[..., list(t)] = x[..., list(s)]
    small, large = encoder(FOOD), encoder(FOOD, 5)
    torch.testing.assert_close(large(wide), small(x))
    nothing = x.clone()
    for kind in few.kinds:
        nothing[..., [i for s in kind.slots for i in s]] = torch.tensor(kind.absent).repeat(len(kind.slots))
    seen = small(nothing)
    assert bool(seen.isfinite().all()) and not bool(seen[..., WIDTH:].any())


@pytest.mark.parametrize("task", [SPREAD, FOOD, ALONE])
def test_no_parameter_depends_on_the_number_of_agents(task):
    shapes = [[(n, p.shape) for n, p in encoder(task, agents).named_parameters()] for agents in (2, 3, 7)]
    assert shapes[0] == shapes[1] == shapes[2]
    weights = [dict(encoder(task, agents).named_parameters()) for agents in (2, 7)]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_one_player_alone_sees_no_other():
    layout, encode = layout_of(resized(task_card(FOOD), 1)), encoder(FOOD, 1)
    assert dict(encode.named_parameters()).keys() == dict(encoder(FOOD, 4).named_parameters()).keys()
    encode(rows(layout)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for _, p in encode.named_parameters())


def test_what_comes_behind_the_observation_is_the_observers_own():
    layout, encode = layout_of(task_card(SPREAD)), encoder(SPREAD, extra=2)
    x = rows(layout, 2)
    changed = x.clone()
    changed[..., -1] += 1.0
    assert (encode(changed) - encode(x)).abs().amax(dim=-1).min() > 1e-4


def test_a_copy_is_computed_from_its_own_parameters_alone():
    layout = layout_of(task_card(SPREAD))
    x = rows(layout)
    both, second = encoder(SPREAD), encoder(SPREAD, keys=(2,))
    out = both(x)
    torch.testing.assert_close(out[1:], second(x[1:]))
    out[1].square().sum().backward()
    second(x[1:]).square().sum().backward()
    for (name, p), (_, q) in zip(both.named_parameters(), second.named_parameters()):
        assert not bool(p.grad[0].any()), name
        torch.testing.assert_close(p.grad[1:], q.grad, msg=name)


def test_gradients_equal_finite_differences():
    layout, encode = layout_of(task_card(FOOD)), encoder(FOOD, keys=(5,))
    x = rows(layout)[:1].double()
    x[:, 0, list(layout.kinds[0].slots[1])] = torch.tensor([-1.0, -1.0, 0.0], dtype=torch.float64)
    for part in encode.parts.values():
        for tensors in (part.weights, part.biases):
            tensors[:] = [t.detach().double().requires_grad_() for t in tensors]
    parameters = [p for _, p in encode.named_parameters()]
    encode(x).square().sum().backward()
    for p in parameters:
        place = tuple(s // 2 for s in p.shape)
        with torch.no_grad():
            values = []
            for step in (1e-6, -1e-6):
                p[place] += step
                values.append(encode(x).square().sum())
                p[place] -= step
        assert float(p.grad[place]) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_network_behind_it_is_of_one_size_too(memory, copies):
    card = task_card(SPREAD)
    net = AgentNetwork(
        (18, 8, 5), list(range(2 * copies)), 2, 3, memory=memory, layout=layout_of(card), activation="relu"
    )
    x = torch.randn(2, 6, 3, 18)
    if memory == "none":
        assert net(x).shape == (2, 6, 3, 5)
    else:
        out, after = net.along(x[:, None], net.initial_memory(12).unflatten(0, (2, 6)))
        assert out.shape == (2, 1, 6, 3, 5) and after.shape == (2, 1, 6, 3, 8)
    names = [n for n, _ in net.named_parameters()]
    assert "entities.look.1.weight.0" in names and len(names) == len(set(names))
    assert set(net.state_dict()) == set(names)
