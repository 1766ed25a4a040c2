"""Normalisation of what networks read, before their first layer.

``running``: every feature is shifted and scaled by mean and deviation of all that a network has been trained on so far,
and cut at ten deviations. They are kept with the weights and move between updates only: a rollout and what is learned
from it see the same numbers, and evaluation changes nothing.

``layer``: a row is shifted and scaled by its own mean and deviation (Ba et al. 2016); the affine map that follows there
is the first layer's.

Axes: **M** copies of a network, **n** rows, **F** features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalise = Literal["none", "running", "layer"]
MOST = 10.0  # deviations
TINY = 1e-8  # of a variance: a feature that never changes is 0


class Running:
    """Mean and variance of every feature of M copies, each over its own rows."""

    def __init__(self, copies: int, features: int, device: str | torch.device) -> None:
        """Nothing was seen: mean 0, deviation 1."""
        self.mean = torch.zeros(copies, 1, features, device=device)
        self.variance = torch.ones(copies, 1, features, device=device)
        self.count = torch.zeros(copies, 1, 1, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        """[M, n, F] -> [M, n, F]."""
        return ((x - self.mean) * (self.variance + TINY).rsqrt()).clamp(-MOST, MOST)

    @torch.no_grad()
    def see(self, x: Tensor) -> None:
        """Fold in rows [M, n, F] (Chan et al. 1983): afterwards the moments are those of all rows ever seen."""
        n = x.shape[1]
        total = self.count + n
        apart = x.mean(dim=1, keepdim=True) - self.mean
        spread = self.variance * self.count + x.var(dim=1, keepdim=True, correction=0) * n
        self.variance.copy_((spread + apart.square() * self.count * n / total) / total)
        self.mean.add_(apart * n / total)
        self.count.copy_(total)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept with the weights, each [M, ...]."""
        return {"input.mean": self.mean, "input.variance": self.variance, "input.count": self.count}


def by_row(x: Tensor) -> Tensor:
    """``layer``: [..., F] -> [..., F]."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:])
