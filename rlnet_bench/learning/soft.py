"""Maximum-entropy values and temperatures (Haarnoja et al. 2018, arXiv:1812.05905), in pure functions.

Axes: **R** replicas, **M** rows, **N** agents, **A** actions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_value(q: Tensor, log_p: Tensor, alpha: Tensor, alive: Tensor | None = None) -> Tensor:
    """Q(o, a) - alpha log pi(a | o), a drawn from pi, or the mean of that over pi: [R, M, N].

    Critics bootstrap from it, and actors climb it. The dead choose nothing, so that only Q is left of theirs.

    Args:
        q: values [R, M, N] of what the policy does.
        log_p: its log probability or density [R, M, N].
        alpha: the entropy's weight, broadcasting.
        alive: [R, M, N] bool; everybody by default.
    """
    bonus = alpha * log_p
    return q - (bonus if alive is None else bonus * alive)


def temperature_loss(log_alpha: Tensor, log_p: Tensor, aim: Tensor | float) -> Tensor:
    """-log alpha (log pi + H), [R, M, N]: descending it raises alpha while the entropy is below its aim H.

    Args:
        log_alpha: broadcasting.
        log_p: log probabilities or densities [R, M, N] of what the policy does; numbers, without a gradient.
        aim: H, nats, broadcasting.
    """
    return -log_alpha * (log_p.detach() + aim)


def option_aim(share: float, sizes: Tensor, mask: Tensor | None) -> Tensor:
    """H over options: a share of the entropy of uniform play, [N], or [R, M, N] where some are illegal.

    Args:
        share: 0 to 1.
        sizes: options of each agent, int64 [N].
        mask: [R, M, N, A] bool of legal options. Where there is no choice H is 0.
    """
    count = sizes if mask is None else mask.sum(dim=-1).clamp(min=1)
    return share * torch.log(count.to(torch.float32))
