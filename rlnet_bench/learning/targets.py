"""What off-policy learners regress on, with terminations and time limits kept apart; pure functions.

A termination is the end of the task: nothing is bootstrapped. A truncation is a cut by the clock: the value
of the *final* observation is bootstrapped. Nothing is ever summed across the end of an episode.

Axes: **T** time first; every other axis broadcasts. **A** actions, last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from rlnet_bench.learning.distributions import mask_logits


def one_step(reward: Tensor, following: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """r + gamma V(s'), without V where the task ended; all [...]."""
    return reward + gamma * torch.where(terminated, 0.0, following)


class Ahead(NamedTuple):
    """An n-step return without its bootstrap: target = ``reward`` + ``discount`` * V(row ``last`` + 1)."""

    reward: Tensor  # [...]
    discount: Tensor  # [...], 0 where the task ended on the way
    last: Tensor  # [...] int64, the last of the steps that were summed, counted from 0


def look_ahead(reward: Tensor, terminated: Tensor, ended: Tensor, gamma: float) -> Ahead:
    """Sum the rewards of up to n steps; an episode that ends on the way ends the sum (Watkins 1989, section 7.2).

    Args:
        reward: [n, ..., V].
        terminated: [n, ..., V] or [n, ..., 1] bool: no value after this step (the task, or this agent, ended).
        ended: [n, ..., 1] bool: the episode ended with this step, by whatever reason.
        gamma: discount of one step.

    Returns:
        ``reward`` and ``discount`` [..., V], ``last`` [...].
    """
    total, discount = reward[0], gamma * (~terminated[0]).to(reward.dtype)
    going = ~ended[0]
    last = torch.zeros_like(going, dtype=torch.int64)
    for k in range(1, len(reward)):
        total = total + torch.where(going, discount * reward[k], 0.0)
        discount = torch.where(going, gamma * (~terminated[k]) * discount, discount)
        last = torch.where(going, k, last)
        going = going & ~ended[k]
    return Ahead(total, discount.expand(total.shape), last.squeeze(-1))


def n_step(reward: Tensor, following: Tensor, terminated: Tensor, ended: Tensor, gamma: float, n: int) -> Tensor:
    """n-step targets of every step of sequences [T, ...]; fewer steps before an end and before row T.

    Args:
        reward: [T, ...].
        following: [T, ...], V of what came after each step (the final observation's where truncated).
        terminated: [T, ...] bool. ended: [T, ...] bool, terminated or truncated.
        gamma: discount of one step.
        n: how many rewards are summed; 1 is :func:`one_step`.
    """
    target = one_step(reward, following, terminated, gamma)
    stops = (ended | terminated)[:-1]
    near = target  # after k rounds, the (k + 1)-step targets
    for _ in range(n - 1):
        longer = torch.where(stops, target[:-1], reward[:-1] + gamma * near[1:])
        near = torch.cat((longer, target[-1:]))
    return near


def lambda_return(
    reward: Tensor, following: Tensor, terminated: Tensor, ended: Tensor, gamma: float, lam: float
) -> Tensor:
    """TD(lambda) targets (Sutton and Barto 2018, eq. 12.18) of sequences, shapes as in :func:`n_step`.

    ``lam`` 0 is the one-step target; 1 sums every reward up to the end of the episode or the sequence.
    """
    target = one_step(reward, following, terminated, gamma)
    stops = ended | terminated
    for t in range(len(reward) - 2, -1, -1):
        longer = reward[t] + gamma * ((1 - lam) * following[t] + lam * target[t + 1])
        target[t] = torch.where(stops[t], target[t], longer)
    return target


def greedy(q: Tensor, mask: Tensor | None) -> Tensor:
    """The best legal action, int64 [...], of values [..., A]; ``mask`` is bool, True = legal."""
    return mask_logits(q, mask).argmax(dim=-1)


def chosen(q: Tensor, action: Tensor) -> Tensor:
    """The values [...] of actions int64 [...] among values [..., A]."""
    return q.gather(-1, action[..., None]).squeeze(-1)


@torch.no_grad()
def follow(target: Iterable[Tensor], online: Iterable[Tensor], tau: float) -> None:
    """Move target parameters in place: theta' <- (1 - tau) theta' + tau theta (Polyak); tau 1 copies."""
    slow, fast = map(list, zip(*zip(target, online, strict=True)))
    torch._foreach_copy_(slow, fast) if tau == 1 else torch._foreach_lerp_(slow, fast, tau)


def linear(frame: int, start: float, end: float, over: float) -> float:
    """A schedule that goes from ``start`` to ``end`` in ``over`` frames and stays there."""
    return end if frame >= over else start + (end - start) * frame / over
