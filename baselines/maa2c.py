"""MAA2C: advantage actor-critic with a centralised critic (Papoudakis et al. 2021, arXiv:2006.07869, section 3.2).

Actors read their own observations o_i; the critic, used only in training, reads the state s of the task. All else is
IA2C's (its file has the loss): after every short rollout one step of Adam on

    L = -E[log pi(u_t | o_t) A_t] - c E[H(pi(. | o_t))] + E[(V(s_t) - R_t)^2 / 2]
    A_t = r_t + ... + gamma^{n-1} r_{t+n-1} + gamma^n V(s_{t+n}) - V(s_t)

With shared parameters and a team reward there is one value per state; with individual rewards one per agent, by one
network; without sharing every agent has a critic of its own, of the same state.

Departures: those of IA2C; no target network.

Try it: ``rlnet-bench run quick --methods maa2c``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import A2cConfig
from rlnet_bench.methods import Method, find_method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "maa2c",
    version=1,
    summary="advantage actor-critic with a centralised critic that reads the state",
    Config=A2cConfig,
    training="centralised critic",
    citation="papoudakis2021benchmarking",
)
class Maa2c(Method):
    """Multi-agent A2C."""

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """IA2C whose critic sees the state."""
        return type("Maa2cLearner", (find_method("ia2c").learner_class(),), {"critic_reads": "states"})
