"""IDDPG: independent deep deterministic policy gradients (Lillicrap et al. 2016, arXiv:1509.02971), one per agent.

Every agent learns as if it were alone, the others being part of the world. It has a deterministic policy mu_i(o_i), a
network whose tanh is stretched over the range of its actions, and a critic Q_i(o_i, a_i), both of its own observation.
Both are updated on rows of the replay:

    L(Q_i) = E[(y_i - Q_i(o_i, a_i))^2],   y_i = r_i + gamma Q_i^-(o_i', mu_i^-(o_i'))              (eqs. 4 and 5)
    J(mu_i) = E[Q_i(o_i, mu_i(o_i)) - w u_i^2],   the gradient of which passes through Q_i to mu_i = tanh(u_i)

with target networks Q^- and mu^- that follow softly. After a termination y_i is r_i alone; where the clock cut an
episode, o_i' is its final observation. Under the suite's ``training_reward: team_mean`` every r_i is
the team's mean reward.

Actions are uniform until learning starts. Then a Gaussian is added to them, whose deviation falls, and what leaves the
range is cut; *sampled* play is that of the final deviation.

The small penalty w (``saturation_weight``) brings actors back from the edges of the range, where tanh is flat; it is
that of the published code of Lowe et al. 2017 (MADDPG).

Departures: Gaussian instead of Ornstein-Uhlenbeck noise, no batch normalisation, no weight decay.

Try it: ``rlnet-bench run quick --methods iddpg`` (on tasks with continuous actions)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import DdpgConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.off_policy_actor_critic import ActorCriticLearner


@register(
    "iddpg",
    version=2,
    summary="independent DDPG: deterministic actors, each with a critic of its own observation and action",
    Config=DdpgConfig,
    training="independent",
    capabilities=Capabilities(discrete=False),
    citation="lillicrap2016ddpg",
)
class Iddpg(Method):
    """Independent deep deterministic policy gradients."""

    @classmethod
    def learner_class(cls) -> type[ActorCriticLearner[DdpgConfig]]:
        """The algorithm."""
        import torch
        from torch import Tensor

        from rlnet_bench.learning.off_policy_actor_critic import (
            ActorCriticLearner,
            HeadSpec,
            living_mean,
            regression,
        )
        from rlnet_bench.learning.replay import Transitions
        from rlnet_bench.learning.targets import linear

        class IddpgLearner(ActorCriticLearner[DdpgConfig]):
            """DDPG for every agent of a team."""

            def head(self) -> HeadSpec:
                """Deterministic actors."""
                c = self.config
                return HeadSpec("deterministic", c.hidden, c.activation, c.share_parameters, c.noise_end)

            def build_more(self) -> dict[str, list[Tensor]]:
                """mu^-."""
                self.target_actor = self.make_heads()
                self.follow(self.target_actor.network, self.actor.network)
                self.parts["target_actor"] = self.target_actor.network
                return {}

            def critic_loss(self, batch: Transitions) -> Tensor:
                """L(Q)."""
                with torch.no_grad():
                    action = self.target_actor.mode(self.target_actor(batch.next_observation))
                    following = self.target_critics(batch.next_observation, batch.next_state, action)[0]
                value = self.critics(batch.observation, batch.state, batch.action)
                return regression(value, batch, following)

            def actor_loss(self, batch: Transitions) -> Tensor:
                """-J(mu): in an agent's own value only its own action is what it would do now; the dead do nothing."""
                output = self.actor(batch.observation)
                value = self.critics(batch.observation, batch.state, batch.action, self.actor.mode(output))[0]
                penalty = self.config.saturation_weight * self.actor.mean_square(output)
                return living_mean(penalty - value, batch.alive)

            def explore(self, output: Tensor, noise: Tensor) -> Tensor:
                """With the deviation of now."""
                c = self.config
                over = c.noise_share * self.total_frames
                return self.actor.sample(output, noise, linear(self.frames, c.noise_start, c.noise_end, over))

        return IddpgLearner
