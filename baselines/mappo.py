"""MAPPO: PPO with a centralised critic (Yu et al. 2022, arXiv:2103.01955).

Actors read their own observations o_i, now and when it counts. The critic, used only in training, reads the state s of
the task: centralised training, decentralised execution. After every rollout of T steps (their algorithm 1):

1.  Generalised advantages of V(s) and returns R = A + V_old(s), which the critic predicts normalised.
2.  A few epochs of minibatches, each a step of Adam on their two losses (appendix A), r = pi(u | o) / pi_old(u | o):

        L(theta) = E[min(r A, clip(r, 1 - eps, 1 + eps) A)] + sigma E[H(pi(. | o))]           to be maximised
        L(phi)   = E[(V(s) - R)^2 / 2]                                                        to be minimised

    Both at once: -L(theta) + c L(phi); actor and critic share nothing, so that c is the critic's learning rate.

With shared parameters and a team reward there is one value per state; with individual rewards one per agent, by one
network; without sharing every agent has a critic of its own, of the same state. With ``memory: gru`` actors and critic
read all that came before in the episode.

Departures: value errors are squared, neither clipped nor Huber's; states have no agent-specific features.

Try it: ``rlnet-bench run quick --methods mappo``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "mappo",
    version=2,
    summary="PPO with a centralised critic that reads the state",
    Config=PpoConfig,
    training="centralised critic",
    citation="yu2022mappo",
)
class Mappo(Method):
    """Multi-agent PPO."""

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        import torch

        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped

        class MappoLearner(TeamLearner):
            """PPO for a team whose critic sees the state."""

            critic_reads = "states"  # V(s): one for the team, or one per agent

            def loss(self, batch: Batch) -> Loss:
                """-L(theta) + c L(phi); ``advantage`` is A and ``returns`` R, both normalised as the settings say."""
                log_p, entropy = self.actor.evaluate(batch.rows)  # of own observations
                ratio = torch.exp(log_p - batch["log_p"])
                surrogate = clipped_surrogate(ratio, batch["advantage"], self.config.clip)
                policy, bonus = -batch.acting_mean(surrogate), batch.acting_mean(entropy)  # L(theta)
                value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))  # L(phi), of the state
                total = policy - self.config.entropy_weight * bonus + self.config.value_weight * value
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))

        return MappoLearner
