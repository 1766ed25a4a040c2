"""A stack of M networks is M separate networks: forward, gradients, clipping, freezing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rlnet_bench.learning.optimise import clip_gradients, finite_replicas, zero_replicas
from rlnet_bench.learning.stacked import StackedMLP, copy_keys

SIZES = (5, 7, 6, 3)


def twins(stack: StackedMLP, activation: type[nn.Module]) -> list[nn.Sequential]:
    """One torch.nn network per copy, with the same weights."""
    out = []
    for m in range(len(stack.weights[0])):
        layers: list[nn.Module] = []
        for i, (w, b) in enumerate(zip(stack.weights, stack.biases)):
            linear = nn.Linear(w.shape[1], w.shape[2])
            with torch.no_grad():
                linear.weight.copy_(w[m].t())
                linear.bias.copy_(b[m, 0])
            layers += [linear] + ([activation()] if i < len(stack.weights) - 1 else [])
        out.append(nn.Sequential(*layers))
    return out


@pytest.mark.parametrize(("name", "module"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_equals_separate_modules(name: str, module: type[nn.Module]) -> None:
    stack = StackedMLP(SIZES, copy_keys((3, 4), 2, 0), activation=name)
    separate = twins(stack, module)
    x = torch.randn(4, 11, 5, generator=torch.Generator().manual_seed(0))
    out = stack(x)
    out.square().sum().backward()
    for m, net in enumerate(separate):
        expected = net(x[m])
        torch.testing.assert_close(out[m], expected, rtol=0, atol=1e-6)
        expected.square().sum().backward()
        linears = [layer for layer in net if isinstance(layer, nn.Linear)]
        for i, linear in enumerate(linears):
            weight, bias = stack.weights[i].grad, stack.biases[i].grad
            assert weight is not None and bias is not None and linear.weight.grad is not None
            torch.testing.assert_close(weight[m], linear.weight.grad.t(), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(bias[m, 0], linear.bias.grad, rtol=1e-5, atol=1e-6)


def test_initial_weights_are_orthogonal_and_follow_the_seed_alone() -> None:
    together = StackedMLP(SIZES, copy_keys((1, 2, 3), 2, 0), output_gain=0.01)
    alone = StackedMLP(SIZES, copy_keys((2,), 2, 0), output_gain=0.01)
    for a, b in zip(together.parameters(), alone.parameters()):
        assert torch.equal(a[2:4], b)
    for m in range(6):
        first, last = together.weights[0][m].detach(), together.weights[-1][m].detach()
        torch.testing.assert_close(first @ first.t(), 2 * torch.eye(5), atol=1e-5, rtol=0)
        torch.testing.assert_close(last.t() @ last, 1e-4 * torch.eye(3), atol=1e-8, rtol=0)
    assert all(not bias.any() for bias in together.biases)
    flat = torch.cat([p.flatten(1) for p in together.weights], dim=1)
    assert len({tuple(row[:4].tolist()) for row in flat}) == 6  # every copy has its own
    critic = StackedMLP(SIZES, copy_keys((2,), 2, 1), output_gain=0.01)
    assert not torch.equal(critic.weights[0], alone.weights[0])


def test_initial_weights_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    StackedMLP(SIZES, copy_keys((0,), 1, 0))
    assert torch.equal(before, torch.get_rng_state())


def test_state_dict_round_trip_keeps_the_parameters_themselves() -> None:
    a, b = (StackedMLP(SIZES, copy_keys((s,), 1, 0)) for s in (0, 1))
    kept = list(b.parameters())
    b.load_state_dict(a.state_dict())
    assert all(x is y for x, y in zip(kept, b.parameters()))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))


def test_load_names_what_does_not_fit() -> None:
    net = StackedMLP(SIZES, copy_keys((0,), 1, 0))
    state = net.state_dict()
    with pytest.raises(ValueError, match=r"weight\.0: expected shape \(1, 5, 7\), found \(1, 7, 5\)"):
        net.load_state_dict({**state, "weight.0": state["weight.0"].transpose(1, 2)})
    with pytest.raises(ValueError, match=r"expected tensors .*bias\.0.* found"):
        net.load_state_dict({k: v for k, v in state.items() if k != "bias.0"})


# -- optimisation per replica ------------------------------------------------------------------------------


def graded(shapes: list[tuple[int, ...]], scale: Tensor) -> list[Tensor]:
    """Parameters with gradients, replica k's scaled by scale[k]."""
    generator = torch.Generator().manual_seed(1)
    out = []
    for shape in shapes:
        p = torch.zeros(shape).requires_grad_()
        rows = len(p) // len(scale)
        p.grad = torch.randn(shape, generator=generator) * scale.repeat_interleave(rows).view(-1, 1, 1)
        out.append(p)
    return out


def test_clipping_each_replica_equals_clipping_it_alone() -> None:
    scale = torch.tensor([0.001, 1.0, 100.0])
    together = graded([(3, 4, 5), (6, 1, 5)], scale)  # one copy per replica, and two
    grads = [p.grad.clone() for p in together if p.grad is not None]
    norms = clip_gradients(together, 3, 0.5)
    for k in range(3):
        alone = []
        for g in grads:
            rows = len(g) // 3
            p = torch.zeros(rows, *g.shape[1:]).requires_grad_()
            p.grad = g[k * rows : (k + 1) * rows].clone()
            alone.append(p)
        expected = nn.utils.clip_grad_norm_(alone, 0.5)
        assert norms[k].item() == pytest.approx(expected.item(), rel=1e-6)
        for p, q in zip(together, alone):
            rows = len(q)
            assert p.grad is not None and q.grad is not None
            torch.testing.assert_close(p.grad[k * rows : (k + 1) * rows], q.grad, rtol=1e-6, atol=1e-9)


def test_clipping_leaves_healthy_replicas_alone_when_one_is_nan() -> None:
    clean, sick = graded([(3, 4, 5)], torch.ones(3)), graded([(3, 4, 5)], torch.ones(3))
    assert sick[0].grad is not None and clean[0].grad is not None
    sick[0].grad[1] = float("nan")
    clip_gradients(clean, 3, 0.5)
    clip_gradients(sick, 3, 0.5)
    assert torch.equal(clean[0].grad[[0, 2]], sick[0].grad[[0, 2]])


def test_freezing_and_finiteness_per_replica() -> None:
    p = torch.ones(4, 2, 2).requires_grad_()
    q = torch.ones(2, 1, 3).requires_grad_()
    with torch.no_grad():
        p[3, 0, 0] = float("inf")
        q[0, 0, 1] = float("nan")
    assert finite_replicas([p, q], 2).tolist() == [False, False]
    zero_replicas([p, q, None], torch.tensor([True, False]))
    assert finite_replicas([p, q], 2).tolist() == [True, False]
    assert not p[:2].any() and not q[0].any() and bool((q[1] == 1).all())
