"""Proximal policy optimisation at every vertex of a network, for R replicas side by side.

The same loop, rollouts, losses and counters as :mod:`rlnet_bench.learning.on_policy`: a network of motors alone gives
the numbers of IPPO with separate parameters to the bit. Every stack of vertices has its own advantages, values,
clipping and value normalisation; one optimiser holds all parameters.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **K** vertices of a
stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.learning.on_policy import OnPolicyLearner, rows_of
from rlnet_bench.learning.ppo import Batch, Loss, Minibatch
from rlnet_bench.learning.rollout import chosen, most, sequences
from rlnet_bench.learning.trainer import Tensors
from rlnet_bench.networks.estimate import Estimator, Rows
from rlnet_bench.networks.execute import Executor
from rlnet_bench.networks.graph import Graph
from rlnet_bench.networks.losses import cluster_loss, clusters
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.policy import NetworkPolicy, build_nets
from rlnet_bench.networks.rollout import Rollout
from rlnet_bench.networks.step import hidden_key
from rlnet_bench.networks.tenancy import tenancy
from rlnet_bench.networks.tenant import Tenant
from rlnet_bench.networks.wiring import wire
from rlnet_bench.vocabulary import TrainingReward

if TYPE_CHECKING:
    from rlnet_bench.networks.method import NetworkConfig


MEAN_OVER = 20  # iterations, of what a vertex with `delivers: constant` says on average


class NetworkLearner(OnPolicyLearner):
    """PPO for every stack of a network."""

    def __init__(
        self,
        env: VectorEnv,
        seeds: Sequence[int],
        graph: Graph,
        config: NetworkConfig,
        *,
        training_reward: TrainingReward,
        total_frames: int,
    ) -> None:
        """See :class:`~rlnet_bench.learning.on_policy.OnPolicyLearner`; ``graph`` is a network laid over the task."""
        super().__init__(env, seeds, config, training_reward=training_reward, total_frames=total_frames)
        self.graph, r = graph, self.replicas
        wiring = wire(graph, share_motors=config.share_parameters)
        self.nets = build_nets(wiring, config, seeds, env.device, with_critic=True)
        self.tenants = {
            s.number: Tenant(
                tenancy(graph, s.members, config, shared=s.shared), s, env, self.now, seeds,
                team_reward=self.team_reward, total_frames=total_frames,
            )
            for s in wiring.stacks if s.is_tenant
        }  # fmt: skip
        for number, tenant in self.tenants.items():
            self.nets[number].tenant, tenant.learner.frozen = tenant.learner.policy(), self.frozen
        self.executor = Executor(wiring, self.nets, r, env.device)
        self.executor.tenants = dict(self.tenants)
        self.rollout = Rollout(env, self.executor, self.steps, r)
        self.rollout.tenants = self.tenants
        self.estimator = Estimator(self.rollout, config, self.team_reward)
        self.clusters = clusters(self.nets)
        self.memory = Tensors(env.device, **self.executor.initial_memory(env.num_envs))
        self.labels, self.prefix_of = _names(self.nets)
        self._net_of = {self.prefix_of[n.stack.number]: n for n in self.nets if n.is_trained}
        self.prefixes = tuple(self._net_of)
        groups: dict[str, list[Tensor]] = {}
        rates: dict[str, float] = {}
        for net in self.nets:
            prefix = self.prefix_of[net.stack.number]
            mine = {f"{prefix}actor": net.actor_parameters(), f"{prefix}critic": net.critic_parameters()}
            groups |= mine
            rates |= dict.fromkeys(mine, net.recipe.learning_rate)
        self.adam(groups, rates)
        self.moved: dict[int, Tensor] = {}  # how far policies have moved in this minibatch, [R] by stack
        self.going: dict[int, Tensor] = {}  # which replicas of them still learn from this rollout, [R] bool
        self.parts |= {"actor": self.policy(), "estimator": self.estimator, "memory": self.memory}
        for net in self.nets:
            helpers = {"critic": net.critic, "readout": net.readout}
            self.parts |= {f"{name}.{net.stack.number}": x for name, x in helpers.items() if x is not None}
        self.parts |= {f"tenant.{number}": tenant for number, tenant in self.tenants.items()}

    def policy(self) -> NetworkPolicy:
        """The policy as it stands (sharing its weights)."""
        return NetworkPolicy(self.executor.wiring, self.nets, self.replicas, self.config)

    def collect(self) -> None:
        """T steps of every environment under the current policies."""
        start = self.iteration * self.steps
        self.now, self.memory.now = self.rollout.collect(self.action_keys, start, self.now, self.memory.now)

    def settle(self) -> None:
        """Every network sees what it read."""
        if self.config.normalise_observation != "running":
            return
        t = self.steps
        for net, buffer in zip(self.nets, self.rollout.stacks):
            if net.policy is not None:
                net.policy.see(net.weighted(rows_of(buffer.features[:t]), with_gradient=False))
            if net.critic is not None:
                net.critic.see(net.valued(rows_of(buffer.valued[:t])))
            if net.message is not None and buffer.reported is not None:
                net.message.see(rows_of(buffer.reported))

    def learn(self) -> dict[str, Tensor]:
        """The updates after a rollout; the next one begins."""
        self._average()
        metrics = super().learn()
        self.estimator.carry_on()
        self._tell_progress()
        return metrics

    def _average(self) -> None:
        """What vertices have said, for those that send its mean."""
        for net, buffer in zip(self.nets, self.rollout.stacks):
            if net.usual.shape[-1] and buffer.own is not None:
                said = net.instruction(buffer.own).flatten(-2)  # [T, R, B, K * H * D]
                decided = buffer.due[: len(said), ..., None]
                mean = (said * decided).sum(dim=(0, 2)) / decided.sum(dim=(0, 2)).clamp(min=1)
                share = 1.0 / (1 + min(self.iteration, MEAN_OVER - 1))
                net.usual.lerp_(mean[:, None], share)

    def _tell_progress(self) -> None:
        for net in self.nets:
            net.progress.fill_(self.progress)

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue to the bit."""
        super().load_state_dict(state)
        for tenant in self.tenants.values():
            tenant.learner.frozen = self.frozen
        self._tell_progress()

    # -- update ------------------------------------------------------------------------------------------

    def update(self) -> dict[str, Tensor]:
        """Learn from the rollout; other methods at its vertices have learned while it was collected."""
        metrics = super().update()
        for number, tenant in self.tenants.items():
            updates, found = tenant.report()
            self.updates += updates
            metrics |= {f"{self.prefix_of[number]}{name}": x for name, x in found.items()}
        return metrics

    def epochs_of(self, prefix: str) -> int:
        """As its recipe says."""
        return self._net_of[prefix].recipe.epochs

    def passes(self, data: dict[int, Rows]) -> dict[str, Tensor]:
        """Every stack as often as its recipe says, and no further than that."""
        ones = torch.ones(self.replicas, dtype=torch.bool, device=self.device)
        limited = [n for n in self.nets if n.recipe.target_kl is not None and n.stack.learns]
        self.going = {n.stack.number: ones for n in limited}
        return super().passes(data)

    def step(self, *groups: str) -> dict[str, Tensor]:
        """One optimiser step of the stacks that are still learning; gradient norms before clipping, [R] each.

        A policy beyond its ``target_kl`` waits for the next rollout, replica by replica; its critic goes on.
        """
        names, rows = [], {}
        for net in self.nets:
            number, prefix = net.stack.number, self.prefix_of[net.stack.number]
            if self.epoch >= net.recipe.epochs:
                continue
            names += [f"{prefix}actor", f"{prefix}critic"]
            if number in self.going:
                assert net.recipe.target_kl is not None
                if number in self.moved:
                    self.going[number] = self.going[number] & (self.moved[number] <= net.recipe.target_kl)
                rows[f"{prefix}actor"] = self.going[number].repeat_interleave(len(net.stack.copies))
        self.moved = {}
        return self.optimiser.step(self.frozen, names, rows)

    def estimate(self) -> dict[int, Rows]:
        """Flat rows of every stack that learns, by stack number."""
        return self.estimator.estimate()

    def losses(self, data: dict[int, Rows], batch: Minibatch) -> Iterator[dict[str, Loss]]:
        """Cluster by cluster, in chunks."""
        for cluster in self.clusters:
            if all(self.epoch >= net.recipe.epochs for net in cluster):
                continue
            numbers = [net.stack.number for net in cluster if net.stack.number in data]
            widest = max(net.stack.size_k for net in cluster)
            mine = {n: data[n] for n in numbers}
            for rows, more, steps in self._chunks(cluster, mine, batch, most(self.replicas * widest, self.device)):
                batches = {n: Batch({**chosen(data[n], rows), **more}, steps[n]) for n in numbers}
                found, moved = cluster_loss(cluster, batches, self.config)
                for number, kl in moved.items():
                    self.moved[number] = self.moved[number] + kl if number in self.moved else kl
                yield {self.prefix_of[n]: loss for n, loss in found.items()}

    def _chunks(
        self, cluster: Sequence[StackNet], data: dict[int, Rows], batch: Minibatch, size: int
    ) -> Iterator[tuple[Tensor, Rows, dict[int, Tensor | int]]]:
        """(rows [R, c], what was remembered, decisions in the whole minibatch by stack) of a cluster's chunks."""
        first, mine = cluster[0].stack, batch.rows
        if cluster[0].is_recurrent:
            mine = self._sequences(first.number, batch.envs)[0]
        elif len(cluster) == 1 and first.period > 1 and self.estimator.lockstep:
            mine = _decisions(data[first.number]["weight"], batch.rows)
        if mine.shape[1] == 0:
            return
        steps: dict[int, Tensor | int] = {}
        for number, rows in data.items():
            steps[number] = mine.shape[1]
            if "weight" in rows:
                steps[number] = chosen({"": rows["weight"]}, mine)[""].sum(dim=(1, 2)).clamp(min=1.0)
        if cluster[0].is_recurrent:
            for envs in batch.envs.split(max(1, size // self.steps), dim=1):
                yield *self._sequences(first.number, envs), steps
        else:
            for rows in mine.split(size, dim=1):
                yield rows, {}, steps

    def _sequences(self, number: int, envs: Tensor) -> tuple[Tensor, Rows]:
        memory = self.estimator.memories.get(number)
        before = None if memory is None else memory.before
        return sequences(self.rollout, envs, self.rollout.start[hidden_key(number)], before)

    # -- divergence --------------------------------------------------------------------------------------

    def checks(self) -> dict[str, Tensor]:
        """Actions and instructions."""
        found = {}
        for net, buffer in zip(self.nets, self.rollout.stacks):
            for name, raw in (("action", buffer.env), ("instruction", buffer.own)):
                if raw is not None:
                    found[f"{self.labels[net.stack.number]} {name}"] = raw.transpose(0, 1).to(torch.float32)
        return found

    def held(self) -> list[Tensor]:
        """Frozen vertices, too (whatever acts must be a number), and what is remembered."""
        weights = [p for net in self.nets for p in net.state_dict().values()]
        remembered = [x for name, x in self.memory.now.items() if name.startswith("hidden")]
        others = [x for tenant in self.tenants.values() for x in tenant.held()]
        return [*weights, *remembered, *(m.now for m in self.estimator.memories.values()), *others]


def _names(nets: Sequence[StackNet]) -> tuple[dict[int, str], dict[int, str]]:
    """(labels, prefixes of metrics) by stack number: the first motors that are trained need no prefix."""
    names = [n.stack.name for n in nets]
    labels = {  # the number tells apart stacks of one name
        n.stack.number: n.stack.name if names.count(n.stack.name) == 1 else f"{n.stack.name}#{n.stack.number}"
        for n in nets
    }
    plain = next((n.stack.number for n in nets if n.stack.is_motor and n.is_trained), None)
    return labels, {number: "" if number == plain else f"{label}." for number, label in labels.items()}


def _decisions(weight: Tensor, rows: Tensor) -> Tensor:
    """The rows at which a slow vertex decided; as many in every replica, as episodes run in lockstep."""
    keep = weight.index_select(0, rows.flatten()).view(rows.shape)
    count = int(keep.sum(dim=1).max())
    first = keep.argsort(dim=1, descending=True, stable=True)[:, :count]
    return rows.gather(1, first)
