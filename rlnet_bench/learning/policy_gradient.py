"""Policy gradients without a trust region, in pure functions, for R replicas at once.

Axes: **R** replicas, **c** rows, **N** agents, **A** actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench import rng


def score_times(log_p: Tensor, advantage: Tensor) -> Tensor:
    """log pi(u | o) A [R, c, N], to be maximised: its gradient is the policy gradient (Sutton et al. 2000, theorem 1).

    The advantage is a number here: no gradient flows into whatever estimated it.
    """
    return log_p * advantage.detach()


def counterfactual(q: Tensor, logits: Tensor, action: Tensor) -> Tensor:
    """Q(s, u) - sum over u'_i of pi_i(u'_i | o_i) Q(s, (u_-i, u'_i)), [..., N] (Foerster et al. 2018, eq. 4).

    What agent i's action was worth beyond what it would have done on average, all others' actions held.

    Args:
        q: [..., N, A], Q for every action of agent i beside the others' actual actions.
        logits: [..., N, A] of pi_i, options that are not legal pushed away.
        action: int64 [..., N], what was done.
    """
    baseline = (torch.softmax(logits, dim=-1) * q).sum(dim=-1)
    return q.gather(-1, action[..., None]).squeeze(-1) - baseline


def others_actions(action: Tensor, options: int) -> Tensor:
    """What each agent knows of the joint action: [..., N] -> one-hot [..., N, N * A], its own left out (zeros)."""
    n = action.shape[-1]
    hot = torch.nn.functional.one_hot(action, options).to(torch.float32)  # [..., N, A]
    joint = hot.flatten(-2)[..., None, :].expand(*action.shape, -1)
    others = 1.0 - torch.eye(n, device=action.device).repeat_interleave(options, dim=1)
    return joint * others


def permutations(keys: Tensor, counter: int, count: int) -> Tensor:
    """An order of ``count`` things per key [R], drawn by counter: int64 [R, count]."""
    drawn = rng.fold(rng.fold(keys, counter)[:, None], torch.arange(count, device=keys.device))
    return drawn.argsort(dim=1)
