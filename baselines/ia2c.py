"""IA2C: independent synchronous advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783, without the asynchrony).

Every agent learns as if it were alone, with a policy pi(u | o_i) and a critic V(o_i) of its own observation. After
every short rollout of all environments side by side:

1.  n-step advantages (their algorithm S3), the sum ending early with an episode or the rollout:

        A_t = r_t + gamma r_{t+1} + ... + gamma^{n-1} r_{t+n-1} + gamma^n V(o_{t+n}) - V(o_t)

2.  One step of Adam on the policy gradient with an entropy bonus (their section 4) and the squared error of the critic:

        L = -E[log pi(u_t | o_t) A_t] - c E[H(pi(. | o_t))] + E[(V(o_t) - R_t)^2 / 2],     R_t = A_t + V_old(o_t)

It is IPPO with one epoch of one minibatch and n-step advantages: then the ratio is 1 and nothing is clipped.

With shared parameters one network serves all agents, told apart by a one-hot id. With ``observe: all`` actor and
critic read everybody's observation, which is no longer independent learning. With ``memory: gru`` o_i is all that the
agent has observed in its episode.

Departures: one process steps all environments; Adam instead of RMSProp; returns are normalised for the critic, and
advantages are taken in the same units, so that one learning rate serves rewards of any size.

Try it: ``rlnet-bench run quick --methods ia2c``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import A2cConfig
from rlnet_bench.methods import Method, register
from rlnet_bench.vocabulary import TrainingClass

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "ia2c",
    version=1,
    summary="independent advantage actor-critic: n-step advantages, one gradient step per rollout",
    Config=A2cConfig,
    training="independent",
    citation="mnih2016a3c",
)
class Ia2c(Method):
    """Independent A2C."""

    @classmethod
    def training_class(cls, config: A2cConfig) -> TrainingClass:
        """A critic that reads everybody's observation is a centralised one."""
        return "independent" if config.observe == "own" else "centralised critic"

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        import torch
        from torch import Tensor

        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.policy_gradient import score_times
        from rlnet_bench.learning.ppo import Batch, Loss, half_squared_error
        from rlnet_bench.learning.targets import n_step

        class Ia2cLearner(TeamLearner):
            """Independent A2C for every agent of a team."""

            critic_reads = "features"  # V of what the actor reads: the agent's own observation (and id)

            def credit(
                self, reward: Tensor, value: Tensor, following: Tensor, terminated: Tensor, truncated: Tensor
            ) -> Tensor:
                """A_t, in units of the reward."""
                ended = terminated | truncated
                return n_step(reward, following, terminated, ended, self.config.gamma, self.config.n_step) - value

            def scaled(self, advantage: Tensor) -> Tensor:
                """A_t in the units in which the critic speaks."""
                return self.norm.to_scale(advantage)

            def loss(self, batch: Batch) -> Loss:
                """L; ``advantage`` is A and ``returns`` R, in the critic's units."""
                log_p, entropy = self.actor.evaluate(batch.rows)
                # The dead choose nothing. Their values are learned: a team reward is bootstrapped from them.
                policy = -batch.acting_mean(score_times(log_p, batch["advantage"]))
                bonus = batch.acting_mean(entropy)
                value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))
                total = policy - self.config.entropy_weight * bonus + value
                return Loss(total, policy, value, bonus, clip_fraction=torch.zeros_like(bonus))

        return Ia2cLearner
