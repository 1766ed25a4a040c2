"""Advantages of vertices that act every few steps: returns over intervals of different lengths.

A decision at step t holds for d steps, until the next decision or the end of the episode. Its return is the
sum of gamma^j r_{t+j} over j < d, then gamma^d times the value of what follows: the next decision's, the final
observation's where a time limit cut the episode, nothing after a termination.

Axes: **T** steps of a rollout first; **R** replicas, **B** environments, **K** vertices broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.value_norm import DECAY, ValueNorm


class Intervals(NamedTuple):
    """Per step; meaningful where a decision was made.

    ``advantage`` [T, R, B, K]; ``closed`` [T, R, B]: the interval ended within the rollout; ``reward`` the discounted
    sum so far and ``discount`` = gamma^d, of open intervals too.
    """

    advantage: Tensor
    closed: Tensor
    reward: Tensor
    discount: Tensor


def intervals(
    reward: Tensor,
    values: Tensor,
    final: Tensor,
    due: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
    carried: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Intervals:
    """Generalised advantages over intervals; with every step a decision they equal ``returns.gae``.

    Args:
        reward: [T, R, B, K].
        values: [T + 1, R, B, K]; read where a decision is due.
        final: [T, R, B, K] values of final observations; read where truncated.
        due: [T + 1, R, B] bool, a decision is made at this step (row T: at the first step of the next rollout).
        terminated: [T, R, B] bool.
        truncated: [T, R, B] bool.
        gamma: discount per step.
        lam: decay per decision.
        carried: an interval that was open when the rollout began, which takes the place of row 0:
            (open [R, B] bool, its reward so far [R, B, K], its discount so far [R, B]).
    """
    steps = reward.shape[0]
    advantage, total = torch.zeros_like(reward), torch.empty_like(reward)
    closed, discount = torch.empty_like(terminated), torch.empty(terminated.shape, device=reward.device)
    later_reward, later_advantage = torch.zeros_like(reward[0]), torch.zeros_like(reward[0])
    later_value, later_closed = torch.zeros_like(reward[0]), torch.zeros_like(terminated[0])
    later_discount = torch.ones_like(discount[0])
    for t in range(steps - 1, -1, -1):
        done = terminated[t] | truncated[t]
        ends = done | due[t + 1]
        # What follows this step if the interval ends here, else what follows the interval's later steps.
        after = torch.where(truncated[t][..., None], final[t], values[t + 1])
        after = torch.where(terminated[t][..., None], 0.0, after)
        follows = torch.where(done[..., None], 0.0, advantage[t + 1]) if t + 1 < steps else torch.zeros_like(reward[0])
        value = torch.where(ends[..., None], after, later_value)
        ahead = torch.where(ends[..., None], follows, later_advantage)
        total[t] = reward[t] + gamma * torch.where(ends[..., None], 0.0, later_reward)
        discount[t] = gamma * torch.where(ends, 1.0, later_discount)
        closed[t] = ends | later_closed
        if t == 0 and carried is not None:
            is_open, so_far, factor = carried
            total[0] = torch.where(is_open[..., None], so_far + factor[..., None] * total[0], total[0])
            discount[0] = torch.where(is_open, factor * discount[0], discount[0])
        delta = total[t] + discount[t][..., None] * value - values[t]
        advantage[t] = delta + (discount[t] * lam)[..., None] * ahead
        later_reward, later_value, later_advantage = total[t], value, ahead
        later_closed, later_discount = closed[t], discount[t]
    return Intervals(advantage, closed, total, discount)


def normalised(advantage: Tensor, config: PpoConfig) -> Tensor:
    """Advantages [T, R, B, K] with mean 0 and deviation 1 per replica, per vertex, or as they are."""
    if config.normalise_advantage == "none":
        return advantage
    over = (0, 2) if config.normalise_advantage == "agent" else (0, 2, 3)
    mean = advantage.mean(dim=over, keepdim=True)
    std = advantage.std(dim=over, keepdim=True, correction=0)
    return (advantage - mean) / (std + 1e-8)


def update_where(norm: ValueNorm, returns: Tensor, weight: Tensor) -> None:
    """Fold in returns [T, R, B, K] where ``weight`` [T, R, B, 1] is 1; replicas with none keep what they have."""
    count = weight.sum(dim=(0, 2, 3)) * returns.shape[3]
    some = (count > 0).float()
    mean = (returns * weight).sum(dim=(0, 2, 3)) / count.clamp(min=1.0)
    square = (returns.square() * weight).sum(dim=(0, 2, 3)) / count.clamp(min=1.0)
    for running, new in ((norm.mean, mean), (norm.square, square), (norm.weight, torch.ones_like(mean))):
        running.add_((1 - DECAY) * some * (new - running))
