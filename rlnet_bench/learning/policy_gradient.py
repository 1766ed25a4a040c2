"""Policy gradients without a trust region, in pure functions, for R replicas at once.

Axes: **R** replicas, **c** rows, **N** agents, **A** actions.
"""

from __future__ import annotations

from torch import Tensor


def score_times(log_p: Tensor, advantage: Tensor) -> Tensor:
    """log pi(u | o) A [R, c, N], to be maximised: its gradient is the policy gradient (Sutton et al. 2000, theorem 1).

    The advantage is a number here: no gradient flows into whatever estimated it.
    """
    return log_p * advantage.detach()
