"""Central: one policy for the whole team, pi(u | o_1, ..., o_n), by PPO (Schulman et al. 2017, arXiv:1707.06347).

The rival of everything that passes messages: a single learner that reads all observations and chooses all actions, as
if the team were one agent. What a task pays beyond it cannot be won by any way of talking; what it pays beyond
independent learners is what knowing and deciding together is worth. After every rollout:

1.  Generalised advantages A of a critic V(o_1, ..., o_n) and returns R = A + V_old.
2.  A few epochs of minibatches on PPO's loss, r being the ratio of probabilities of the *joint* action:

        L = -E[min(r A, clip(r, 1 - eps, 1 + eps) A)] + c_1 E[(V - R)^2 / 2] - c_2 E[H(pi(. | o_1, ..., o_n))]

The policy is one categorical distribution over all joint actions (``heads: joint``), which can express any
coordination: "both left or both right" is one choice. Beyond 4,096 joint actions it is a head per agent on one body
(``heads: factorised``): the agents' choices are independent given all observations. Continuous actions: one Gaussian
with a diagonal covariance over the team's action. Which of them it is stands in the policy's spec.

It learns from the team's mean reward, whatever the suite's ``training_reward``. With ``memory: gru`` it reads all that
came before in the episode.

Try it: ``rlnet-bench run quick --methods central``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import CentralConfig
from rlnet_bench.methods import Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.actor import Actor
    from rlnet_bench.learning.on_policy import TeamLearner
    from rlnet_bench.learning.policy import ActorPolicy, Policy

MOST = 4096  # joint actions of one categorical distribution


def heads(card: TaskCard) -> str:
    """``joint``, ``factorised`` or ``gaussian``."""
    if card.action_kind == "continuous":
        return "gaussian"
    return "joint" if prod(card.action_sizes) <= MOST else "factorised"


def central_actor(card: TaskCard, spec: Mapping[str, Any], seeds: Sequence[int], device: Any = "cpu") -> Actor:
    """The team's network for a task, or for its joint card."""
    from rlnet_bench.learning.actions import Actions
    from rlnet_bench.learning.actor import Actor, ActorSpec
    from rlnet_bench.learning.agents import ACTOR
    from rlnet_bench.learning.joint import TeamNetwork
    from rlnet_bench.learning.stacked import copy_keys

    own = ActorSpec.from_json(spec)
    sizes, n = (own.features(card), *own.hidden, Actions(card).outputs), card.num_agents
    network = TeamNetwork(
        sizes, copy_keys(seeds, 1, ACTOR), len(seeds), n, n, memory=own.memory, activation=own.activation,
        normalise=own.normalise_observation, output_gain=0.01, device=device,
    )  # fmt: skip
    return Actor(card, own, seeds, device, network)


def central_policy(actor: Actor, card: TaskCard) -> ActorPolicy:
    """The team's network as a policy of the task."""
    from rlnet_bench.learning.joint import JointPolicy
    from rlnet_bench.learning.policy import ActorPolicy

    spec = {"kind": "central", "heads": heads(card), "actor": actor.spec.to_json()}
    return JointPolicy(actor, card, spec) if heads(card) == "joint" else ActorPolicy(actor, spec)


@register(
    "central",
    version=1,
    summary="PPO for the team as one agent: one policy over the joint observation and the joint action",
    Config=CentralConfig,
    training="gradients across agents",
    citation="schulman2017ppo",
)
class Central(Method):
    """One policy for the team."""

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """See :class:`~rlnet_bench.methods.Method`."""
        from rlnet_bench.learning.joint import joint_card

        own = joint_card(card) if heads(card) == "joint" else card
        return central_policy(central_actor(own, spec["actor"], seeds, device), card)

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        import torch
        from torch import Tensor

        from rlnet_bench.envs.contract import VectorEnv
        from rlnet_bench.learning.actor import ActorSpec
        from rlnet_bench.learning.agents import CRITIC
        from rlnet_bench.learning.joint import JointEnv, TeamNetwork
        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped
        from rlnet_bench.learning.stacked import copy_keys

        class CentralLearner(TeamLearner):
            """PPO for a team as one agent."""

            critic_reads = "features"  # everybody's

            def __init__(self, env: VectorEnv, *args: Any, **options: Any) -> None:
                self.task = env.card
                env = JointEnv(env) if heads(env.card) == "joint" else env
                super().__init__(env, *args, **{**options, "training_reward": "team_mean"})

            def make_actor(self) -> Actor:
                """pi(. | o_1, ..., o_n)."""
                return central_actor(self.env.card, ActorSpec.of(self.config).to_json(), self.seeds, self.device)

            def make_critic(self) -> TeamNetwork:
                """V(o_1, ..., o_n)."""
                config, n = self.config, self.env.card.num_agents
                sizes, keys = (self.actor.width, *config.critic_hidden, 1), copy_keys(self.seeds, 1, CRITIC)
                return TeamNetwork(
                    sizes, keys, self.replicas, n, 1, memory=config.memory, activation=config.activation,
                    normalise=config.normalise_observation, device=self.device,
                )  # fmt: skip

            def policy(self) -> ActorPolicy:
                """For the agents of the task."""
                return central_policy(self.actor, self.task)

            def loss(self, batch: Batch) -> Loss:
                """L; ``advantage`` is A and ``returns`` R, both normalised as the settings say."""
                log_p, entropy = (self.of_team(x, batch) for x in self.actor.evaluate(batch.rows))
                ratio = torch.exp(log_p - self.of_team(batch["log_p"], batch))
                surrogate = clipped_surrogate(ratio, batch["advantage"][..., :1], self.config.clip)
                policy, bonus = -batch.mean(surrogate), batch.mean(entropy)
                value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))
                total = policy + self.config.value_weight * value - self.config.entropy_weight * bonus
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))

            def of_team(self, x: Tensor, batch: Batch) -> Tensor:
                """Sum [R, c, 1] over what the heads [R, c, N] say; the dead choose nothing."""
                alive = batch.get("alive")
                return (x if alive is None else x * alive).sum(dim=2, keepdim=True)

        return CentralLearner
