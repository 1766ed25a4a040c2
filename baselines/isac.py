"""ISAC: independent soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905; with options Christodoulou 2019).

Every agent learns as if it were alone. It has a policy pi(a | o_i), two critics Q_1 and Q_2 of its own observation and
action, and a temperature alpha that holds the policy's entropy near a target H:

    L(Q_k) = E[(y_i - Q_k(o_i, a_i))^2],   y_i = r_i + gamma (min_k Q_k^-(o_i', a') - alpha log pi(a' | o_i'))
    L(pi) = E[alpha log pi(a | o_i) - min_k Q_k(o_i, a)]
    L(alpha) = E[-log alpha (log pi(a | o_i) + H)]

a' and a are drawn from the policy of now. Continuous actions are tanh(u) of a Gaussian u, with the exact density over
-1..1. Over options a critic says a value for each, and means under pi are sums. Q^- follow softly. After a termination
y_i is r_i alone; where the clock cut an episode, o_i' is its final observation. Under the suite's ``training_reward:
team_mean`` every r_i is the team's mean reward. Actions are uniform until learning starts.

Departures: log alpha where the paper's loss has alpha; over options H is a small share of the entropy of uniform play
among the legal ones (``target_entropy_share``), where Christodoulou has 98 % of it.

Try it: ``rlnet-bench run quick --methods isac``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import SacConfig
from rlnet_bench.methods import Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.off_policy_actor_critic import ActorCriticLearner


@register(
    "isac",
    version=1,
    summary="independent soft actor-critic: twin critics of the own observation and action, learned temperature",
    Config=SacConfig,
    training="independent",
    citation="haarnoja2018sac",
)
class Isac(Method):
    """Independent soft actor-critic."""

    @classmethod
    def learner_class(cls) -> type[ActorCriticLearner[SacConfig]]:
        """The algorithm."""
        import math

        import torch
        from torch import Tensor

        from rlnet_bench.learning.distributions import categorical_means
        from rlnet_bench.learning.off_policy_actor_critic import (
            ActorCriticLearner,
            Critics,
            HeadSpec,
            Weights,
            living_mean,
            regression,
        )
        from rlnet_bench.learning.replay import Transitions
        from rlnet_bench.learning.soft import option_aim, soft_value, temperature_loss
        from rlnet_bench.learning.targets import chosen

        class IsacLearner(ActorCriticLearner[SacConfig]):
            """SAC for every agent of a team."""

            count_critics = 2

            def head(self) -> HeadSpec:
                """Options, or squashed Gaussians."""
                c, kind = self.config, "options" if self.card.action_kind == "discrete" else "squashed"
                return HeadSpec(kind, c.hidden, c.activation, c.share_parameters)  # type: ignore[arg-type]

            def build_more(self) -> dict[str, list[Tensor]]:
                """log alpha, one per replica, or per agent where each has a policy of its own."""
                copies, start = self.actor.network.copies, math.log(self.config.temperature_start)
                self.log_alpha = torch.full((self.replicas * copies, 1), start, device=self.device).requires_grad_()
                self.sizes = torch.tensor(self.card.action_sizes, device=self.device)
                self.parts["temperature"] = Weights(log_alpha=self.log_alpha)
                return {"temperature": [self.log_alpha]}

            @property
            def alpha(self) -> Tensor:
                """[R, 1, N or 1], without a gradient."""
                return self.log_alpha.detach().exp().view(self.replicas, 1, -1)

            def aim(self, mask: Tensor | None) -> Tensor:
                """H, [N] or [R, M, N]."""
                if self.critics.discrete:
                    return option_aim(self.config.target_entropy_share, self.sizes, mask)
                return self.sizes * self.config.target_entropy

            def outlook(
                self, critics: Critics, seen: tuple[Tensor, Tensor | None], output: Tensor, noise: Tensor,
                others: Tensor | None = None,
            ) -> tuple[Tensor, Tensor]:  # fmt: skip
                """(min_k Q_k, log pi) [R, M, N] of what the policy does: of a draw, or means over options.

                Args:
                    critics: Q_1 and Q_2, or their targets.
                    seen: observations and, to joint critics, the state.
                    output: what the actors say.
                    noise: what draws their actions.
                    others: what others do, to joint critics; what they draw, too, by default.
                """
                if critics.discrete:
                    drawn = self.actor.sample(output, noise) if others is None else others
                    return categorical_means(output, critics(*seen, drawn).amin(dim=0))
                own, log_p = self.actor.sample_with_density(output, noise)
                return critics(*seen, own if others is None else others, own).amin(dim=0), log_p

            def critic_loss(self, batch: Transitions) -> Tensor:
                """L(Q_1) + L(Q_2)."""
                with torch.no_grad():
                    seen = batch.next_observation, batch.next_state
                    output = self.actor(batch.next_observation, batch.next_mask)
                    q, log_p = self.outlook(self.target_critics, seen, output, self.noise(0))
                    following = soft_value(q, log_p, self.alpha, batch.next_alive)
                values = self.critics(batch.observation, batch.state, batch.action)
                if self.critics.discrete:
                    values = chosen(values, batch.action.expand(values.shape[:-1]))
                return regression(values, batch, following)

            def actor_loss(self, batch: Transitions) -> Tensor:
                """L(pi)."""
                seen = batch.observation, batch.state
                output = self.actor(batch.observation, batch.mask)
                q, log_p = self.outlook(self.critics, seen, output, self.noise(1), batch.action)
                self.log_p = log_p.detach()
                return -living_mean(soft_value(q, log_p, self.alpha), batch.alive)

            def learn_from(self, batch: Transitions) -> dict[str, Tensor]:  # type: ignore[override]
                """Critics, actors, then the temperature by what the actors did before their step."""
                found = super().learn_from(batch)
                log_alpha = self.log_alpha.view(self.replicas, 1, -1)
                loss = living_mean(temperature_loss(log_alpha, self.log_p, self.aim(batch.mask)), batch.alive)
                found |= self.descend("temperature", loss)
                entropy = -living_mean(self.log_p, batch.alive)
                return found | {"temperature": self.alpha.mean(dim=(1, 2)), "entropy": entropy}

        return IsacLearner
