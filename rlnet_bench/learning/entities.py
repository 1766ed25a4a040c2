"""Reading an observation as entities: no parameter depends on how many there are, and their order does not matter.

Every entity becomes a token, made of what is observed of it and of the observer (as in Baker et al. 2020,
arXiv:1909.07528: entities beside the agent's own numbers). The observer looks at the tokens of every kind by
dot-product attention (Vaswani et al. 2017, eq. 1; one head, a query per kind), and once more with queries that know
what it saw first (hops, as in Sukhbaatar et al. 2015, arXiv:1503.08895): where a landmark is worth going to depends on
where the others are. What is absent is not looked at.

Axes: **M** copies, **n** rows, **F** features, **E** entities of a kind, **D** numbers of a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlnet_bench import rng
from rlnet_bench.envs.layout import Kind, Layout
from rlnet_bench.learning.stacked import ACTIVATIONS, StackedMLP, named

TOKEN, LOOK = 1 << 10, 1 << 11  # counters of initialisation keys beside the layers' own
WIDTH = 16  # D
HOPS = 2
FAR = -1e9  # the score of what is absent


class Entities:
    """M encoders: [M, n, F] -> [M, n, :attr:`width`]."""

    def __init__(
        self, layout: Layout, features: int, keys: Sequence[int], activation: str, device: str | torch.device = "cpu"
    ) -> None:
        """Freshly initialised.

        Args:
            layout: of the first ``layout.width`` features; any others are the observer's own.
            features: F.
            keys: one initialisation key per copy.
            activation: of the tokens.
            device: where the parameters live.
        """
        self.kinds, self.activation = layout.kinds, ACTIVATIONS[activation]
        own = (*layout.own, *range(layout.width, features))
        self.own = torch.tensor(own, dtype=torch.int64, device=device)
        self.slots = [torch.tensor(k.slots, dtype=torch.int64, device=device).flatten() for k in self.kinds]
        self.absent = [None if k.absent is None else torch.tensor(k.absent, device=device) for k in self.kinds]
        self.width = WIDTH * (1 + HOPS * len(self.kinds))

        def net(number: int, inputs: int, outputs: int, gain: float) -> StackedMLP:
            return StackedMLP(
                (inputs, outputs), [rng.fold_int(k, number) for k in keys], output_gain=gain, device=device
            )

        inputs = len(own) or 1
        self.parts = {"self": net(TOKEN, inputs, WIDTH, math.sqrt(2.0))}
        for i, kind in enumerate(self.kinds):
            self.parts[kind.name] = net(TOKEN + 1 + i, inputs + kind.width, WIDTH, math.sqrt(2.0))
        for hop in range(HOPS if self.kinds else 0):
            seen = WIDTH * (1 + hop * len(self.kinds))
            self.parts[f"look.{hop}"] = net(LOOK + hop, seen, WIDTH * len(self.kinds), 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        """The observer's token, and what it saw of every kind at every hop."""
        own = x.index_select(-1, self.own) if len(self.own) else x.new_ones(*x.shape[:2], 1)  # who has no numbers
        seen = [self.activation(self.parts["self"](own))]
        tokens = [self._tokens(x, own, *some) for some in zip(self.kinds, self.slots, self.absent)]
        for hop in range(HOPS if tokens else 0):
            queries = self.parts[f"look.{hop}"](torch.cat(seen, dim=-1)).unflatten(-1, (len(tokens), WIDTH))
            seen += [_look(queries[:, None, :, k], *some) for k, some in enumerate(tokens)]
        return torch.cat(seen, dim=-1)

    def _tokens(
        self, x: Tensor, own: Tensor, kind: Kind, slots: Tensor, absent: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(tokens of a kind [M, E, n, D], which of them are there [M, E, n, 1])."""
        count = len(kind.slots)
        entity = x.index_select(-1, slots).unflatten(-1, (count, kind.width)).transpose(1, 2)
        pairs = torch.cat((own[:, None].expand(-1, count, -1, -1), entity), dim=-1)
        token = self.activation(self.parts[kind.name](pairs.flatten(1, 2))).unflatten(1, pairs.shape[1:3])
        return token, None if absent is None else (entity[..., -len(absent) :] != absent).any(dim=-1, keepdim=True)

    def first_weights(self) -> list[tuple[Tensor, Sequence[int]]]:
        """Weights [M, rows, D] that read the observer's own numbers, and which feature each first row reads."""
        own = self.own.tolist()
        return [(self.parts[name].weights[0], own) for name in ("self", *(kind.name for kind in self.kinds))]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [M, ...]."""
        return named(self.parts)


class _Look(torch.autograd.Function):
    """Attention as one node of the graph: what is kept are the weights, not the products."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, token: Tensor, there: Tensor | None) -> Tensor:
        score = torch.linalg.vecdot(query, token)[..., None] / math.sqrt(token.shape[-1])
        if there is None:
            weight = score.softmax(dim=1)
        else:
            weight = torch.where(there, score, FAR).softmax(dim=1) * there
        ctx.save_for_backward(query, token, weight)
        return (weight * token).sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        query, token, weight = ctx.saved_tensors
        gradient = gradient[:, None]
        of_weight = torch.linalg.vecdot(gradient, token)[..., None]
        # With d(softmax)/d(score) = w_i (1[i = j] - w_j); the weights of what is absent are 0.
        of_score = weight * (of_weight - (weight * of_weight).sum(dim=1, keepdim=True)) / math.sqrt(token.shape[-1])
        of_token = (weight * gradient).addcmul_(of_score, query)
        return (of_score * token).sum(dim=1, keepdim=True), of_token, None


def _look(query: Tensor, token: Tensor, there: Tensor | None) -> Tensor:
    """What a query [M, 1, n, D] finds in tokens [M, E, n, D], [M, n, D]; nothing (zeros) where there are none."""
    found: Tensor = _Look.apply(query, token, there)
    return found
