"""What can be changed in numbers that agents tell each other: cut, late, coarse, lost, exchanged, drowned in noise.

An edit is told what was read, and where it asks for it also what was read some steps ago.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng

Edit = Callable[[Tensor, Tensor | None], Tensor]  # (features, features one step ago) -> features


@dataclass(frozen=True)
class Habit:
    """What is usually read: mean, least and greatest, each broadcasting against the features."""

    mean: Tensor
    low: Tensor
    high: Tensor
    deviation: Tensor | None = None

    @classmethod
    def of(cls, rows: Tensor, dim: int) -> Habit:
        """Over one dimension of what was read."""
        return cls(rows.mean(dim, keepdim=True), rows.amin(dim, keepdim=True), rows.amax(dim, keepdim=True))


def cut(mask: Tensor, habit: Habit) -> Edit:
    """Marked features bring their mean."""
    return lambda x, before: torch.where(mask, habit.mean, x)


def delayed(mask: Tensor) -> Edit:
    """Marked features bring what they would have brought earlier (zero before the first step)."""
    return lambda x, before: x if before is None else torch.where(mask, before, x)


def quantised(mask: Tensor, habit: Habit, bits: int) -> Edit:
    """Marked features are one of 2 ** bits values between the least and greatest of the walk."""
    levels = 2**bits
    span = (habit.high - habit.low).clamp(min=1e-12)

    def coarse(x: Tensor, before: Tensor | None) -> Tensor:
        step = ((x - habit.low) / span * levels).floor().clamp(0, levels - 1)
        return torch.where(mask, habit.low + (step + 0.5) * span / levels, x)

    return coarse


def nothing(mask: Tensor) -> Edit:
    """Marked features bring zeros."""
    return lambda x, before: torch.where(mask, 0.0, x)


def shuffled(mask: Tensor, env_dim: int) -> Edit:
    """Marked features bring what the neighbouring environment's reader reads at the same step."""
    return lambda x, before: torch.where(mask, x.roll(1, dims=env_dim), x)


class _Drawing:
    """An edit that draws by counter: a number per (step, place in what is read)."""

    def __init__(self) -> None:
        self.step = 0

    def _key(self) -> Tensor:
        self.step += 1
        return torch.tensor(rng.fold_int(0, int(rng.Stream.USER), self.step), dtype=torch.int64)

    def _places(self, shape: Sequence[int], device: torch.device) -> Tensor:
        count = int(np.prod(shape))
        return rng.sequence(self._key().to(device), 1 + torch.arange(count, device=device)).view(*shape)


class Noise(_Drawing):
    """Marked features bring Gaussian noise of the usual mean and deviation."""

    def __init__(self, mask: Tensor, habit: Habit) -> None:
        super().__init__()
        self.mask, self.habit = mask, habit

    def __call__(self, x: Tensor, before: Tensor | None) -> Tensor:
        """See :data:`Edit`."""
        assert self.habit.deviation is not None
        drawn = rng.normal(self._places(x.shape, x.device))
        return torch.where(self.mask, self.habit.mean + self.habit.deviation * drawn, x)


class Dropped(_Drawing):
    """All marked features of a reader bring zeros together, with probability ``p`` in every step."""

    def __init__(self, mask: Tensor, p: float, grain: int) -> None:
        super().__init__()
        self.mask, self.p, self.grain = mask, p, grain

    def __call__(self, x: Tensor, before: Tensor | None) -> Tensor:
        """See :data:`Edit`."""
        shape = x.shape[: x.ndim - self.grain]
        lost = rng.uniform32(self._places(shape, x.device)) < self.p
        return torch.where(self.mask & lost.view(*shape, *[1] * self.grain), 0.0, x)
