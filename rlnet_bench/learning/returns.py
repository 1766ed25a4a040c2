"""Returns and advantages with terminations and time limits kept apart.

A termination is the end of the task: nothing is bootstrapped. A truncation is a cut by the clock: the
value of the *final* observation (from before the reset) is bootstrapped. Both end the recursion.

A vertex of a network may act every few steps: :func:`intervals` are the advantages over intervals of different lengths.
A decision at step t holds for d steps, until the next decision or the end of the episode. Its return is the sum of
gamma^j r_{t+j} over j < d, then gamma^d times the value of what follows: the next decision's, the final observation's
where a time limit cut the episode, nothing after a termination.

Axes: **T** time first; every other axis broadcasts. Of intervals: **R** replicas, **B** environments, **K** vertices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def next_values(values: Tensor, last: Tensor, final: Tensor, truncated: Tensor) -> Tensor:
    """V(s') of every step: the next row's value, or the final observation's where truncated.

    Args:
        values: [T, ...] V of the observations acted on.
        last: [...] V of the observation after the last step.
        final: [T, ...] V of final observations; read only where ``truncated``.
        truncated: [T, ...] bool.
    """
    following = torch.cat((values[1:], last[None]))
    return torch.where(truncated, final, following)


def gae(
    reward: Tensor,
    values: Tensor,
    following: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16), [T, ...].

    ``following`` comes from :func:`next_values`. The returns are ``advantage + values``.
    """
    delta = reward + gamma * torch.where(terminated, 0.0, following) - values
    carry = (gamma * lam) * (~(terminated | truncated)).to(delta.dtype)
    advantage = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(delta.shape[0] - 1, -1, -1):
        running = delta[t] + carry[t] * running
        advantage[t] = running
    return advantage


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
    """Generalised advantages over intervals; with every step a decision they equal :func:`gae`.

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
