"""Reading the bus: one gather per stack.

Axes: **R** replicas, **n** rows, **K** vertices of a stack, **F** features, **W** width of the bus.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlnet_bench.networks.stacks import Reading


class Gather:
    """A :class:`~rlnet_bench.networks.wiring.Reading` as index tensors; ids are appended where asked for."""

    def __init__(self, reading: Reading, ids: Tensor | None, device: str | torch.device) -> None:
        k, f = len(reading.slots), reading.width
        self.shape, self.ids = (k, f), ids
        flat = [i for row in reading.slots for i in row]
        self.start = flat[0] if flat == list(range(flat[0], flat[0] + k * f)) else None
        self.index = torch.tensor(flat, device=device)
        extra = 0 if ids is None else ids.shape[1]
        self.width = f + extra
        factor = torch.tensor(reading.factor, device=device)
        self.factor = None if bool((factor == 1).all()) else factor
        again = torch.tensor(reading.again, device=device)
        again = torch.cat((again, again.new_full((k, extra), -1)), dim=1)
        self.fresh = None if bool((again < 0).all()) else (again >= 0)
        self.again = again.clamp(min=0).flatten()
        weight = torch.tensor(reading.weight, device=device)
        self.weight = torch.cat((weight, weight.new_full((k, extra), -1)), dim=1)

    def __call__(self, bus: Tensor) -> Tensor:
        """[R, n, W] -> [R, n, K, F]."""
        k, f = self.shape
        if self.start is not None:
            x = bus[..., self.start : self.start + k * f].unflatten(-1, (k, f))
        else:
            x = bus.index_select(-1, self.index).unflatten(-1, (k, f))
        if self.factor is not None:
            x = x * self.factor
        return x if self.ids is None else torch.cat((x, self.ids.expand(*x.shape[:-1], -1)), dim=-1)

    def renew(self, x: Tensor, again: Sequence[Tensor]) -> Tensor:
        """Features as acted, with what training computed again in its place."""
        if self.fresh is None:
            return x
        z = torch.cat(tuple(again), dim=-1)
        new = z.index_select(-1, self.again.clamp(max=z.shape[-1] - 1)).unflatten(-1, self.fresh.shape)
        if self.factor is not None:
            k, f = self.shape
            new = torch.cat((new[..., :f] * self.factor, new[..., f:]), dim=-1)
        return torch.where(self.fresh, new, x)
