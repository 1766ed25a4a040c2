"""Stacked modules: M copies of one network as parameters [M, ...], evaluated in one batched product.

Replicas, agents without sharing and vertices of one generation are all "M copies". Copy k is computed
from its own parameters alone, so its gradients are those it would have without the others.

Axes: **M** copies, **n** rows per copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlnet_bench import rng

aten = torch.ops.aten
_MINUS_ONE = torch.tensor(-1.0)


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity f that :class:`StackedMLP` evaluates in place.

    ``scale`` is what a layer's result is multiplied by inside its matrix product, before ``apply_`` makes it f(x);
    ``pull_`` turns the gradient of f into the gradient of x, given f's value. Calling it is plain f, for autograd.
    """

    plain: Callable[[Tensor], Tensor]
    scale: float
    apply_: Callable[[Tensor], Tensor]
    pull_: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """f(x), a new tensor."""
        return self.plain(x)


def _tanh_of_half_(x: Tensor) -> Tensor:
    """tanh(x / 2) = 2 sigmoid(x) - 1. Torch's tanh is that of MKL, 8 times slower on processors not made by Intel."""
    return torch.add(_MINUS_ONE, x.sigmoid_(), alpha=2.0, out=x)


def _pull_tanh_(gradient: Tensor, value: Tensor) -> Tensor:
    return aten.tanh_backward.grad_input(gradient, value, grad_input=gradient)


def _pull_relu_(gradient: Tensor, value: Tensor) -> Tensor:
    return aten.threshold_backward.grad_input(gradient, value, 0, grad_input=gradient)


ACTIVATIONS = {
    "tanh": Activation(torch.tanh, 2.0, _tanh_of_half_, _pull_tanh_),
    "relu": Activation(torch.relu, 1.0, torch.relu_, _pull_relu_),
}


def _layers(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: Activation) -> list[Tensor]:
    """The result of every layer, [M, n, width] each."""
    results: list[Tensor] = []
    for weight, bias in zip(weights, biases):
        if len(results) == len(weights) - 1:
            x = torch.baddbmm(bias, x, weight)
        else:
            x = activation.apply_(torch.baddbmm(bias, x, weight, beta=activation.scale, alpha=activation.scale))
        results.append(x)
    return results


class _Products(torch.autograd.Function):
    """A whole MLP as one node of the graph: what is kept are the layers' results, and gradients are pulled in place."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        *hidden, out = _layers(x, weights, biases, activation)
        ctx.activation = activation
        ctx.save_for_backward(*weights, x, *hidden)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # unpacked whenever it is asked for
        depth = len(saved) // 2
        weights, inputs = saved[:depth], saved[depth:]
        found: list[Tensor | None] = []
        below: Tensor | None = gradient
        for i in range(depth - 1, -1, -1):
            assert below is not None
            learned = ctx.needs_input_grad[2 + 2 * i]
            found[:0] = (torch.bmm(inputs[i].mT, below), below.sum(dim=1, keepdim=True)) if learned else (None, None)
            below = torch.bmm(below, weights[i].mT) if i > 0 or ctx.needs_input_grad[1] else None
            if i > 0 and below is not None:
                below = ctx.activation.pull_(below, inputs[i])
        return None, below, *found


def copy_keys(seeds: Sequence[int], copies_per_seed: int, *networks: int) -> list[int]:
    """Initialisation keys of R * networks * copies_per_seed copies, replica-major, network by network.

    ``networks`` number the networks of one method (actor 0, critic 1, ...), so that each draws its own; several stand
    side by side in one stack.
    """
    return [
        rng.fold_int(s, int(rng.Stream.WEIGHTS), n, c) for s in seeds for n in networks for c in range(copies_per_seed)
    ]


def rows_of(network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """A network of rows [M, n, ...], each input's, along time where they have it: [M, n, ...] or [T, M, n, ...]."""
    if inputs[0].ndim == 3:
        return network(*inputs)
    flat = network(*(x.transpose(0, 1).flatten(1, 2) for x in inputs))
    return flat.unflatten(1, (len(inputs[0]), -1)).transpose(0, 1)


def named(parts: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The parameters of parts by name."""
    for name, part in parts.items():
        for key, p in part.named_parameters():
            yield f"{name}.{key}", p


class Parts:
    """A network that is made of networks."""

    parts: Mapping[str, Any]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [M, ...]."""
        return named(self.parts)

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each [M, ...]."""
        return (p for _, p in self.named_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters by name."""
        return {name: p.detach() for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        load_tensors(dict(self.named_parameters()), state)


class StackedMLP(Parts):
    """M multi-layer perceptrons: linear layers with an activation between them, none after the last."""

    def __init__(
        self,
        sizes: Sequence[int],
        keys: Sequence[int],
        *,
        activation: str = "tanh",
        output_gain: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Orthogonal weights (gain sqrt(2), last layer ``output_gain``), zero biases.

        Args:
            sizes: layer widths, input first.
            keys: one initialisation key per copy: copy k has the same weights in every stack.
            activation: a name in :data:`ACTIVATIONS`.
            output_gain: scale of the last layer; 0.01 makes a nearly uniform policy.
            device: where the parameters live.
        """
        self.sizes, self.activation = tuple(sizes), ACTIVATIONS[activation]
        self.weights: list[Tensor] = []  # [M, in, out]
        self.biases: list[Tensor] = []  # [M, 1, out]
        for layer, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:])):
            gain = output_gain if layer == len(sizes) - 2 else math.sqrt(2.0)
            weight = torch.stack([_orthogonal(fan_in, fan_out, gain, key, layer) for key in keys])
            self.weights.append(weight.to(device).requires_grad_())
            self.biases.append(torch.zeros(len(keys), 1, fan_out, device=device).requires_grad_())

    def __call__(self, x: Tensor) -> Tensor:
        """[M, n, in] -> [M, n, out]."""
        if torch.is_grad_enabled():
            return _Products.apply(self.activation, x, *self.parameters())
        return _layers(x, self.weights, self.biases, self.activation)[-1]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [M, ...]."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            yield f"weight.{i}", weight
            yield f"bias.{i}", bias


@torch.no_grad()
def load_tensors(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str = "") -> None:
    """Copy values into tensors of the same names, in place, so that optimisers keep their references.

    Raises:
        ValueError: naming every missing, unexpected or wrongly shaped tensor; nothing is copied then.
    """
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is unexpected" for name in state if name not in own]
    wrong += [
        f"{name}: expected shape {tuple(tensor.shape)}, found {tuple(state[name].shape)}"
        for name, tensor in own.items()
        if name in state and tensor.shape != state[name].shape
    ]
    if wrong:
        raise ValueError(f"{where}weights that do not fit: {'; '.join(sorted(wrong))}")
    for name, tensor in own.items():
        tensor.copy_(state[name])


def _orthogonal(fan_in: int, fan_out: int, gain: float, key: int, layer: int) -> Tensor:
    """One orthogonal matrix [in, out] from a key (Saxe et al. 2014), drawn on the host."""
    generator = torch.Generator().manual_seed(rng.fold_int(key, layer) & 0x7FFF_FFFF_FFFF_FFFF)
    weight = torch.empty(fan_out, fan_in)
    torch.nn.init.orthogonal_(weight, gain, generator=generator)
    return weight.t().contiguous()
