"""Targets of a worst case: chance, but for a share rho of it, is what it was (total variation).

The worst that a world within rho can do is to move that share from the best that could follow to where nothing is
worth anything. By duality (Panaganti et al. 2022, arXiv:2208.05129, as their code maximises it)

    inf_P E_P[V(s')] = max_g (1 - rho) g - E[(g - V(s'))+]

with a number g(s, u), which a network learns beside the values. The target is that of DrIGM (arXiv:2602.11437, its
public code), y = r + gamma ((1 - rho) g - (g - V(s'))+). g is then the (1 - rho)-quantile of what follows; where only
one thing can follow, y = r + gamma (1 - rho) V(s').

Rows that end the task bootstrap nothing, so that the worst is looked for among those that go on, as in that code.

One departure: DrIGM's code fits g by the *square* of each row's (g - V)+ - (1 - rho) g. That is least where nothing is
bootstrapped at all (at g = 0, or at V / rho), so the dual itself is maximised here.

Axes: **R** replicas, **M** rows, **N** agents, **S** state width, **A** actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.stacked import StackedMLP, copy_keys, rows_of

DUAL = 1 << 6  # network number, for initialisation keys
HIDDEN = (64, 64)


def worst_case(dual: Tensor, following: Tensor, rho: float) -> Tensor:
    """(1 - rho) g - (g - V)+, what is bootstrapped in the place of V: never more than V.

    Args:
        dual: g [...]; below 0 it counts as 0, as nothing is worse than to be worth nothing.
        following: V(s') [...].
        rho: 0 to 1; with 0 it is V itself, for any g of at least V.
    """
    g = dual.clamp(min=0.0)
    return (1.0 - rho) * g - torch.relu(g - following)


def dual_loss(dual: Tensor, following: Tensor, rho: float) -> Tensor:
    """(g - V)+ - (1 - rho) g: whose mean is least at the worst case; shapes as in :func:`worst_case`."""
    return torch.relu(dual - following) - (1.0 - rho) * dual


class Dual(StackedMLP):
    """g(s, u): one per replica, of the state and of what everybody does."""

    def __init__(self, card: TaskCard, seeds: Sequence[int], device: str | torch.device = "cpu") -> None:
        """Freshly initialised, near 0."""
        self.actions = card.action_size
        sizes = (card.state_size + card.num_agents * card.action_size, *HIDDEN, 1)
        super().__init__(sizes, copy_keys(seeds, 1, DUAL), activation="relu", output_gain=0.01, device=device)

    def of(self, state: Tensor, action: Tensor) -> Tensor:
        """States [..., R, M, S] and joint actions int64 [..., R, M, N] -> g [..., R, M, 1]."""
        done = one_hot(action, self.actions).flatten(-2).to(state.dtype)
        return rows_of(self, torch.cat((state, done), dim=-1))
