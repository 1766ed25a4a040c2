"""What acts: the contract that evaluation, users and submissions see, and the policies that we train.

A policy acts for R replicas of a team at once; environments come as one flat batch R*B, replica-major.
A policy loaded for one seed has R = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.stacked import load_tensors
from rlnet_bench.vocabulary import ChannelKind, ExecutionClass

if TYPE_CHECKING:
    from rlnet_bench.learning.protocol import Channel


class PolicyState(NamedTuple):
    """What a policy carries from step to step: randomness keys, a step counter, memory."""

    keys: Tensor  # [R*B] int64
    step: Tensor  # [R*B] int64, steps since initial_state (not since the last reset)
    memory: dict[str, Tensor]  # whatever the policy remembers, each [R*B, ...]


@dataclass(frozen=True)
class Trained:
    """Where a policy was loaded from."""

    label: str  # of its method
    seeds: tuple[int, ...]  # of training, one per replica
    run_ids: tuple[str, ...]  # one per replica; of a script that is in no record, empty


class Policy:
    """The contract, every member of it. A subclass gives ``replicas``, :meth:`act`, and, as far as it has weights,
    :meth:`state_dict` and :meth:`spec`; one with memory also :meth:`initial_state`."""

    replicas: int  # R
    plays: TaskCard | None = None
    """The task that it was loaded for, where it was loaded (:func:`rlnet_bench.load_policy`)."""
    trained: Trained | None = None
    """From which seeds and runs it was loaded."""
    competes: bool = True
    """It may become the best checkpoint of its run now."""
    execution_floor: ExecutionClass = "D0"
    """The least execution class that its structure allows, where an experiment could miss it (``D1``: agents read
    others' sampled actions). The class itself is measured, never declared."""

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """State for ``num_envs`` = R*B environments; ``seeds`` int64 [R*B] drive sampled actions."""
        weights = next(iter(self.state_dict().values()), None)
        device = seeds.device if seeds is not None else "cpu" if weights is None else weights.device
        keys = torch.arange(num_envs, device=device) if seeds is None else seeds
        return PolicyState(keys, torch.zeros(num_envs, dtype=torch.int64, device=device), {})

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """Choose actions.

        Args:
            observation: [R*B, N, O] float32.
            state: from :meth:`initial_state` or the call before.
            mask: [R*B, N, A] bool of legal actions, or None.
            reset: [R*B] bool, True where a new episode has just begun (memory is cleared there).
            deterministic: the most likely action instead of a sample.

        Returns:
            (actions in the task's own units: int64 [R*B, N] or float32 [R*B, N, A], next state).
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, each [R * copies, ...] and sharing memory with the policy; empty for a policy without weights."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the weights (of a learner's policy, too); raises ValueError naming tensors that do not fit."""
        load_tensors(self.state_dict(), state)

    def spec(self) -> dict[str, Any]:
        """Plain data from which the method's ``rebuild`` makes the policy again, weights apart."""
        return {}

    def columns(self) -> Mapping[str, float] | None:
        """What it needs in a step, for tables (``bits_up``, ``bits_down``, ``hops``, ...); None: measured from whose
        observations its agents read (:func:`rlnet_bench.learning.channel.needs`)."""
        return None

    def channel(self, card: TaskCard, device: str = "cpu") -> Channel | None:
        """Where its agents hear each other, for :mod:`rlnet_bench.learning.protocol`; None: in others' observations,
        where it reads them."""
        return None

    def degraded(self, card: TaskCard, device: str = "cpu") -> Iterator[tuple[ChannelKind, Policy]] | None:
        """The policy with what crosses between agents cut, late and coarse; None: others' observations are what
        crosses (:mod:`rlnet_bench.learning.channel`)."""
        return None


class Wrapped(Policy):
    """Another policy that plays otherwise: with its state, weights and spec unless a subclass says so."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.replicas = policy, policy.replicas

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """The policy's."""
        return self.policy.initial_state(num_envs, seeds)

    def state_dict(self) -> dict[str, Tensor]:
        """The policy's."""
        return self.policy.state_dict()

    def spec(self) -> dict[str, Any]:
        """The policy's."""
        return self.policy.spec()


class ActorPolicy(Policy):
    """An :class:`~rlnet_bench.learning.actor.Actor` as a policy."""

    def __init__(self, actor: Actor, spec: Mapping[str, Any] | None = None) -> None:
        """``spec``: from what the method's ``rebuild`` makes it again, where the actor's own spec is not enough."""
        self.actor, self.replicas = actor, actor.replicas
        self._spec = dict(spec or {"kind": "actor", "actor": actor.spec.to_json()})

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> ActorPolicy:
        """Inverse of :meth:`spec`, with fresh weights."""
        return cls(Actor(card, ActorSpec.from_json(spec["actor"]), seeds, device))

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With what the actors remember."""
        state = super().initial_state(num_envs, seeds)
        return state._replace(memory={"actor": self.actor.initial_memory(num_envs)}) if self._remembers else state

    @property
    def _remembers(self) -> bool:
        return self.actor.is_recurrent

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`Policy`."""
        actor, memory = self.actor, state.memory.get("actor", state.keys)
        if reset is not None and self._remembers:
            memory = memory.masked_fill(reset[:, None, None], 0.0)
        features = actor.features(observation)
        legal = None if mask is None else mask.view(*features.shape[:3], -1)
        noise = None if deterministic else self.noise(state.keys, state.step[None])[0]
        _, raw, memory = actor.choose(features, memory, legal, noise)
        after = PolicyState(state.keys, state.step + 1, {"actor": memory} if self._remembers else {})
        return actor.actions.to_task(raw).flatten(0, 1), after

    def noise(self, keys: Tensor, step: Tensor) -> Tensor:
        """What sampling draws, by counter; see :func:`action_noise`."""
        return action_noise(keys, step, self.actor)

    def state_dict(self) -> dict[str, Tensor]:
        """The actor's weights."""
        return self.actor.state_dict()

    def spec(self) -> dict[str, Any]:
        """The actor's architecture."""
        return self._spec


class Chooser(Protocol):
    """Whatever chooses actions for all agents of R replicas."""

    card: TaskCard
    replicas: int
    actions: Actions


def action_noise(keys: Tensor, step: Tensor, actor: Chooser) -> Tensor:
    """Counter-based noise for sampling: one draw per (key, step, agent[, dimension]).

    Args:
        keys: [R*B] int64. step: [T, R*B] or [T, 1] int64.
        actor: decides between uniforms [T, R, B, N] and normals [T, R, B, N, A].
    """
    agents = torch.arange(actor.card.num_agents, device=keys.device)
    key = rng.fold(rng.fold(keys[None], step)[..., None], agents)  # [T, R*B, N]
    if actor.actions.discrete:
        return rng.uniform32(key).unflatten(1, (actor.replicas, -1))
    key = rng.fold(key[..., None], torch.arange(actor.actions.width, device=keys.device))
    return rng.normal(key).unflatten(1, (actor.replicas, -1))
