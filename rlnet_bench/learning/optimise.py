"""Optimisation of stacked parameters: clipping, freezing and finiteness per replica.

Axes: **M** copies of R replicas, replica-major (M = R * copies per replica).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
                per_replica(tensor.data, len(frozen)).masked_fill_(frozen[:, None], 0.0)


def finite_replicas(parameters: Sequence[Tensor], replicas: int) -> Tensor:
    """[R] bool: all parameters of the replica are finite."""
    return torch.stack([per_replica(p.detach(), replicas).isfinite().all(dim=1) for p in parameters]).all(dim=0)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's tensors as a nested dict of plain tensors (no pickles needed)."""
    state = optimiser.state_dict()["state"]
    return {str(i): dict(slots) for i, slots in state.items()}


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Inverse of :func:`optimiser_state` for an optimiser over the same parameters."""
    full = optimiser.state_dict()
    full["state"] = {int(i): dict(slots) for i, slots in state.items()}
    optimiser.load_state_dict(full)
