"""Proximal policy optimisation at every vertex of a network, for R replicas side by side.

The same rollouts, updates and counters as :mod:`rlnet_bench.learning.ppo`: a network of motors alone gives the
numbers of IPPO with separate parameters to the bit. Every stack of vertices has its own advantages, values,
clipping and value normalisation; one optimiser holds all parameters.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **K** vertices of a
stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.learning.learner import Divergence
from rlnet_bench.learning.optimise import (
    clip_gradients,
    finite_replicas,
    load_optimiser_state,
    optimiser_state,
    per_replica,
    zero_replicas,
)
from rlnet_bench.learning.ppo import CHUNK_ROWS
from rlnet_bench.networks.estimate import Estimator
from rlnet_bench.networks.execute import Executor
from rlnet_bench.networks.graph import Graph
from rlnet_bench.networks.losses import METRICS, Part, cluster_loss, clusters
from rlnet_bench.networks.policy import NetworkPolicy, build_nets
from rlnet_bench.networks.rollout import Rollout
from rlnet_bench.networks.wiring import wire
from rlnet_bench.vocabulary import TrainingReward

if TYPE_CHECKING:
    from rlnet_bench.networks.method import NetworkConfig


class NetworkLearner:
    """Collects T x B frames per replica with the current policies, then makes a few epochs over them."""

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
        """Wire up networks, optimiser and buffers; nothing is stepped yet.

        Args:
            env: a fresh flat batch of len(seeds) * config.num_envs environments.
            seeds: one per replica.
            graph: a network laid over the environment's task.
            config: see :class:`~rlnet_bench.networks.method.NetworkConfig`.
            training_reward: ``team_mean`` (every agent's reward is the team's mean) or ``individual``.
            total_frames: the budget, for annealing.
        """
        self.env, self.config, self.seeds, self.graph = env, config, tuple(seeds), graph
        self.total_frames = total_frames
        device = env.device
        r, b, t = len(seeds), config.num_envs, config.rollout_steps
        if env.num_envs != r * b:
            raise ValueError(f"expected an environment batch of {r} x {b}, found {env.num_envs}")
        self.shape = (t, r, b)
        wiring = wire(graph, share_motors=config.share_parameters)
        self.nets = build_nets(wiring, config, seeds, device, with_critic=True)
        names = [n.stack.name for n in self.nets]
        self.labels = {  # of metrics and divergences: the number tells apart stacks of one name
            n.stack.number: n.stack.name if names.count(n.stack.name) == 1 else f"{n.stack.name}#{n.stack.number}"
            for n in self.nets
        }
        self.executor = Executor(wiring, self.nets, r, device)
        self.rollout = Rollout(env, self.executor, t, r, b)
        self.estimator = Estimator(self.rollout, config, training_reward == "team_mean")
        self.clusters = clusters(self.nets)
        self.actors = {n.stack.number: n.actor_parameters() for n in self.nets}
        self.critics = {n.stack.number: n.critic_parameters() for n in self.nets}
        self.parameters = [p for n in self.nets for p in self.actors[n.stack.number] + self.critics[n.stack.number]]
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.learning_rate, eps=1e-5, fused=True)
        self.frames = self.updates = 0
        self.action_keys = rng.env_keys(self.seeds, rng.Stream.ACTION, b, str(device))
        self.batch_keys = rng.env_keys(self.seeds, rng.Stream.MINIBATCH, t * b, str(device)).view(r, t * b)
        self.frozen = torch.zeros(r, dtype=torch.bool)
        self.divergences: Sequence[Divergence] = []
        self.memory = self.executor.initial_memory(r * b)
        self.now = env.reset(rng.env_keys(self.seeds, rng.Stream.TRAINING_ENV, b, str(device)))

    @property
    def frames_per_iteration(self) -> int:
        """Frames that one :meth:`iterate` adds to each replica."""
        return self.config.rollout_steps * self.config.num_envs

    def policy(self) -> NetworkPolicy:
        """The policy as it stands (sharing its weights)."""
        return NetworkPolicy(self.executor.wiring, self.nets, len(self.seeds), self.config)

    def iterate(self) -> dict[str, Tensor]:
        """One rollout and its updates; returns metrics per replica [R]."""
        start = self.frames // self.config.num_envs
        self.now, self.memory = self.rollout.collect(self.action_keys, start, self.now, self.memory)
        return self.learn()

    def learn(self) -> dict[str, Tensor]:
        """The updates after a rollout; metrics per replica [R]."""
        metrics = self.update()
        self.estimator.carry_on()
        self.frames += self.frames_per_iteration
        self.updates += 1
        for net in self.nets:
            net.progress.fill_(self.frames / max(self.total_frames, 1))
        return metrics

    # -- update ------------------------------------------------------------------------------------------

    def update(self) -> dict[str, Tensor]:
        """Advantages, then ``epochs`` passes of clipped-surrogate updates over the buffers."""
        config, (_, r, _) = self.config, self.shape
        data = self.estimator.estimate()
        left = max(0.0, 1.0 - self.frames / self.total_frames) if config.anneal else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * left
        totals = {n.stack.number: torch.zeros(5, r, device=self.env.device) for n in self.nets}
        for epoch in range(config.epochs):
            for rows, envs in zip(self._minibatches(epoch), self._environments(epoch)):
                self._step(data, rows, envs, totals)
        metrics: dict[str, Tensor] = {}
        for net in self.nets:
            mean = totals[net.stack.number] / (config.epochs * config.minibatches)
            label = "" if net.stack.is_motor and "policy_loss" not in metrics else f"{self.labels[net.stack.number]}."
            if self.actors[net.stack.number] or self.critics[net.stack.number]:
                metrics |= {f"{label}{name}": value for name, value in zip(METRICS, mean)}
        self._freeze_diverged(metrics)
        return metrics

    def _minibatches(self, epoch: int) -> Iterator[Tensor]:
        """Row indices [R, m] into the flat buffers; every replica shuffles by its own counters."""
        _, r, b = self.shape
        order = rng.fold(self.batch_keys, self.updates, epoch).argsort(dim=1)  # [R, T*B], of (t, b)
        replica = torch.arange(r, device=order.device)[:, None]
        rows = (order // b) * (r * b) + replica * b + order % b
        yield from rows.tensor_split(self.config.minibatches, dim=1)  # sizes differ by one at most

    def _environments(self, epoch: int) -> Iterator[Tensor]:
        """Environments [R, e] whose whole rollouts are a minibatch of recurrent vertices."""
        order = rng.fold(self.batch_keys[:, : self.shape[2]], self.updates, epoch).argsort(dim=1)
        yield from order.tensor_split(self.config.minibatches, dim=1)

    def _step(self, data: dict[int, Part], rows: Tensor, envs: Tensor, totals: dict[int, Tensor]) -> None:
        """One optimiser step on a minibatch, in cache-sized chunks; adds to ``totals`` [5, R]."""
        config, r = self.config, self.shape[1]
        self.optimiser.zero_grad(set_to_none=True)
        for cluster in self.clusters:
            mine, counts = rows, dict[int, Tensor | int]()
            first = cluster[0].stack
            if len(cluster) == 1 and first.period > 1 and self.estimator.lockstep:
                mine = self._decisions(data[first.number]["weight"], rows)
            if cluster[0].is_recurrent:
                mine = self.estimator.recall.sequences(cluster[0], envs)[0]
            if mine.shape[1] == 0:
                continue
            for net in cluster:
                s = net.stack
                if s.number in data and "weight" in data[s.number]:
                    weight = data[s.number]["weight"].index_select(0, mine.flatten()).view(r, -1)
                    counts[s.number] = weight.sum(dim=1).clamp(min=1.0) * s.size_k
                else:
                    counts[s.number] = mine.shape[1] * s.size_k
            widest = max(net.stack.size_k for net in cluster)
            most = max(1, CHUNK_ROWS // (r * widest))
            chunks: list[tuple[Tensor, Part]] = [(index, {}) for index in mine.split(most, dim=1)]
            if cluster[0].is_recurrent:
                some = envs.split(max(1, most // self.shape[0]), dim=1)
                chunks = [self.estimator.recall.sequences(cluster[0], e) for e in some]
            for index, memory in chunks:
                parts = {
                    net.stack.number: {
                        k: v.index_select(0, index.flatten()).unflatten(0, index.shape)
                        for k, v in data[net.stack.number].items()
                    }
                    for net in cluster
                    if net.stack.number in data
                }
                if memory:
                    parts[first.number] |= memory
                loss, found = cluster_loss(cluster, parts, counts, config)
                # Replicas are independent, so the gradient of the sum is each replica's own gradient.
                if loss.requires_grad:
                    loss.sum().backward()
                for number, metrics in found.items():
                    totals[number][:4] += metrics
        if bool(self.frozen.any()):
            zero_replicas((p.grad for p in self.parameters), self.frozen)
        for number, actor in self.actors.items():
            if any(p.grad is not None for p in actor):
                totals[number][4] += clip_gradients(actor, r, config.max_grad_norm)
            if any(p.grad is not None for p in self.critics[number]):
                clip_gradients(self.critics[number], r, config.max_grad_norm)
        self.optimiser.step()

    def _decisions(self, weight: Tensor, rows: Tensor) -> Tensor:
        """The rows at which a slow vertex decided; as many in every replica, as episodes run in lockstep."""
        keep = weight.index_select(0, rows.flatten()).view(rows.shape)
        count = int(keep.sum(dim=1).max())
        first = keep.argsort(dim=1, descending=True, stable=True)[:, :count]
        return rows.gather(1, first)

    # -- divergence --------------------------------------------------------------------------------------

    def _freeze_diverged(self, metrics: dict[str, Tensor]) -> None:
        """Record and freeze replicas with a non-finite choice, loss, gradient or weight."""
        r = self.shape[1]
        checks: dict[str, Tensor] = {}
        for net, buffer in zip(self.nets, self.rollout.stacks):
            for name, raw in (("action", buffer.env), ("instruction", buffer.own)):
                if raw is not None:
                    checks[f"{self.labels[net.stack.number]} {name}"] = (
                        per_replica(raw.transpose(0, 1).float(), r).isfinite().all(1)
                    )
        checks |= {name: value.isfinite() for name, value in metrics.items()}
        # Frozen vertices too: whatever acts must be a number.
        weights = [p for net in self.nets for p in net.state_dict().values()] + self.parameters
        checks["weights"] = finite_replicas(weights, r)
        healthy = torch.stack(list(checks.values())).cpu()  # [checks, R]: one host copy per iteration
        if bool((healthy.all(dim=0) | self.frozen).all()):
            return
        for k, seed in enumerate(self.seeds):
            if not self.frozen[k] and not bool(healthy[:, k].all()):
                name = next(name for name, ok in zip(checks, healthy[:, k]) if not ok)
                found = Divergence(seed, name, self.frames + self.frames_per_iteration)
                self.divergences = [*self.divergences, found]
                self.frozen[k] = True
        slots = [s for state in self.optimiser.state.values() for s in state.values() if s.ndim > 0]
        frozen = self.frozen.to(self.env.device)
        zero_replicas([*weights, *slots], frozen)
        for key in [k for k in self.memory if k.startswith("hidden")]:
            self.memory[key] = (
                self.memory[key].unflatten(0, (r, -1)).masked_fill(frozen.view(r, 1, 1, 1), 0).flatten(0, 1)
            )
        self.estimator.recall.forget(frozen)

    # -- checkpoint --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on."""
        critics = {f"{n}": {str(i): p.detach() for i, p in enumerate(ps)} for n, ps in self.critics.items()}
        return {
            "frames": self.frames,
            "updates": self.updates,
            "actor": self.policy().state_dict(),
            "critics": critics,
            "optimiser": optimiser_state(self.optimiser),
            "estimator": self.estimator.state_dict(),
            "memory": self.memory,
            "env": self.env.state_dict(),
            "frozen": self.frozen,
            "divergences": [d.to_json() for d in self.divergences],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit from :meth:`state_dict`."""
        self.frames, self.updates = int(state["frames"]), int(state["updates"])
        self.policy().load_state_dict(state["actor"])
        with torch.no_grad():
            for number, parameters in self.critics.items():
                for i, p in enumerate(parameters):
                    p.copy_(state["critics"][str(number)][str(i)])
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.estimator.load_state_dict(state["estimator"])
        self.memory = {k: v.to(self.env.device) for k, v in state["memory"].items()}
        self.env.load_state_dict(state["env"])
        self.frozen = state["frozen"].cpu()
        self.divergences = [Divergence(**d) for d in state["divergences"]]
        self.now = self.env.current()
        for net in self.nets:
            net.progress.fill_(self.frames / max(self.total_frames, 1))
