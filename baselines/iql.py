"""IQL: independent Q-learning (Tan 1993), with a deep network, a replay and a target network (Mnih et al. 2015).

Every agent learns the value of its own actions as if it were alone, the others being part of the world:

    L = E[(y_i - Q(o_i, u_i))^2],   y_i = r_i + gamma Q^-(o_i', argmax_u Q(o_i', u))

with the choice and the value of the next action by different networks (double Q, van Hasselt et al. 2016). Under the
suite's ``training_reward: team_mean`` every r_i is the team's mean reward.

Departures: squared errors where Mnih et al. clip; a replay of joint steps, so that agents learn from the same moments.

Try it: ``rlnet-bench run quick --methods iql``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import QConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.q_learning import QLearner


@register(
    "iql",
    version=1,
    summary="independent Q-learning: every agent values its own actions",
    Config=QConfig,
    training="independent",
    capabilities=Capabilities(continuous=False),
    citation="tan1993iql",
)
class Iql(Method):
    """Independent Q-learning."""

    @classmethod
    def learner_class(cls) -> type[QLearner]:
        """The algorithm."""
        from torch import Tensor

        from rlnet_bench.learning.q_learning import QLearner, Step

        class IqlLearner(QLearner):
            """Independent Q-learning for every agent of a team."""

            def loss(self, step: Step) -> Tensor:
                """L; ``chosen`` is Q(o_i, u_i) and ``following`` Q^-(o_i', argmax_u Q(o_i', u)), per agent."""
                return step.squared(step.chosen, step.target(step.following))

        return IqlLearner
