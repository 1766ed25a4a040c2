"""Running normalisation of value targets, one mean and scale per replica.

After Yu et al. 2022 (MAPPO), who attribute it to PopArt (van Hasselt et al. 2016): the critic predicts
normalised returns; statistics are debiased exponential averages.

Axes: **T** steps of a rollout, **R** replicas, **B** environments, **V** values.
"""

from __future__ import annotations

import torch
from torch import Tensor

DECAY = 0.99  # per update of a whole batch, not per minibatch


class ValueNorm:
    """Debiased exponential mean and variance per replica [R]."""

    def __init__(self, replicas: int, device: str | torch.device, enabled: bool = True) -> None:
        """``enabled``: False leaves every number as it is."""
        self.enabled = enabled
        self.mean = torch.zeros(replicas, device=device)
        self.square = torch.zeros(replicas, device=device)
        self.weight = torch.zeros(replicas, device=device)

    def update(self, returns: Tensor, weight: Tensor | None = None) -> None:
        """Fold in returns [T, R, B, V], where ``weight`` [T, R, B, 1] is 1; replicas with none keep what they have."""
        if not self.enabled:
            return
        over = (0, 2, 3)
        if weight is None:
            for running, new in ((self.mean, returns), (self.square, returns.square())):
                running.mul_(DECAY).add_(new.mean(dim=over), alpha=1 - DECAY)
            self.weight.mul_(DECAY).add_(1 - DECAY)
            return
        count = weight.sum(dim=over) * returns.shape[3]
        some, count = (1 - DECAY) * (count > 0), count.clamp(min=1.0)
        for running, new in ((self.mean, returns), (self.square, returns.square())):
            running.add_(some * ((new * weight).sum(dim=over) / count - running))
        self.weight.add_(some * (1.0 - self.weight))

    def moments(self) -> tuple[Tensor, Tensor]:
        """(mean, standard deviation), [R] each; 0 and 1 before the first update."""
        weight = self.weight.clamp(min=1e-8)
        mean = self.mean / weight
        deviation = (self.square / weight - mean.square()).clamp(min=1e-4).sqrt()
        started = self.weight > 0
        return torch.where(started, mean, 0.0), torch.where(started, deviation, 1.0)

    def to_reward(self, value: Tensor) -> Tensor:
        """What the critic says, [T, R, B, V], in the units of the reward."""
        if not self.enabled:
            return value
        mean, std = (x[None, :, None, None] for x in self.moments())
        return value * std + mean

    def to_target(self, returns: Tensor) -> Tensor:
        """Returns [T, R, B, V] as the critic should say them."""
        if not self.enabled:
            return returns
        mean, std = (x[None, :, None, None] for x in self.moments())
        return (returns - mean) / std

    def to_scale(self, difference: Tensor) -> Tensor:
        """A difference of returns, [T, R, B, V], in the units in which the critic speaks."""
        return difference / self.moments()[1][None, :, None, None] if self.enabled else difference

    def state_dict(self) -> dict[str, Tensor]:
        """The three running sums."""
        return {"mean": self.mean, "square": self.square, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore in place."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
