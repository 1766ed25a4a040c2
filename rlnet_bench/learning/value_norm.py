"""Running normalisation of value targets, one mean and scale per replica.

After Yu et al. 2022 (MAPPO), who attribute it to PopArt (van Hasselt et al. 2016): the critic predicts
normalised returns; statistics are debiased exponential averages.
"""

from __future__ import annotations

import torch
from torch import Tensor

DECAY = 0.99  # per update of a whole batch, not per minibatch


class ValueNorm:
    """Debiased exponential mean and variance per replica [R]."""

    def __init__(self, replicas: int, device: str | torch.device) -> None:
        self.mean = torch.zeros(replicas, device=device)
        self.square = torch.zeros(replicas, device=device)
        self.weight = torch.zeros(replicas, device=device)

    def update(self, returns: Tensor) -> None:
        """Fold in a batch of returns [R, n]."""
        self.mean.mul_(DECAY).add_(returns.mean(dim=1), alpha=1 - DECAY)
        self.square.mul_(DECAY).add_(returns.square().mean(dim=1), alpha=1 - DECAY)
        self.weight.mul_(DECAY).add_(1 - DECAY)

    def moments(self) -> tuple[Tensor, Tensor]:
        """(mean, standard deviation), [R] each; 0 and 1 before the first update."""
        weight = self.weight.clamp(min=1e-8)
        mean = self.mean / weight
        deviation = (self.square / weight - mean.square()).clamp(min=1e-4).sqrt()
        started = self.weight > 0
        return torch.where(started, mean, 0.0), torch.where(started, deviation, 1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """The three running sums."""
        return {"mean": self.mean, "square": self.square, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
