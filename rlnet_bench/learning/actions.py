"""From what networks say to what a task wants: legal options, sampling, probabilities, units.

Axes: **N** agents (of a task, or some of them), **A** actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.distributions import (
    categorical_sample,
    categorical_stats,
    gaussian_stats,
    mask_logits,
    squash,
    stretch,
)


class Actions:
    """The actions of some agents of a task, as functions of logits or Gaussian means [..., N, outputs]."""

    def __init__(self, card: TaskCard, agents: Sequence[int] | None = None, device: str | torch.device = "cpu") -> None:
        """``agents``: numbers of the agents, all of the task's by default."""
        rows = list(range(card.num_agents)) if agents is None else list(agents)
        self.discrete, self.factors, self.width = card.action_kind == "discrete", card.action_factors, card.action_size
        self.outputs = sum(card.action_factors) if card.action_factors else card.action_size
        sizes = torch.tensor([card.action_sizes[i] for i in rows], device=device)
        used = torch.arange(card.action_size, device=device)[None] < sizes[:, None]  # [N, A]
        self.legal = None if bool(used.all()) else used
        self.used = None if self.legal is None else self.legal.to(torch.float32)
        self.low: Tensor | float = card.action_low
        self.high: Tensor | float = card.action_high
        if card.action_lows is not None and card.action_highs is not None:
            low, high = card.action_lows, card.action_highs
            self.low, self.high = (_padded([x[i] for i in rows], card.action_size).to(device) for x in (low, high))

    def distribution(self, output: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits or means [..., N, A] of what a network said; options that an agent lacks are pushed away."""
        if self.factors:
            output = joint_logits(output, self.factors)
        return mask_logits(mask_logits(output, self.legal), mask) if self.discrete else output

    def sample(self, output: Tensor, noise: Tensor, spread: Tensor | None) -> Tensor:
        """Raw actions: int64 [..., N] from uniforms [..., N]; or u [..., N, A] from normals [..., N, A]."""
        if self.discrete:
            return categorical_sample(output, noise)
        assert spread is not None
        return output + torch.exp(spread) * noise

    def mode(self, output: Tensor) -> Tensor:
        """The most likely raw action."""
        return output.argmax(dim=-1) if self.discrete else output

    def stats(self, output: Tensor, raw: Tensor, spread: Tensor | None) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of raw actions, [..., N] each."""
        if self.discrete:
            return categorical_stats(output, raw)
        assert spread is not None
        return gaussian_stats(output, spread, raw, self.used)

    def to_task(self, raw: Tensor) -> Tensor:
        """Raw actions in the task's own units (unused dimensions of narrow agents are zero)."""
        if self.discrete:
            return raw
        # A replica that is no number any more does something legal, until it is frozen: tasks may refuse a NaN.
        return self._narrow(squash(torch.nan_to_num(raw), self.low, self.high))

    def stretched(self, unit: Tensor) -> Tensor:
        """Actions in -1..1 (and options) in the task's own units, as :meth:`to_task`."""
        if self.discrete:
            return unit
        return self._narrow(stretch(torch.nan_to_num(unit), self.low, self.high))

    def _narrow(self, action: Tensor) -> Tensor:
        return action if self.legal is None else action * self.legal


def joint_logits(out: Tensor, factors: Sequence[int]) -> Tensor:
    """Logits of independent factors [..., sum] as those of their product [..., prod], first factor fastest.

    The softmax of a sum is the product of softmaxes: an option made of parts (a move and a word) is
    learned part by part.
    """
    joint: Tensor | None = None
    for part in out.split(list(factors), dim=-1):
        joint = part if joint is None else (joint[..., None, :] + part[..., :, None]).flatten(-2)
    assert joint is not None
    return joint


def _padded(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows])
