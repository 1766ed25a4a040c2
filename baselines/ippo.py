"""IPPO: independent proximal policy optimisation (de Witt et al. 2020, arXiv:2011.09533).

Every agent learns as if it were alone; the others are part of its environment. Agent i has a policy pi(u | o_i) and a
critic V(o_i), both of its *own* observation o_i. After every rollout of T steps:

1.  Advantages by generalised advantage estimation over the agent's own critic (Schulman et al. 2016, eq. 16):

        delta_t = r_t + gamma V(o_{t+1}) - V(o_t)         A_t = sum_l (gamma lambda)^l delta_{t+l}

2.  A few epochs of minibatches, each a step of Adam on the clipped surrogate (Schulman et al. 2017, eq. 7), the squared
    error of the critic and an entropy bonus (ibid., eq. 9), with returns R = A + V_old(o) and r the ratio of
    probabilities pi(u | o) / pi_old(u | o):

        L = -E[min(r A, clip(r, 1 - eps, 1 + eps) A)] + c_1 E[(V(o) - R)^2 / 2] - c_2 E[H(pi(. | o))]

With shared parameters one network serves all agents, told apart by a one-hot id, and E is over agents, too. With
``observe: all`` actor and critic read everybody's observation, which is no longer independent learning. With
``memory: gru`` o_i is all that the agent has observed in its episode.

Departures: value errors are not clipped; returns are normalised for the critic (Yu et al. 2022), and so are advantages.

Try it: ``rlnet-bench run quick --methods ippo``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Method, register
from rlnet_bench.vocabulary import TrainingClass

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "ippo",
    version=2,
    summary="independent PPO: actor and critic read the agent's own observation",
    Config=PpoConfig,
    training="independent",
    citation="dewitt2020ippo",
)
class Ippo(Method):
    """Independent PPO."""

    @classmethod
    def training_class(cls, config: PpoConfig) -> TrainingClass:
        """A critic that reads everybody's observation is a centralised one."""
        return "independent" if config.observe == "own" else "centralised critic"

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        import torch

        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped

        class IppoLearner(TeamLearner):
            """Independent PPO for every agent of a team."""

            critic_reads = "features"  # V of what the actor reads: the agent's own observation (and id)

            def loss(self, batch: Batch) -> Loss:
                """L; ``advantage`` is A and ``returns`` R, both normalised as the settings say."""
                log_p, entropy = self.actor.evaluate(batch.rows)
                ratio = torch.exp(log_p - batch["log_p"])
                surrogate = clipped_surrogate(ratio, batch["advantage"], self.config.clip)
                error = half_squared_error(self.value(batch), batch["returns"])
                # The dead choose nothing. Their values are learned: a team reward is bootstrapped from them.
                policy, value = -batch.acting_mean(surrogate), batch.mean(error)
                bonus = batch.acting_mean(entropy)
                total = policy + self.config.value_weight * value - self.config.entropy_weight * bonus
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))

        return IppoLearner
