"""QMIX's mixing network (Rashid et al. 2018, figure 2): one per replica, with weights made from the state.

Axes: **R** replicas, **M** rows, **N** agents, **S** state width, **E** units of the mixing network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import elu

from rlnet_bench.learning.stacked import Parts, StackedMLP, copy_keys, rows_of

MIXER = 1 << 4  # network numbers of the hypernetworks, for initialisation keys


class MonotonicMixer(Parts):
    """Q_tot(s, u) = |w_2(s)|' elu(|W_1(s)|' q + b_1(s)) + b_2(s): rises with every q_i.

    W_1, w_2 and b_2 come from the state by a hidden layer each, b_1 by a linear map. The hidden layers are
    bounded: weights that grow with the state, as behind a relu, let targets run away where states have no bounds
    (agents that leave).
    """

    def __init__(
        self, agents: int, state: int, units: int, hyper: int, seeds: Sequence[int],
        device: str | torch.device = "cpu", networks: Sequence[int] = (MIXER,),
    ) -> None:  # fmt: skip
        """Freshly initialised hypernetworks, with small outputs.

        Args:
            agents: N.
            state: S.
            units: E.
            hyper: units of the hidden layers of W_1 and w_2.
            seeds: one per replica.
            device: where the parameters live.
            networks: numbers, for initialisation keys, of mixing networks side by side; R below is all of them.
        """
        self.agents, self.units = agents, units

        def hypernetwork(number: int, *sizes: int) -> StackedMLP:
            keys = copy_keys(seeds, 1, *(n + number for n in networks))
            return StackedMLP((state, *sizes), keys, activation="tanh", output_gain=0.1, device=device)

        self.parts = {
            "w1": hypernetwork(0, hyper, agents * units),
            "b1": hypernetwork(1, units),
            "w2": hypernetwork(2, hyper, units),
            "b2": hypernetwork(3, units, 1),
        }

    def __call__(self, q: Tensor, state: Tensor) -> Tensor:
        """Utilities [..., R, M, N] and states [..., R, M, S] -> Q_tot [..., R, M, 1]."""
        return rows_of(self._mix, q, state)

    def _mix(self, q: Tensor, state: Tensor) -> Tensor:
        w1 = self.parts["w1"](state).abs().unflatten(-1, (self.agents, self.units))
        hidden = elu((q[..., None] * w1).sum(dim=-2) + self.parts["b1"](state))
        w2 = self.parts["w2"](state).abs()
        return (hidden * w2).sum(dim=-1, keepdim=True) + self.parts["b2"](state)
