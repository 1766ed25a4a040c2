"""HAPPO: PPO agent by agent, each minding what those before it have changed (Kuba et al. 2022, arXiv:2109.11251).

Agents have networks of their own. After every rollout, with generalised advantages A of a critic V(s) (their
algorithm 4), agents are updated one after the other, in an order i_1, ..., i_n that is drawn anew:

1.  M^{i_1} = A.
2.  Agent i_m makes a few epochs of minibatches on the clipped surrogate of M^{i_m} (their eq. 11, with the usual
    entropy bonus), r being the ratio of its probabilities pi(u | o) / pi_old(u | o):

        L = -E[min(r M, clip(r, 1 - eps, 1 + eps) M)] - c E[H(pi(. | o))]

3.  M^{i_{m+1}} = r M^{i_m}, with the ratio of its *new* policy, on the whole rollout.

So the team as a whole improves, which simultaneous updates do not promise. The critic makes its epochs beside the first
agent's, on E[(V(s) - R)^2 / 2]. An agent that is not in turn is left alone entirely, Adam's moments and count of steps
included: to Adam a gradient of zero would be a step.

The method is about one reward for the team: it learns from the team's mean reward, whatever the suite's
``training_reward``. With ``memory: gru`` actors and critic read all that came before in the episode.

Departures: value errors are squared, neither clipped nor Huber's; all replicas' agents in turn are one product.

Try it: ``rlnet-bench run quick --methods happo``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import HappoConfig
from rlnet_bench.methods import Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "happo",
    version=1,
    summary="PPO agent by agent in a drawn order, each weighted by the changes of those before it",
    Config=HappoConfig,
    training="centralised critic",
    citation="kuba2022happo",
)
class Happo(Method):
    """Heterogeneous-agent PPO."""

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        from typing import Any

        import torch
        from torch import Tensor

        from rlnet_bench import rng
        from rlnet_bench.learning.agents import AgentNetwork
        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.policy_gradient import permutations
        from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped, minibatches

        class HappoLearner(TeamLearner):
            """PPO for a team whose agents take turns."""

            critic_reads = "states"

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **{**options, "training_reward": "team_mean"})
                self.order_keys = self.keys(rng.Stream.MINIBATCH, 1)
                self.turn, self.is_first = torch.zeros_like(self.order_keys), True  # whose turn it is, [R]

            def make_critic(self) -> AgentNetwork:
                """V(s), one for the team."""
                return self.critic_network(inputs=self.env.card.state_size, outputs=1, agents=1, copies=1)

            def passes(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
                """One agent of every replica after the other."""
                agents, found = self.env.card.num_agents, []
                order = permutations(self.order_keys, self.iteration, agents)  # [R, N]
                data["compound"] = torch.ones_like(data["returns"])
                for place in range(agents):
                    self.turn, self.is_first = order[:, place], place == 0
                    found.append(super().passes(data))
                    self.compound(data)
                mean = {name: torch.stack([metrics[name] for metrics in found]).mean(dim=0) for name in found[0]}
                return {**mean, "value_loss": found[0]["value_loss"]}

            def step(self, *groups: str) -> dict[str, Tensor]:
                """Of the agents in turn alone."""
                mine = torch.arange(self.env.card.num_agents, device=self.device) == self.turn[:, None]
                return self.optimiser.step(self.frozen, groups, rows={"actor": mine.flatten()})

            def loss(self, batch: Batch) -> Loss:
                """L of the agents in turn; ``advantage`` is A and ``compound`` the product of the ratios so far."""
                ratio, entropy, alive = self.ratio(batch)
                surrogate = clipped_surrogate(ratio, batch["compound"] * batch["advantage"][..., :1], self.config.clip)
                policy, bonus = -batch.mean(surrogate * alive), batch.mean(entropy * alive)
                total, value = policy - self.config.entropy_weight * bonus, torch.zeros_like(bonus)
                if self.is_first:
                    value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))
                    total = total + self.config.value_weight * value
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))

            def ratio(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
                """(r, entropy, alive), [R, c, 1] each, of the agents in turn; the dead choose nothing: their r is 1."""

                def mine(x: Tensor) -> Tensor:
                    return x.gather(2, self.turn[:, None, None].expand(-1, x.shape[1], -1))

                log_p, entropy = self.actor.evaluate(batch.rows)
                alive = batch.get("alive")
                lives = torch.ones_like(batch["compound"]) if alive is None else mine(alive)
                return torch.exp(mine(log_p - batch["log_p"]) * lives), mine(entropy), lives

            @torch.no_grad()
            def compound(self, data: dict[str, Tensor]) -> None:
                """M^{i_{m+1}} = r M^{i_m}, of the whole rollout."""
                (everything,) = minibatches(self.batch_keys, (self.iteration, 0), self.shape, 1)
                for rows, chunk in self.chunks(data, everything):
                    data["compound"][rows.flatten()] *= self.ratio(chunk)[0].flatten(0, 1)

        return HappoLearner
