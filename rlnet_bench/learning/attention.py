"""Stacked attention: R transformers over the agents of a team, evaluated together (Vaswani et al. 2017, section 3.2).

Axes: **R** replicas, **n** joint steps, **N** tokens (one per agent), **D** numbers of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from rlnet_bench import rng
from rlnet_bench.learning.stacked import StackedMLP, named


class Parameters(Protocol):
    """Whatever has named parameters."""

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Each [R, ...]."""
        ...


class Tokens:
    """An MLP of every token: [R, n, N, in] -> [R, n, N, out]."""

    def __init__(self, sizes: Sequence[int], keys: Sequence[int], *counters: int, gain: float = 2**0.5, **more: Any):
        """``counters`` tell the networks of one key apart."""
        own = [rng.fold_int(key, *counters) for key in keys]
        self.mlp = StackedMLP(sizes, own, output_gain=gain, **more)

    def __call__(self, x: Tensor) -> Tensor:
        """Tokens in, tokens out."""
        return self.mlp(x.reshape(len(x), -1, x.shape[-1])).view(*x.shape[:-1], -1)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The MLP's."""
        return self.mlp.named_parameters()


class Norm:
    """Layer normalisation of every token, with a scale and a shift per replica (Ba et al. 2016)."""

    def __init__(self, width: int, replicas: int, device: Any = "cpu") -> None:
        self.scale = torch.ones(replicas, width, device=device).requires_grad_()
        self.shift = torch.zeros(replicas, width, device=device).requires_grad_()

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, N, D] -> the same."""
        scale, shift = (p[:, None, None] for p in (self.scale, self.shift))
        return torch.addcmul(shift, layer_norm(x, x.shape[-1:]), scale)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Scale and shift."""
        yield "scale", self.scale
        yield "shift", self.shift


class Attention:
    """Multi-head attention of tokens to tokens."""

    def __init__(self, width: int, heads: int, keys: Sequence[int], *counters: int, **more: Any) -> None:
        """``width`` is shared by the heads."""
        self.heads = heads
        self.parts = {
            name: Tokens((width, width), keys, *counters, i, gain=1.0, **more)
            for i, name in enumerate(("query", "key", "value", "out"))
        }

    def __call__(self, to: Tensor, of: Tensor, causal: bool = False) -> Tensor:
        """What tokens ``to`` [R, n, N, D] read in ``of`` [R, n, M, D]; causal (M = N): token i in 0 to i alone."""
        r, n, agents, width = to.shape

        def split(name: str, x: Tensor) -> Tensor:
            """[R * n, heads, tokens, D / heads]."""
            return self.parts[name](x).view(r * n, x.shape[2], self.heads, -1).transpose(1, 2)

        read = scaled_dot_product_attention(
            split("query", to), split("key", of), split("value", of), is_causal=causal
        )  # fmt: skip
        return self.parts["out"](read.transpose(1, 2).reshape(r, n, agents, width))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Of its four products."""
        return named(self.parts)


class Block:
    """x <- norm(x + attention), then x <- norm(x + mlp(x)); with ``crosses``, a second attention of given tokens."""

    def __init__(
        self, width: int, heads: int, keys: Sequence[int], *counters: int, crosses: bool = False, activation: str,
        device: Any = "cpu",
    ) -> None:  # fmt: skip
        names = ("attention", "cross") if crosses else ("attention",)
        self.parts: dict[str, Any] = {}
        for i, name in enumerate(names):
            self.parts[name] = Attention(width, heads, keys, *counters, i, device=device)
            self.parts[f"{name}_norm"] = Norm(width, len(keys), device)
        self.parts["mlp"] = Tokens((width, width, width), keys, *counters, 2, activation=activation, device=device)
        self.parts["mlp_norm"] = Norm(width, len(keys), device)

    def __call__(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """[R, n, N, D] -> the same.

        Without ``given`` every token reads all; with ``given``, whose tokens then read x, token i reads 0 to i alone.
        """
        part = self.parts
        x = part["attention_norm"](x + part["attention"](x, x, causal=given is not None))
        if given is not None:
            x = part["cross_norm"](given + part["cross"](given, x, causal=True))
        return part["mlp_norm"](x + part["mlp"](x))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Of its parts."""
        return named(self.parts)


class Encoding:
    """Of a network made of ``parts``: everybody's features, read by attention among all."""

    parts: Mapping[str, Any]
    activation: Callable[[Tensor], Tensor]
    blocks: range

    def encode(self, features: Tensor) -> Tensor:
        """z [R, n, N, D] of features [R, n, N, F]."""
        z = self.parts["observed_norm"](self.activation(self.parts["observed"](features)))
        for k in self.blocks:
            z = self.parts[f"encoder.{k}"](z)
        return z
