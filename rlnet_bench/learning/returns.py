"""Returns and advantages with terminations and time limits kept apart.

A termination is the end of the task: nothing is bootstrapped. A truncation is a cut by the clock: the
value of the *final* observation (from before the reset) is bootstrapped. Both end the recursion.

Axes: **T** time first; every other axis broadcasts.
"""

from __future__ import annotations

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
