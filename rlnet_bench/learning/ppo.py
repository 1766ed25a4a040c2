"""Proximal policy optimisation in pure functions (Schulman et al. 2017, arXiv:1707.06347), for R replicas at once.

Replicas are independent: every loss is one number per replica, and the gradient of their sum is each replica's own.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **c** rows of a minibatch or a chunk
of it, **N** agents (or vertices).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlnet_bench import rng


@dataclass(frozen=True)
class Batch:
    """A minibatch of joint steps, or a chunk of one.

    ``rows``: tensors [R, c, ...] by name. ``alive`` [R, c, N] is 0 for the dead; ``weight`` [R, c, 1] is 0 where
    nothing was decided. ``steps``: joint steps of the *whole* minibatch, a number or [R]; sums over a chunk, divided by
    it, add up to means over the minibatch.
    """

    rows: dict[str, Tensor]
    steps: Tensor | int

    def __getitem__(self, name: str) -> Tensor:
        return self.rows[name]

    def get(self, name: str) -> Tensor | None:
        """The rows of that name, where there are some."""
        return self.rows.get(name)

    def mean(self, x: Tensor) -> Tensor:
        """This chunk's share of the mean of x [R, c, N] over decisions, [R]."""
        weight = self.rows.get("weight")
        kept = x if weight is None else torch.where(weight > 0, x, 0.0)
        return kept.sum(dim=(1, 2)) / (self.steps * x.shape[2])

    def acting_mean(self, x: Tensor) -> Tensor:
        """The same where the dead count as zero."""
        alive = self.rows.get("alive")
        return self.mean(x if alive is None else x * alive)


class Loss(NamedTuple):
    """What a minibatch (or a chunk of one) says, [R] each; ``total`` is what is minimised."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    clip_fraction: Tensor

    def numbers(self) -> Tensor:
        """All but the total, without gradients, [4, R]."""
        return torch.stack(self[1:]).detach()


METRICS = ("policy_loss", "value_loss", "entropy", "clip_fraction", "gradient_norm")


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(r A, clip(r, 1 - e, 1 + e) A), to be maximised (eq. 7); r = pi(a|s) / pi_old(a|s)."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def half_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """(V - target)^2 / 2, to be minimised (L^VF of eq. 9)."""
    return 0.5 * (value - target).square()


def is_clipped(ratio: Tensor, clip: float) -> Tensor:
    """1 where the policy has moved out of the trust region (in either direction), else 0."""
    return ((ratio.detach() - 1).abs() > clip).to(ratio.dtype)


def normalised(
    advantage: Tensor, over: Literal["replica", "agent", "none"], weight: Tensor | None = None, eps: float = 1e-8
) -> Tensor:
    """Advantages [T, R, B, N] with mean 0 and deviation 1.

    Args:
        advantage: any shape that broadcasts to [T, R, B, N].
        over: all numbers of a replica, or each agent's; ``none`` leaves them as they are.
        weight: [T, R, B, 1 or N], 1 where the number counts; elsewhere the result means nothing.
        eps: added to the deviation.
    """
    if over == "none":
        return advantage
    dim = (0, 2) if over == "agent" else (0, 2, 3)
    if weight is None:
        mean = advantage.mean(dim=dim, keepdim=True)
        std = advantage.std(dim=dim, keepdim=True, correction=0)
    else:
        weight = weight.expand_as(advantage)
        count = weight.sum(dim=dim, keepdim=True).clamp(min=1.0)
        mean = (advantage * weight).sum(dim=dim, keepdim=True) / count
        std = (((advantage - mean) * weight).square().sum(dim=dim, keepdim=True) / count).sqrt()
    return (advantage - mean) / (std + eps)


class Minibatch(NamedTuple):
    """Which numbers an update learns from, chosen per replica."""

    rows: Tensor  # [R, m] of flat buffers [T * R * B, ...]
    envs: Tensor  # [R, e] environments, whose whole rollouts are the same for networks with memory


def minibatches(
    keys: Tensor, counters: tuple[int, ...], shape: tuple[int, int, int], count: int
) -> Iterator[Minibatch]:
    """One epoch: every joint step once; all agents of a step together; replicas never mix.

    Args:
        keys: int64 [R, T * B].
        counters: what the order depends on, beside the keys (iteration, epoch).
        shape: (T, R, B).
        count: minibatches; their sizes differ by one at most.
    """
    _, r, b = shape
    drawn = rng.fold(keys, *counters)
    order, envs = drawn.argsort(dim=1), drawn[:, :b].argsort(dim=1)
    replica = torch.arange(r, device=keys.device)[:, None]
    rows = (order // b) * (r * b) + replica * b + order % b
    yield from map(Minibatch, rows.tensor_split(count, dim=1), envs.tensor_split(count, dim=1))
