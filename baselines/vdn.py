"""VDN: value decomposition networks (Sunehag et al. 2018, arXiv:1706.05296).

The team's value is a sum of utilities, each of one agent's own observation and action:

    Q_tot(s, u) = sum_i Q_i(o_i, u_i)                                                   (eq. 1 of the paper)
    L = E[(y - Q_tot)^2],   y = r + gamma Q_tot^-(s', (argmax_u Q_i(o_i', u))_i)

so that every agent's own best action is its part of the team's best. r is the team's mean reward.

Options, off by default: targets of a neighbourhood (``similar_targets``), or of a worst case (``robust_rho``).

Departures: double Q (van Hasselt et al. 2016); by default without the paper's recurrent unit (``memory: gru`` has it).

Try it: ``rlnet-bench run quick --methods vdn``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import TeamQConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.q_learning import TeamQLearner


@register(
    "vdn",
    version=1,
    summary="value decomposition: the team's value is the sum of the agents' utilities",
    Config=TeamQConfig,
    training="gradients across agents",
    capabilities=Capabilities(continuous=False),
    citation="sunehag2018vdn",
)
class Vdn(Method):
    """Value decomposition networks."""

    @classmethod
    def learner_class(cls) -> type[TeamQLearner]:
        """The algorithm."""
        from torch import Tensor

        from rlnet_bench.learning.q_learning import Step, TeamQLearner

        class VdnLearner(TeamQLearner):
            """Q-learning of a sum."""

            def loss(self, step: Step) -> Tensor:
                """L; the dead have no part in the sum."""
                chosen, following = step.living()  # Q_i(o_i, u_i), and Q_i^- of what is best next
                total_next = self.ahead(step, following, lambda q, state: q.sum(dim=-1, keepdim=True))
                return step.squared(chosen.sum(dim=-1, keepdim=True), step.target(total_next))

        return VdnLearner
