"""What every learner shares: counters, keys, the optimiser, freezing of diverged replicas, checkpoints.

A learner is then three things: how it collects, how it updates, and which parts it is made of.

    class Mine(Trainer):
        def __init__(self, env, seeds, config, *, total_frames):
            super().__init__(env, seeds, steps=config.rollout_steps, total_frames=total_frames)
            self.net = ...
            self.train(Optimiser({"net": self.net.parameters()}, len(seeds), learning_rate=1e-3, max_grad_norm=0.5))
            self.parts |= {"net": self.net}

        def collect(self): ...   # step every environment ``self.steps`` times, from ``self.now``
        def update(self): ...    # learn; returns metrics [R]; counts ``self.updates``
        def policy(self): ...    # what acts, sharing the weights

Axes: **R** replicas, **B** environments per replica, **M** copies (R * copies per replica, replica-major).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import Reset, VectorEnv
from rlnet_bench.learning.heap import keep_heap
from rlnet_bench.learning.learner import Divergence
from rlnet_bench.learning.optimise import Optimiser, finite_replicas, per_replica, zero_replicas
from rlnet_bench.learning.policy import Policy


class Part(Protocol):
    """Something whose state belongs into a checkpoint: a network, an optimiser, a buffer, a norm."""

    def state_dict(self) -> dict[str, Any]:
        """Nested dict of tensors, numbers, strings and lists of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        ...


class Trainer:
    """Trains R replicas side by side; keeps every obligation of :class:`~rlnet_bench.learning.learner.Learner`.

    Everything random is a function of (seed, counters): ``self.keys(stream, count)`` folded with ``self.frames``,
    ``self.updates`` or a step number. So a checkpoint holds no generator, and replica k is the same alone or in a
    batch. One *frame* is one environment step of one environment of one replica.
    """

    optimiser: Optimiser

    def __init__(self, env: VectorEnv, seeds: Sequence[int], *, steps: int, total_frames: int) -> None:
        """Start the environments; a subclass then builds its networks and calls :meth:`train`.

        Args:
            env: a fresh flat batch of R * B environments.
            seeds: one per replica.
            steps: environment steps of one :meth:`iterate`, T.
            total_frames: the budget per replica, for annealing and schedules.

        Raises:
            ValueError: when the batch does not divide by the replicas.
        """
        keep_heap()
        self.env, self.seeds, self.steps, self.total_frames = env, tuple(seeds), steps, total_frames
        self.replicas = len(self.seeds)
        if env.num_envs % self.replicas:
            raise ValueError(f"expected a multiple of {self.replicas} environments, found {env.num_envs}")
        self.num_envs = env.num_envs // self.replicas
        self.device = env.device
        self.frames = self.updates = 0
        self.frozen = torch.zeros(self.replicas, dtype=torch.bool)  # on the host: asked for in every update
        self.divergences: Sequence[Divergence] = ()
        self.parts: dict[str, Part] = {}
        self.now: Reset = env.reset(self.keys(rng.Stream.TRAINING_ENV, self.num_envs))

    # -- what a learner adds -----------------------------------------------------------------------------

    def collect(self) -> None:
        """Step every environment ``self.steps`` times, beginning at ``self.now`` and leaving the end there."""
        raise NotImplementedError

    def update(self) -> dict[str, Tensor]:
        """Learn, and count every gradient update in ``self.updates``; metrics per replica [R]."""
        raise NotImplementedError

    def policy(self) -> Policy:
        """What acts, sharing its weights with the learner."""
        raise NotImplementedError

    def checks(self) -> dict[str, Tensor]:
        """Further tensors to look at for numbers that are not finite, each [R * anything, ...], replica-major."""
        return {}

    def held(self) -> list[Tensor]:
        """Further tensors [R * anything, ...] that a diverged replica loses: targets, frozen networks, memory."""
        return []

    # -- the loop ----------------------------------------------------------------------------------------

    @property
    def frames_per_iteration(self) -> int:
        """Frames that one :meth:`iterate` adds to each replica."""
        return self.steps * self.num_envs

    @property
    def iteration(self) -> int:
        """How many iterations are done."""
        return self.frames // self.frames_per_iteration

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1: for schedules."""
        return min(1.0, self.frames / max(self.total_frames, 1))

    def keys(self, stream: rng.Stream, count: int) -> Tensor:
        """Counter-based keys int64 [R * count] of one stream; fold what counts in before drawing."""
        return rng.env_keys(self.seeds, stream, count, str(self.device))

    def iterate(self) -> dict[str, Tensor]:
        """Collect and learn once; metrics per replica [R]."""
        self.collect()
        return self.learn()

    def learn(self) -> dict[str, Tensor]:
        """What follows a collection: the updates, freezing, counting."""
        metrics = self.update()
        self.frames += self.frames_per_iteration
        self._freeze_diverged(metrics)
        return metrics

    def train(self, optimiser: Optimiser) -> None:
        """Adopt the optimiser: a part of the state, and what freezing looks after."""
        self.optimiser = optimiser
        self.parts["optimiser"] = optimiser

    def step(self, *groups: str) -> dict[str, Tensor]:
        """One optimiser step on these groups (all by default); gradient norms before clipping, [R] each."""
        return self.optimiser.step(self.frozen, groups)

    # -- divergence --------------------------------------------------------------------------------------

    def _freeze_diverged(self, metrics: Mapping[str, Tensor]) -> None:
        """Record and freeze replicas with a non-finite action, loss, gradient or weight."""
        r, weights = self.replicas, [*self.optimiser.parameters, *self.held()]
        checks = {name: per_replica(x, r).isfinite().all(dim=1) for name, x in self.checks().items()}
        checks |= {name: value.isfinite() for name, value in metrics.items()}
        checks["weights"] = finite_replicas(weights, r)
        healthy = torch.stack(list(checks.values())).cpu()  # [checks, R]: one host copy per iteration
        sick = ~healthy.all(dim=0) & ~self.frozen
        if not bool(sick.any()):
            return
        for k in sick.nonzero().flatten().tolist():
            name = next(name for name, ok in zip(checks, healthy[:, k]) if not ok)
            self.divergences = (*self.divergences, Divergence(self.seeds[k], name, self.frames))
        self.frozen |= sick
        zero_replicas([*weights, *self.optimiser.slots()], self.frozen.to(self.device))

    # -- checkpoint --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on."""
        return {
            "frames": self.frames,
            "updates": self.updates,
            "frozen": self.frozen,
            "divergences": [d.to_json() for d in self.divergences],
            "env": self.env.state_dict(),
            **{name: part.state_dict() for name, part in self.parts.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit from :meth:`state_dict`."""
        self.frames, self.updates = int(state["frames"]), int(state["updates"])
        self.frozen = state["frozen"].cpu()
        self.divergences = tuple(Divergence(**d) for d in state["divergences"])
        self.env.load_state_dict(state["env"])
        self.now = self.env.current()
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


class Tensors:
    """Named tensors as a :class:`Part`: what is remembered between rollouts."""

    def __init__(self, device: torch.device, **tensors: Tensor) -> None:
        self.device, self.now = device, dict(tensors)

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors."""
        return dict(self.now)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take their place."""
        self.now = {name: tensor.to(self.device) for name, tensor in state.items()}
