"""Optimisation of stacked parameters: clipping, freezing and finiteness per replica.

Axes: **M** copies of R replicas, replica-major (M = R * copies per replica).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def per_replica(tensor: Tensor, replicas: int) -> Tensor:
    """View [M, ...] as [R, everything else]."""
    return tensor.reshape(replicas, -1)


def clip_gradients(parameters: Sequence[Tensor], replicas: int, max_norm: float) -> Tensor:
    """Scale each replica's gradient to at most ``max_norm``; returns the norms before, [R]."""
    grads = [per_replica(p.grad, replicas) for p in parameters if p.grad is not None]
    norm = torch.stack([g.square().sum(dim=1) for g in grads]).sum(dim=0).sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)[:, None]
    for g in grads:
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
    return torch.stack([per_replica(p.detach(), replicas).isfinite().all(dim=1) for p in tensors]).all(dim=0)


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
        """Nothing is stepped yet.

        Args:
            groups: parameters by name, each [R * copies, ...].
            replicas: R.
            learning_rate: one for all, or one per group.
            max_grad_norm: per replica and group; ``inf`` clips nothing.
            eps: Adam's.
        """
        self.groups = {name: list(parameters) for name, parameters in groups.items()}
        self.parameters = [p for group in self.groups.values() for p in group]
        self.replicas, self.max_grad_norm = replicas, max_grad_norm
        rates = learning_rate if isinstance(learning_rate, Mapping) else dict.fromkeys(self.groups, learning_rate)
        by_rate: dict[float, list[Tensor]] = {}
        for name, group in self.groups.items():
            by_rate.setdefault(rates[name], []).extend(group)
        self._full_rates = list(by_rate)  # groups of one rate share a launch
        self.adam = torch.optim.Adam(
            [{"params": ps, "lr": rate} for rate, ps in by_rate.items() if ps], lr=1.0, eps=eps, fused=True
        )

    def anneal(self, left: float) -> None:
        """Set every learning rate to this share of its full value."""
        for group, rate in zip(self.adam.param_groups, self._full_rates):
            group["lr"] = rate * left

    @property
    def learning_rate(self) -> float:
        """The first group's learning rate now."""
        return float(self.adam.param_groups[0]["lr"])

    def zero(self) -> None:
        """Forget all gradients; to be called before they are accumulated."""
        for p in self.parameters:
            p.grad = None

    def step(self, frozen: Tensor, names: Collection[str] = ()) -> dict[str, Tensor]:
        """Clip and step.

        Args:
            frozen: [R] bool on the host; gradients of frozen replicas count as zero.
            names: the groups to step; all by default. Groups without a gradient are left alone.

        Returns:
            Gradient norms [R] before clipping, per group that was stepped.
        """
        chosen = {name: self.groups[name] for name in names} if names else self.groups
        if names:
            for name in self.groups.keys() - chosen.keys():
                for p in self.groups[name]:
                    p.grad = None
        if bool(frozen.any()):
            zero_replicas((p.grad for p in self.parameters), frozen.to(self.parameters[0].device))
        norms = {}
        for name, parameters in chosen.items():
            if any(p.grad is not None for p in parameters):
                norms[name] = clip_gradients(parameters, self.replicas, self.max_grad_norm)
        self.adam.step()
        return norms

    def slots(self) -> list[Tensor]:
        """Adam's moments, shaped like parameters."""
        return [s for state in self.adam.state.values() for s in state.values() if s.ndim > 0]

    def state_dict(self) -> dict[str, Any]:
        """Parameters by group and place, and Adam's tensors (nested plain tensors, nothing pickled)."""
        return {str(i): dict(slots) for i, slots in self.adam.state_dict()["state"].items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict` for an optimiser over the same parameters."""
        full = self.adam.state_dict()
        full["state"] = {int(i): dict(slots) for i, slots in state.items()}
        self.adam.load_state_dict(full)
