"""ISAC: independent soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905; for options: Christodoulou 2019).

Every agent learns as if it were alone. It has a policy pi(a | o_i), two critics Q_1 and Q_2 of its own observation and
action, and a temperature alpha that holds the policy's entropy near a target H:

    L(Q_k) = E[(y_i - Q_k(o_i, a_i))^2],   y_i = r_i + gamma (min_k Q_k^-(o_i', a') - alpha log pi(a' | o_i'))  (5)
    L(pi) = E[alpha log pi(a | o_i) - min_k Q_k(o_i, a)]                                                         (eq. 9)
    L(alpha) = E[-log alpha (log pi(a | o_i) + H)]                                                               (eq. 18)

a' and a are drawn from the policy of now. Continuous actions are tanh(u) of a Gaussian u, with the exact density over
-1..1; over options, expectations under pi are sums. The dead choose nothing: they add no entropy.

Departures: log alpha instead of alpha in its loss, as the authors' code has it.

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

        from rlnet_bench.learning.off_policy_actor_critic import (
            ActorCriticLearner,
            HeadSpec,
            Weights,
            living_mean,
            regression,
        )
        from rlnet_bench.learning.replay import Transitions
        from rlnet_bench.learning.targets import chosen

        class IsacLearner(ActorCriticLearner[SacConfig]):
            """SAC for every agent of a team."""

            count_critics = 2

            def head(self) -> HeadSpec:
                """Squashed Gaussians, or options."""
                kind, c = "options" if self.card.action_kind == "discrete" else "squashed", self.config
                return HeadSpec(kind, c.hidden, c.activation, c.share_parameters)  # type: ignore[arg-type]

            def build_more(self) -> dict[str, list[Tensor]]:
                """log alpha, one per replica, or per agent."""
                copies, sizes = self.actor.network.copies, torch.tensor(self.card.action_sizes, device=self.device)
                start = math.log(self.config.temperature_start)
                self.log_alpha = torch.full((self.replicas * copies, 1), start, device=self.device).requires_grad_()
                c = self.config
                self.aim = sizes.log() * c.target_entropy_share if self.critics.discrete else sizes * c.target_entropy
                self.parts["temperature"] = Weights(log_alpha=self.log_alpha)
                return {"temperature": [self.log_alpha]}

            @property
            def alpha(self) -> Tensor:
                """[R, 1, N or 1], without a gradient."""
                return self.log_alpha.detach().exp().view(self.replicas, 1, -1)

            def soft(
                self,
                output: Tensor,
                state: Tensor | None,
                observation: Tensor,
                noise: Tensor,
                action: Tensor | None,
                target: bool,
            ) -> tuple[Tensor, Tensor]:
                """(E[min_k Q_k], E[log pi]) [R, M, N] of the policy's ``output``; ``action``: others' in joint critics,
                by default what they draw, too."""
                critics = self.target_critics if target else self.critics
                if self.critics.discrete:
                    drawn = self.actor.sample(output, noise) if action is None else action
                    q = critics(observation, state, drawn).amin(dim=0)
                    log_p = torch.log_softmax(output, dim=-1)
                    p = log_p.exp()
                    return (p * q).sum(dim=-1), (p * log_p).sum(dim=-1)
                own, log_p = self.actor.sample_with_density(output, noise)
                return critics(observation, state, own if action is None else action, own).amin(dim=0), log_p

            def critic_loss(self, batch: Transitions) -> Tensor:
                """L(Q_1) + L(Q_2)."""
                with torch.no_grad():
                    output = self.actor(batch.next_observation, batch.next_mask)
                    seen = batch.next_state, batch.next_observation
                    q, log_p = self.soft(output, *seen, self.noise(0), None, target=True)
                    lives = 1.0 if batch.next_alive is None else batch.next_alive
                    following = q - self.alpha * log_p * lives
                values = self.critics(batch.observation, batch.state, batch.action)
                if self.critics.discrete:
                    values = chosen(values, batch.action.expand(values.shape[:-1]))
                return regression(values, batch, following)

            def actor_loss(self, batch: Transitions) -> Tensor:
                """L(pi)."""
                output = self.actor(batch.observation, batch.mask)
                q, log_p = self.soft(output, batch.state, batch.observation, self.noise(1), batch.action, target=False)
                self.log_p = log_p.detach()
                return living_mean(self.alpha * log_p - q, batch.alive)

            def learn_from(self, batch: Transitions) -> dict[str, Tensor]:  # type: ignore[override]
                """Critics, actors, temperature."""
                found = super().learn_from(batch)
                log_alpha = self.log_alpha.view(self.replicas, 1, -1)
                loss = living_mean(-log_alpha * (self.log_p + self.aim), batch.alive)
                return found | self.descend("temperature", loss) | {"temperature": self.alpha.mean(dim=(1, 2))}

        return IsacLearner
