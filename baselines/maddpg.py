"""MADDPG: deterministic actors with centralised critics (Lowe et al. 2017, arXiv:1706.02275).

Agent i has a deterministic policy mu_i(o_i) of its own observation, as in IDDPG, and a critic of all that is there
while learning, the state x and the actions of all:

    L(Q_i) = E[(y_i - Q_i(x, a_1..a_N))^2],   y_i = r_i + gamma Q_i^-(x', mu_1^-(o_1')..mu_N^-(o_N'))
    J(mu_i) = E[Q_i(x, a_1..a_N) - w u_i^2],  with a_i = mu_i(o_i) = tanh(u_i) and the others' actions of the replay

so that the world is the same whatever the others' policies are. Each agent has a critic of its own reward, unless the
suite's ``training_reward: team_mean`` gives everybody the same.

Departures: those of IDDPG; x is the task's state (the observations side by side where it has no other); with shared
parameters, the default, one network serves all agents, told apart by a one-hot id (``share_parameters: false`` is the
paper's); the others' policies are not inferred, and there are no ensembles.

Try it: ``rlnet-bench run quick --methods maddpg`` (on tasks with continuous actions)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import DdpgConfig
from rlnet_bench.methods import Capabilities, Method, find_method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.off_policy_actor_critic import ActorCriticLearner


class MaddpgConfig(DdpgConfig):
    """Deterministic policy gradients with critics of the state."""

    @property
    def keeps_state(self) -> bool:
        """Critics read it."""
        return True


@register(
    "maddpg",
    version=2,
    summary="deterministic actors; critics read the state and everybody's actions",
    Config=MaddpgConfig,
    training="centralised critic",
    capabilities=Capabilities(discrete=False),
    citation="lowe2017maddpg",
)
class Maddpg(Method):
    """Multi-agent deep deterministic policy gradients."""

    @classmethod
    def learner_class(cls) -> type[ActorCriticLearner[DdpgConfig]]:
        """The algorithm: IDDPG's losses, in which Q is of (x, a_1..a_N)."""

        class MaddpgLearner(find_method("iddpg").learner_class()):  # type: ignore[misc]
            """DDPG with centralised critics."""

            joint_critics = True

        return MaddpgLearner
