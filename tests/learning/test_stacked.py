"""A stack of M networks is M separate networks: forward, gradients, clipping, freezing."""

from __future__ import annotations

from collections.abc import Callable

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
    with pytest.raises(ValueError, match=r"bias\.0 is missing; other is unexpected"):
        net.load_state_dict({**{k: v for k, v in state.items() if k != "bias.0"}, "other": state["bias.0"]})


# -- the hand-written backward pass ------------------------------------------------------------------------


def doubled(copies: int, activation: str = "tanh") -> StackedMLP:
    """A stack in float64 with biases that are not zero."""
    net = StackedMLP(SIZES, copy_keys(range(copies), 1, 0), activation=activation)
    generator = torch.Generator().manual_seed(2)
    net.weights = [w.detach().double().requires_grad_() for w in net.weights]
    net.biases = [torch.randn(b.shape, generator=generator).double().requires_grad_() for b in net.biases]
    return net


def plainly(net: StackedMLP, x: Tensor) -> Tensor:
    """The same network, differentiated by torch."""
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases)):
        x = x @ weight + bias
        x = net.activation(x) if i < len(net.weights) - 1 else x
    return x


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("copies", [1, 3])
def test_gradients_are_those_of_torch(copies: int, activation: str) -> None:
    net = doubled(copies, activation)
    x = torch.randn(copies, 9, 5, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    seed = torch.randn(copies, 9, 3, generator=torch.Generator().manual_seed(4)).double()
    leaves = [x, *net.parameters()]
    torch.testing.assert_close(net(x), plainly(net, x), rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad(net(x), leaves, seed)
    for a, b in zip(found, torch.autograd.grad(plainly(net, x), leaves, seed)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_are_finite_differences() -> None:
    net = doubled(2)
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: net(x), (x, *net.parameters()))


def test_two_passes_before_one_backward() -> None:
    """What one pass keeps is not overwritten by the next: two passes added, and one network through another."""
    net = doubled(1)
    a, b = (torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(s)).double() for s in (5, 6))
    widened = torch.nn.functional.pad(net(a), (0, 2))
    (net(widened) + net(b)).square().sum().backward()
    found = [p.grad for p in net.parameters()]
    widened = torch.nn.functional.pad(plainly(net, a), (0, 2))
    expected = torch.autograd.grad((plainly(net, widened) + plainly(net, b)).square().sum(), list(net.parameters()))
    for p, q in zip(found, expected):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_input_gets_no_gradient_that_nobody_asked_for() -> None:
    net = doubled(2)
    x = torch.randn(2, 4, 5).double()
    out = net(x)
    assert out.grad_fn is not None and out.grad_fn.next_functions[0][0] is None  # type: ignore[attr-defined]
    products = [n for n in _kernels(lambda: out.sum().backward()) if n == "aten::bmm"]
    assert len(products) == 2 * len(net.weights) - 1  # one less than with the gradient of the input
    with torch.no_grad():
        assert not net(x).requires_grad
        assert torch.equal(net(x), out)


def _kernels(run: Callable[[], object]) -> list[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        run()
    return [event.name for event in seen.events()]


def test_large_and_missing_numbers_pass() -> None:
    net = StackedMLP((1, 1, 1), copy_keys((0,), 1, 0))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    out = net(torch.tensor([[[1e30], [-1e30], [float("nan")]]]))
    assert out[0, :2, 0].tolist() == [2.0, 0.0] and bool(out[0, 2].isnan())


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
    norms = clip_gradients([p.grad for p in together if p.grad is not None], 3, 0.5)
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
    for parameters in (clean, sick):
        clip_gradients([p.grad for p in parameters if p.grad is not None], 3, 0.5)
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
