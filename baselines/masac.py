"""MASAC: soft actor-critics (Haarnoja et al. 2018) with centralised critics in the manner of Lowe et al. 2017.

As ISAC, but critics read the state x and the actions of all: Q_k(x, a_1..a_N). In targets everybody's action is drawn
from the policies of now; in an agent's own loss the others' are those of the replay. Over options, critics read the
others' (one-hot), and say a value for each of the agent's own.

Departures: those of ISAC; x is the task's state (the observations side by side where it has no other); with shared
parameters, the default, one network serves all agents, told apart by a one-hot id.

Try it: ``rlnet-bench run quick --methods masac``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import SacConfig
from rlnet_bench.methods import Method, find_method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.off_policy_actor_critic import ActorCriticLearner


class MasacConfig(SacConfig):
    """Soft actor-critics with critics of the state."""

    @property
    def keeps_state(self) -> bool:
        """Critics read it."""
        return True


@register(
    "masac",
    version=1,
    summary="soft actor-critic; twin critics read the state and everybody's actions",
    Config=MasacConfig,
    training="centralised critic",
    citation="haarnoja2018sac",
)
class Masac(Method):
    """Multi-agent soft actor-critic."""

    @classmethod
    def learner_class(cls) -> type[ActorCriticLearner[SacConfig]]:
        """The algorithm: ISAC's losses, in which Q is of (x, a_1..a_N)."""

        class MasacLearner(find_method("isac").learner_class()):  # type: ignore[misc]
            """SAC with centralised critics."""

            joint_critics = True

        return MasacLearner
