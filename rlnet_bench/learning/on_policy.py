"""Learners that act for T steps, learn from them, and throw them away.

:class:`OnPolicyLearner` is the loop; :class:`TeamLearner` adds an actor and a critic of a team. A baseline is a
subclass that says what its critic reads (:attr:`TeamLearner.critic_reads`) and what is minimised
(:meth:`TeamLearner.loss`).

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **F** features, **S**
state width, **V** values of a joint step, **c** rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.envs.layout import Layout
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.agents import CRITIC, AgentNetwork
from rlnet_bench.learning.config import OnPolicyConfig
from rlnet_bench.learning.optimise import Optimiser
from rlnet_bench.learning.policy import ActorPolicy, action_noise
from rlnet_bench.learning.ppo import METRICS, Batch, Loss, Minibatch, minibatches, normalised
from rlnet_bench.learning.returns import gae, next_values
from rlnet_bench.learning.rollout import CriticMemory, TeamRollout, at_cuts, chosen, flat, most, over_time, sequences
from rlnet_bench.learning.stacked import copy_keys
from rlnet_bench.learning.trainer import Trainer
from rlnet_bench.learning.value_norm import ValueNorm
from rlnet_bench.vocabulary import TrainingReward


class OnPolicyLearner(Trainer):
    """Collects T x B frames per replica with the current policy, then makes a few epochs over them.

    A subclass collects, and gives :meth:`estimate` and :meth:`losses`.
    """

    prefixes: Sequence[str] = ("",)  # of metrics: one per policy that is trained
    epoch = 0  # of the passes over a rollout, the one that is being made

    def __init__(
        self,
        env: VectorEnv,
        seeds: Sequence[int],
        config: OnPolicyConfig,
        *,
        training_reward: TrainingReward,
        total_frames: int,
    ) -> None:
        """Start the environments; nothing is stepped yet.

        Args:
            env: a fresh flat batch of len(seeds) * config.num_envs environments.
            seeds: one per replica.
            config: see :class:`~rlnet_bench.learning.config.OnPolicyConfig`.
            training_reward: ``team_mean`` (one reward for all) or ``individual``.
            total_frames: the budget, for learning-rate annealing.
        """
        if env.num_envs != len(seeds) * config.num_envs:
            raise ValueError(f"expected {len(seeds)} x {config.num_envs} environments, found {env.num_envs}")
        super().__init__(env, seeds, steps=config.rollout_steps, total_frames=total_frames)
        self.config: Any = config
        self.team_reward = training_reward == "team_mean"
        self.shape = (self.steps, self.replicas, self.num_envs)
        self.action_keys = self.keys(rng.Stream.ACTION, self.num_envs)
        rows = self.steps * self.num_envs
        self.batch_keys = self.keys(rng.Stream.MINIBATCH, rows).view(self.replicas, rows)

    def estimate(self) -> Any:
        """What a rollout says, from which minibatches are taken: advantages, value targets, rows."""
        raise NotImplementedError

    def losses(self, data: Any, batch: Minibatch) -> Iterator[dict[str, Loss]]:
        """The losses of a minibatch, chunk by chunk, by the prefix of their metrics."""
        raise NotImplementedError

    def adam(self, groups: Mapping[str, Sequence[Tensor]], rates: Mapping[str, float] | None = None) -> None:
        """Train these groups as the settings say, or each at a rate of its own.

        The gradient norm of ``PREFIXactor`` is a metric.
        """
        config = self.config
        rate = config.learning_rate if rates is None else rates
        self.train(Optimiser(groups, self.replicas, learning_rate=rate, max_grad_norm=config.max_grad_norm))

    def epochs_of(self, prefix: str) -> int:
        """Passes over a rollout of the policy with this prefix of metrics."""
        return self.config.epochs

    def update(self) -> dict[str, Tensor]:
        """Learn from the rollout."""
        self.optimiser.anneal(1.0 - self.progress if self.config.anneal else 1.0)
        metrics = self.passes(self.estimate())
        self.settle()
        return metrics

    def settle(self) -> None:
        """Networks whose inputs are normalised see what was learned from; the next rollout is acted on with it."""

    def passes(self, data: Any) -> dict[str, Tensor]:
        """The passes over the rollout, ``minibatches`` optimiser steps each; mean metrics [R]."""
        config = self.config
        totals = {prefix: torch.zeros(len(METRICS), self.replicas, device=self.device) for prefix in self.prefixes}
        for epoch in range(max(map(self.epochs_of, self.prefixes), default=0)):
            self.epoch = epoch
            for batch in minibatches(self.batch_keys, (self.iteration, epoch), self.shape, config.minibatches):
                self.optimiser.zero()
                for losses in self.losses(data, batch):
                    total = torch.stack([loss.total.sum() for loss in losses.values()]).sum()
                    if total.requires_grad:
                        total.backward()
                    for prefix, loss in losses.items():
                        totals[prefix][:-1] += loss.numbers()
                norms = self.step()
                self.updates += 1
                for prefix in self.prefixes:
                    totals[prefix][-1] += norms.get(f"{prefix}actor", 0.0)
        for prefix, total in totals.items():
            total /= self.epochs_of(prefix) * config.minibatches
        return {f"{prefix}{name}": x for prefix, total in totals.items() for name, x in zip(METRICS, total)}


class TeamLearner(OnPolicyLearner):
    """An actor and a critic for every agent of a team, of one kind; the algorithm is in :meth:`loss`."""

    critic_reads: Literal["features", "states"]  # what the actor reads, or the state of the task
    rollout_class: type[TeamRollout] = TeamRollout

    def __init__(
        self, env: VectorEnv, seeds: Sequence[int], config: OnPolicyConfig, *, training_reward: TrainingReward,
        total_frames: int,
    ) -> None:  # fmt: skip
        """See :class:`OnPolicyLearner`."""
        super().__init__(env, seeds, config, training_reward=training_reward, total_frames=total_frames)
        self.actor = self.make_actor()
        self.critic = self.make_critic()
        self.norm = ValueNorm(self.replicas, self.device, config.normalise_value)
        self.rollout = self.rollout_class(env, self.actor, self.steps, self.replicas, self.critic_reads == "states")
        self.critic_memory = CriticMemory(self.critic, self.rollout)
        self.adam({"actor": list(self.actor.parameters()), "critic": list(self.critic.parameters())})
        self.parts |= {"actor": self.actor, "critic": self.critic, "value_norm": self.norm}
        if self.is_recurrent:
            self.parts |= {"memory": self.rollout, "critic_memory": self.critic_memory}

    @property
    def is_recurrent(self) -> bool:
        """It learns from whole rollouts of environments instead of single steps."""
        return self.actor.is_recurrent or self.critic.is_recurrent

    # -- what a baseline says ----------------------------------------------------------------------------

    def make_actor(self) -> Actor:
        """The acting network."""
        return Actor(self.env.card, ActorSpec.of(self.config), self.seeds, self.device)

    def make_critic(self) -> AgentNetwork:
        """V: [R, n, K, inputs] -> [R, n, K, outputs], over what :attr:`critic_reads`.

        Of what actors read: a value per agent, by one network for all or one each. Of the state: one for the team, or
        one per agent where rewards or parameters are the agents' own.
        """
        card, share = self.env.card, self.config.share_parameters
        copies = 1 if share else card.num_agents
        if self.critic_reads == "features":
            layout = self.actor.spec.layout(card)
            return self.critic_network(self.actor.width, 1, agents=card.num_agents, copies=copies, layout=layout)
        outputs = 1 if self.team_reward or not share else card.num_agents
        return self.critic_network(inputs=card.state_size, outputs=outputs, agents=copies, copies=copies)

    def critic_network(
        self, inputs: int, outputs: int, agents: int, copies: int, layout: Layout | None = None
    ) -> AgentNetwork:
        """A critic of the settings' size for K agents, in so many copies: one (shared) or K."""
        config, keys = self.config, copy_keys(self.seeds, copies, CRITIC)
        return AgentNetwork(
            (inputs, *config.critic_hidden, outputs), keys, self.replicas, agents, memory=config.memory,
            activation=config.activation, normalise=config.normalise_observation, layout=layout,
            device=self.device,
        )  # fmt: skip

    def loss(self, batch: Batch) -> Loss:
        """What is minimised, from a chunk of a minibatch."""
        raise NotImplementedError

    # -- the learner's contract --------------------------------------------------------------------------

    def policy(self) -> ActorPolicy:
        """The policy as it stands (sharing its weights)."""
        return ActorPolicy(self.actor)

    def collect(self) -> None:
        """Fill the buffers with T steps of every environment under the current policy."""
        start = self.iteration * self.steps
        steps = torch.arange(start, start + self.steps, device=self.device)[:, None]
        self.now = self.rollout.collect(self.now, self.noise(steps))

    def noise(self, steps: Tensor) -> Tensor:
        """What actions are sampled with at these steps [T, 1], by counter."""
        return action_noise(self.action_keys, steps, self.actor)

    def checks(self) -> dict[str, Tensor]:
        """Actions."""
        return {"action": self.rollout.actions.transpose(0, 1).to(torch.float32)}

    def held(self) -> list[Tensor]:
        """What is remembered."""
        return [self.rollout.memory, self.critic_memory.now] if self.is_recurrent else []

    # -- the update --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Actor and critic see the rollout."""
        read = self.rollout.states if self.critic_reads == "states" else self.rollout.features
        assert read is not None
        self.actor.network.see(rows_of(self.rollout.features[: self.steps]))
        self.critic.see(rows_of(self._read(read[: self.steps])))

    def estimate(self) -> dict[str, Tensor]:
        """The rollout's rows with ``advantage`` [.., N] (normalised) and ``returns`` [.., V] (value targets)."""
        advantage, returns = self.advantages()
        return {**self.rollout.rows(), "advantage": flat(advantage), "returns": flat(returns)}

    @torch.no_grad()
    def advantages(self) -> tuple[Tensor, Tensor]:
        """(scaled advantages [T, R, B, N], value targets [T, R, B, V])."""
        rollout, t = self.rollout, self.steps
        value, final = self.rollout_values()
        following = next_values(value[:t], value[t], final, rollout.truncated[..., None])
        advantage = self.credit(
            rollout.reward(self.team_reward), value[:t], following, rollout.endings(self.team_reward),
            rollout.truncated[..., None],
        )  # fmt: skip
        returns = advantage + value[:t]
        self.norm.update(returns)
        return self.scaled(advantage.expand(rollout.shape)), self.norm.to_target(returns)

    def credit(self, reward: Tensor, value: Tensor, following: Tensor, terminated: Tensor, truncated: Tensor) -> Tensor:
        """Advantages along the rollout, all [T, R, B, V or 1], in units of the reward: generalised ones."""
        return gae(reward, value, following, terminated, truncated, self.config.gamma, self.config.gae_lambda)

    def scaled(self, advantage: Tensor) -> Tensor:
        """Advantages [T, R, B, N] as the loss reads them: normalised as the settings say."""
        return normalised(advantage, self.config.normalise_advantage)

    def rollout_values(self) -> tuple[Tensor, Tensor]:
        """In units of the reward: V of what was acted on and of what follows [T + 1, R, B, V], and of final
        observations [T, R, B, V] where a time limit cut an episode."""
        rollout, central = self.rollout, self.critic_reads == "states"
        inputs = rollout.states if central else rollout.features
        finals = rollout.final_states if central else rollout.final_features
        assert inputs is not None and finals is not None
        if self.critic.is_recurrent:
            value, final = self.critic_memory.values(self._critic_along, inputs, finals)
        else:
            width = self.critic.agents
            value = over_time(self._critic, inputs, width)
            final = at_cuts(self._critic, finals, rollout, width)
        return self.norm.to_reward(value), self.norm.to_reward(final)

    def value(self, batch: Batch) -> Tensor:
        """Normalised values [R, c, V] of a chunk."""
        x = batch[self.critic_reads]
        if not self.critic.is_recurrent:
            return self._critic(x)
        steps = batch["begins"].shape[1]
        return self._critic_along(x.unflatten(1, (steps, -1)), batch["recalled"], batch["begins"])[0].flatten(1, 2)

    def _critic(self, x: Tensor) -> Tensor:
        """[R, c, S] or [R, c, N, F] -> [R, c, V]."""
        return _values(self.critic(self._read(x)))

    def _critic_along(self, x: Tensor, memory: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[R, T, n, S] or [R, T, n, N, F] -> [R, T, n, V], and what is remembered after every step."""
        out, after = self.critic.along(self._read(x), memory, begins)
        return _values(out), after

    def _read(self, x: Tensor) -> Tensor:
        """The state is read by every critic."""
        return x[..., None, :].expand(*x.shape[:-1], self.critic.agents, -1) if self.critic_reads == "states" else x

    def losses(self, data: dict[str, Tensor], batch: Minibatch) -> Iterator[dict[str, Loss]]:
        """The minibatch in chunks."""
        for _, chunk in self.chunks(data, batch):
            yield {"": self.loss(chunk)}

    def chunks(self, data: dict[str, Tensor], batch: Minibatch) -> Iterator[tuple[Tensor, Batch]]:
        """Parts of a minibatch that fit into a cache: which rows [R, c] of flat buffers, and what they hold."""
        t, r, _, n = self.rollout.shape
        if self.is_recurrent:
            for envs in batch.envs.split(most(r * n * t, self.device), dim=1):
                rows, more = sequences(self.rollout, envs, self.rollout.start, self.critic_memory.before)
                yield rows, Batch({**chosen(data, rows), **more}, batch.envs.shape[1] * t)
        else:
            for rows in batch.rows.split(most(r * n, self.device), dim=1):
                yield rows, Batch(chosen(data, rows), batch.rows.shape[1])


def rows_of(x: Tensor) -> Tensor:
    """[T, R, B, K, F] -> [R, T * B, K, F]."""
    return x.transpose(0, 1).flatten(1, 2)


def _values(out: Tensor) -> Tensor:
    """[..., K, outputs] -> [..., V]: one critic with a value per agent, or one value of each critic."""
    return out.squeeze(-2) if out.shape[-1] > 1 else out.squeeze(-1)
