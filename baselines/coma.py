"""COMA: counterfactual multi-agent policy gradients (Foerster et al. 2018, arXiv:1705.08926).

A centralised critic values joint actions, Q(s, u), and each agent learns from what *its* action added: what the team
got, less what it would have got on average had only this agent chosen again. Discrete actions only. After every short
rollout of all environments side by side:

1.  The critic, which gives agent i's Q(s, (u_-i, .)) for all of its actions at once from s, o_i and others' actions
    u_-i (their figure 1b), makes a few steps on TD(lambda) targets of a slowly following copy Q' (their section 3):

        L = E[(Q(s, u) - y)^2 / 2],    y_t = r_t + gamma ((1 - lambda) Q'(s_{t+1}, u_{t+1}) + lambda y_{t+1})

2.  The actors make one step on the policy gradient of the counterfactual advantage (their eqs. 4 and 5), with an
    entropy bonus in the place of their epsilon-soft policies:

        A_i = Q(s, u) - sum_u' pi_i(u' | o_i) Q(s, (u_-i, u'))
        L = -E[log pi_i(u_i | o_i) A_i] - c E[H(pi_i(. | o_i))]

Where a rollout or a time limit cuts an episode, y goes on with Q' of a joint action drawn from the policy there.

With shared parameters one actor and one critic serve all agents, told apart by a one-hot id.

Departures: no memory, where they have a GRU; targets follow softly; returns are normalised for the critic, and
advantages are in the same units.

Try it: ``rlnet-bench run quick --methods coma``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import ComaConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.on_policy import TeamLearner


@register(
    "coma",
    version=2,
    summary="policy gradients of counterfactual advantages from a critic of joint actions",
    Config=ComaConfig,
    training="centralised critic",
    capabilities=Capabilities(continuous=False),
    citation="foerster2018coma",
)
class Coma(Method):
    """Counterfactual multi-agent policy gradients."""

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        from typing import Any

        import torch
        from torch import Tensor

        from rlnet_bench import rng
        from rlnet_bench.learning.agents import AgentNetwork
        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.policy import action_noise
        from rlnet_bench.learning.policy_gradient import counterfactual, others_actions, score_times
        from rlnet_bench.learning.ppo import Batch, Loss, half_squared_error, minibatches
        from rlnet_bench.learning.returns import next_values
        from rlnet_bench.learning.rollout import flat, over_time
        from rlnet_bench.learning.targets import chosen, follow, lambda_return

        class ComaLearner(TeamLearner):
            """Counterfactual policy gradients for a team."""

            critic_reads = "states"

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **{**options, "training_reward": "team_mean"})
                self.target = self.make_critic()  # Q', at first equal to Q
                self.parts["target"] = self.target
                self.ahead_keys = self.keys(rng.Stream.EXPLORATION, self.num_envs)

            def held(self) -> list[Tensor]:
                """Q' diverges with Q."""
                return list(self.target.state_dict().values())

            def make_critic(self) -> AgentNetwork:
                """Q(s, (u_-i, .)) [R, n, N, A] from s, o_i and u_-i."""
                card, share = self.env.card, self.config.share_parameters
                inputs = card.state_size + self.actor.width + card.num_agents * card.action_size
                return self.critic_network(inputs, card.action_size, card.num_agents, 1 if share else card.num_agents)

            def reads(self, state: Tensor, features: Tensor, action: Tensor) -> Tensor:
                """The critic's inputs [..., N, inputs]."""
                s = state[..., None, :].expand(*action.shape, -1)
                return torch.cat((s, features, others_actions(action, self.env.card.action_size)), dim=-1)

            def passes(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
                """Steps of the critic, then one of the actors."""
                count, errors = self.config.critic_minibatches, []
                for batch in minibatches(self.batch_keys, (self.iteration, 0), self.shape, count):
                    self.optimiser.zero()
                    errors.append(torch.stack([self.error(chunk) for _, chunk in self.chunks(data, batch)]).sum(dim=0))
                    self.step("critic")
                    self.updates += 1
                    follow(self.target.parameters(), self.critic.parameters(), self.config.target_tau)
                return {**super().passes(data), "value_loss": torch.stack(errors).mean(dim=0)}

            def estimate(self) -> dict[str, Tensor]:
                """The rollout's rows with ``returns`` y [.., N] and ``logits`` of the policy that acted."""
                rollout = self.rollout
                return {**rollout.rows(), "returns": flat(self.targets()), "logits": flat(rollout.outputs)}

            @torch.no_grad()
            def targets(self) -> Tensor:
                """y of every step and agent [T, R, B, N], in the critic's units."""
                rollout, t, n = self.rollout, self.steps, self.env.card.num_agents
                value = self.q_along(rollout.states[:t], rollout.features[:t], rollout.actions)
                legal = None if self.now.action_mask is None else self.now.action_mask.view(1, *self.shape[1:], n, -1)
                # Draws are counted by step: what else was cut beside a replica must not move its own.
                steps = torch.arange(t + 1, device=self.device) + self.iteration * (t + 1)
                last = self.q_ahead(steps[t:], rollout.states[t:], rollout.features[t:], legal)[0]
                final = torch.zeros_like(value)
                cuts = rollout.cuts()
                if len(cuts):
                    legal = None if rollout.final_masks is None else rollout.final_masks[cuts]
                    seen = rollout.final_states[cuts], rollout.final_features[cuts]
                    final[cuts] = self.q_ahead(steps[cuts], *seen, legal)
                cut = rollout.truncated[..., None]
                following = next_values(value, last, final, cut)
                ends = rollout.terminated[..., None].expand_as(value)
                reward = rollout.reward(True).expand_as(value)
                y = lambda_return(reward, following, ends, ends | cut, self.config.gamma, self.config.td_lambda)
                self.norm.update(y)
                return self.norm.to_target(y)

            def q_along(self, states: Tensor, features: Tensor, actions: Tensor) -> Tensor:
                """Q'(s, u) in units of the reward, [T, R, B, N]."""
                x = self.reads(states, features, actions)
                q = over_time(self.target, x, self.env.card.num_agents)
                return self.norm.to_reward(chosen(q, actions))

            def q_ahead(self, steps: Tensor, states: Tensor, features: Tensor, masks: Tensor | None) -> Tensor:
                """The same [C, R, B, N] of joint actions that the policy would do there; masks [C, R, B, N, A].

                ``steps``: numbers [C] that count the draws.
                """
                r, b = features.shape[1:3]
                noise = action_noise(self.ahead_keys, steps[:, None], self.actor)
                legal, none = [None] * len(steps) if masks is None else masks, self.actor.initial_memory(r * b)
                actions = [self.actor.choose(x, none, may, u)[1] for x, may, u in zip(features, legal, noise)]
                return self.q_along(states, features, torch.stack(actions))

            def q(self, batch: Batch) -> Tensor:
                """Q(s, (u_-i, .)) [R, c, N, A], in the critic's units."""
                return self.critic(self.reads(batch["states"], batch["features"], batch["actions"]))

            def error(self, batch: Batch) -> Tensor:
                """The critic's L, whose gradients are left at its parameters; a number per replica."""
                error = batch.mean(half_squared_error(chosen(self.q(batch), batch["actions"]), batch["returns"]))
                error.sum().backward()
                return error.detach()

            def loss(self, batch: Batch) -> Loss:
                """The actors' L."""
                with torch.no_grad():
                    advantage = counterfactual(self.q(batch), batch["logits"], batch["actions"])
                log_p, entropy = self.actor.evaluate(batch.rows)
                policy, bonus = -batch.acting_mean(score_times(log_p, advantage)), batch.acting_mean(entropy)
                none = torch.zeros_like(bonus)
                return Loss(policy - self.config.entropy_weight * bonus, policy, none, bonus, none)

        return ComaLearner
