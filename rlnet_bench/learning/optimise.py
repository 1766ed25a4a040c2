"""Optimisation of stacked parameters: clipping, freezing and finiteness per replica.

Axes: **M** copies of R replicas, replica-major (M = R * copies per replica).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # Adam's


def per_replica(tensor: Tensor, replicas: int) -> Tensor:
    """View [M, ...] as [R, everything else]."""
    return tensor.reshape(replicas, -1)


def clip_gradients(gradients: Sequence[Tensor], replicas: int, max_norm: float) -> Tensor:
    """Scale each replica's gradient, in parts [M, ...], to at most ``max_norm``; returns the norms before, [R]."""
    parts = [per_replica(g, replicas) for g in gradients]
    squares = [g.square().sum(dim=1) for g in parts]
    norm = (squares[0] if len(squares) == 1 else torch.stack(squares).sum(dim=0)).sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)[:, None]
    for g in parts:
        g.mul_(scale)
    return norm


def zero_replicas(tensors: Iterable[Tensor | None], frozen: Tensor) -> None:
    """Set the slices of frozen replicas [R] bool to zero, whatever they hold (NaN included)."""
    with torch.no_grad():
        for tensor in tensors:
            if tensor is not None:
                rows = frozen.repeat_interleave(len(tensor) // len(frozen))
                tensor.masked_fill_(rows.view(-1, *[1] * (tensor.ndim - 1)), 0.0)


def finite_replicas(tensors: Sequence[Tensor], replicas: int) -> Tensor:
    """[R] bool: all tensors [R * anything, ...] of the replica are finite."""
    whole = torch.cat([per_replica(p.detach(), replicas) for p in tensors], dim=1)
    return whole.mul_(0.0).sum(dim=1) == 0.0  # 0 times anything else is NaN: a fifth of the time of asking one by one


class _Block:
    """Parameters with one leading size, side by side in one tensor [M, P]: a step is then a handful of calls.

    The parameters become views of it; so do the gradients that a step collects. Copy by copy, so that a replica's
    numbers lie together.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        copies = len(parameters[0])
        self.parameters = parameters
        self.values = torch.cat([p.detach().reshape(copies, -1) for p in parameters], dim=1)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.values) for _ in range(3))
        self.steps = 0
        self.own: Tensor | None = None  # [M, 1]: steps that some copies have made beyond those of all
        for p, own in zip(parameters, self._views(self.values)):
            p.data = own
        self.gradients = self._views(self.gradient)

    def _views(self, whole: Tensor) -> list[Tensor]:
        parts = whole.split([p.numel() // len(p) for p in self.parameters], dim=1)
        return [part.view(p.shape) for part, p in zip(parts, self.parameters)]

    def collect(self) -> None:
        """Take over what backward passes left at the parameters; nothing counts as zero."""
        for p, own in zip(self.parameters, self.gradients):
            if p.grad is None:
                own.zero_()
            else:
                own.copy_(p.grad)

    def state_dict(self) -> dict[str, Any]:
        """Moments and counts."""
        counts = {"steps": self.steps} | ({} if self.own is None else {"own": self.own})
        return {**counts, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore in place."""
        self.steps, own = int(state["steps"]), state.get("own")
        self.own = None if own is None else own.to(self.mean.device).clone()
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])

    def step_some(self, rows: Tensor, rate: float, eps: float) -> None:
        """:meth:`step` of the copies ``rows`` [M, 1] (1 or 0) alone, each by its own count of steps."""
        self.own = rows.clone() if self.own is None else self.own + rows
        count = (self.steps + self.own).clamp(min=1.0)
        first, second = 1 - BETAS[0] ** count, 1 - BETAS[1] ** count
        self.mean.lerp_(self.gradient, (1 - BETAS[0]) * rows)
        self.square.lerp_(self.gradient.square(), (1 - BETAS[1]) * rows)
        deviation = (self.square / second).sqrt_().add_(eps)
        self.values.addcdiv_(self.mean * (rows / first), deviation, value=-rate)

    def step(self, rate: float, eps: float) -> None:
        """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1)."""
        if self.own is not None:
            return self.step_some(torch.ones_like(self.own), rate, eps)
        self.steps += 1
        first, second = 1 - BETAS[0] ** self.steps, 1 - BETAS[1] ** self.steps
        self.mean.lerp_(self.gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
        deviation = self.square.sqrt().mul_(second**-0.5).add_(eps)
        self.values.addcdiv_(self.mean, deviation, value=-rate / first)


class Optimiser:
    """Adam over named groups of stacked parameters; every replica and group is clipped by itself.

    The groups are what is stepped and clipped alone (an actor, a critic): ``step`` with names leaves the others, and
    their moments, as they are.
    """

    def __init__(
        self,
        groups: Mapping[str, Iterable[Tensor]],
        replicas: int,
        *,
        learning_rate: float | Mapping[str, float],
        max_grad_norm: float,
        eps: float = 1e-5,
    ) -> None:
        """Nothing is stepped yet; the parameters' storage moves into the optimiser's.

        Args:
            groups: parameters by name, each [R * copies, ...].
            replicas: R.
            learning_rate: one for all, or one per group.
            max_grad_norm: per replica and group; ``inf`` clips nothing.
            eps: Adam's.
        """
        self.groups = {name: list(parameters) for name, parameters in groups.items()}
        self.parameters = [p for group in self.groups.values() for p in group]
        self.replicas, self.max_grad_norm, self.eps = replicas, max_grad_norm, eps
        self.rates = learning_rate if isinstance(learning_rate, Mapping) else dict.fromkeys(self.groups, learning_rate)
        self.left = 1.0
        self.blocks = {name: _blocks(group) for name, group in self.groups.items()}

    def anneal(self, left: float) -> None:
        """Set every learning rate to this share of its full value."""
        self.left = left

    @property
    def learning_rates(self) -> dict[str, float]:
        """Every group's learning rate now."""
        return {name: rate * self.left for name, rate in self.rates.items()}

    def zero(self) -> None:
        """Forget all gradients; to be called before they are accumulated."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(
        self, frozen: Tensor, names: Collection[str] = (), rows: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Clip and step.

        Args:
            frozen: [R] bool on the host; gradients of frozen replicas count as zero.
            names: the groups to step; all by default. Groups without a gradient are left alone.
            rows: by group, which of its copies [M] (bool) are stepped. The others stay, and with them their moments
                and their counts of steps: to Adam a gradient of zero would be a step.

        Returns:
            Gradient norms [R] before clipping, per group that was stepped.
        """
        norms = {}
        for name in names or self.groups:
            if all(p.grad is None for p in self.groups[name]):
                continue
            blocks = self.blocks[name]
            for block in blocks:
                block.collect()
            gradients = [block.gradient for block in blocks]
            if bool(frozen.any()):
                zero_replicas(gradients, frozen.to(gradients[0].device))
            some = None if rows is None or name not in rows else rows[name][:, None].to(gradients[0].dtype)
            if some is not None:
                for gradient in gradients:
                    gradient.mul_(some)
            norms[name] = clip_gradients(gradients, self.replicas, self.max_grad_norm)
            for block in blocks:
                if some is None:
                    block.step(self.rates[name] * self.left, self.eps)
                else:
                    block.step_some(some, self.rates[name] * self.left, self.eps)
        return norms

    def slots(self) -> list[Tensor]:
        """Adam's moments, [M, ...] each."""
        return [slot for block in self._all() for slot in (block.mean, block.square)]

    def state_dict(self) -> dict[str, Any]:
        """Adam's moments and counts, in the order of the groups."""
        return {"blocks": [block.state_dict() for block in self._all()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict` for an optimiser over the same parameters."""
        for block, kept in zip(self._all(), state["blocks"], strict=True):
            block.load_state_dict(kept)

    def _all(self) -> list[_Block]:
        return [block for blocks in self.blocks.values() for block in blocks]


def _blocks(parameters: Sequence[Tensor]) -> list[_Block]:
    by_size: dict[int, list[Tensor]] = {}
    for p in parameters:
        by_size.setdefault(len(p), []).append(p)
    return [_Block(group) for group in by_size.values()]
