"""Stacked modules: M copies of one network as parameters [M, ...], evaluated in one batched product.

Replicas, agents without sharing and vertices of one generation are all "M copies". Copy k is computed
from its own parameters alone, so its gradients are those it would have without the others.

Axes: **M** copies, **n** rows per copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from rlnet_bench import rng

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}


def copy_keys(seeds: Sequence[int], copies_per_seed: int, network: int) -> list[int]:
    """Initialisation keys of R * copies_per_seed copies, replica-major.

    ``network`` numbers the networks of one method (actor 0, critic 1, ...), so that each draws its own.
    """
    return [rng.fold_int(s, int(rng.Stream.WEIGHTS), network, c) for s in seeds for c in range(copies_per_seed)]


class StackedMLP:
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
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = self.activation(x)
        return x

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each [M, ...]."""
        for weight, bias in zip(self.weights, self.biases):
            yield weight
            yield bias

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters by name."""
        pairs = enumerate(zip(self.weights, self.biases))
        return {f"{k}.{i}": p.detach() for i, (w, b) in pairs for k, p in (("weight", w), ("bias", b))}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy values in place, so that optimisers keep their references.

        Raises:
            ValueError: naming a missing, unexpected or wrongly shaped tensor.
        """
        own = {f"{k}.{i}": p for i in range(len(self.weights)) for k, p in self._layer(i)}
        if own.keys() != state.keys():
            raise ValueError(f"expected tensors {sorted(own)}, found {sorted(state)}")
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(f"{name}: expected shape {tuple(parameter.shape)}, found {tuple(state[name].shape)}")
            parameter.copy_(state[name])

    def _layer(self, i: int) -> tuple[tuple[str, Tensor], tuple[str, Tensor]]:
        return ("weight", self.weights[i]), ("bias", self.biases[i])


def _orthogonal(fan_in: int, fan_out: int, gain: float, key: int, layer: int) -> Tensor:
    """One orthogonal matrix [in, out] from a key (Saxe et al. 2014), drawn on the host."""
    generator = torch.Generator().manual_seed(rng.fold_int(key, layer) & 0x7FFF_FFFF_FFFF_FFFF)
    weight = torch.empty(fan_out, fan_in)
    torch.nn.init.orthogonal_(weight, gain, generator=generator)
    return weight.t().contiguous()
