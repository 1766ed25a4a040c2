"""What acts: the protocol that evaluation, users and submissions see, and the policies that we train.

A policy acts for R replicas of a team at once; environments come as one flat batch R*B, replica-major.
A policy loaded for one seed has R = 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.learning.actor import Actor
from rlnet_bench.learning.distributions import mask_logits


class PolicyState(NamedTuple):
    """What a policy carries from step to step: randomness keys, a step counter, memory."""

    keys: Tensor  # [R*B] int64
    step: Tensor  # [R*B] int64, steps since initial_state (not since the last reset)
    memory: dict[str, Tensor]  # whatever the policy remembers, each [R*B, ...]


class Policy(Protocol):
    """The acting interface; no trainer needed."""

    replicas: int

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """State for ``num_envs`` = R*B environments; ``seeds`` int64 [R*B] drive sampled actions."""
        ...

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
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, each [R * copies, ...]; empty for a policy without weights."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the weights; raises ValueError naming a tensor that does not fit."""
        ...

    def spec_json(self) -> dict[str, Any]:
        """Architecture as plain data, enough to rebuild the policy around its weights."""
        ...


def initial_state(num_envs: int, seeds: Tensor | None, device: torch.device | str = "cpu") -> PolicyState:
    """The state of a policy without memory."""
    keys = torch.arange(num_envs, device=device) if seeds is None else seeds
    return PolicyState(keys, torch.zeros(num_envs, dtype=torch.int64, device=device), {})


class ActorPolicy:
    """A feed-forward :class:`~rlnet_bench.learning.actor.Actor` as a policy."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.replicas = actor, actor.replicas

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """No memory; see :class:`Policy`."""
        return initial_state(num_envs, seeds, self.actor.network.mlp.weights[0].device)

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
        actor = self.actor
        features, memory = self.read(observation, state.memory, reset)
        output = actor(features)
        if mask is not None and not actor.continuous:
            output = mask_logits(output, mask.view(output.shape))
        if deterministic:
            raw = actor.mode(output)
        else:
            noise = action_noise(state.keys, state.step[None], actor)[0]
            raw = actor.sample(output, noise)
        return actor.to_task(raw).flatten(0, 1), PolicyState(state.keys, state.step + 1, memory)

    def read(
        self, observation: Tensor, memory: dict[str, Tensor], reset: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Features [R, B, N, F] of observations [R*B, N, O], and the memory after this step."""
        return self.actor.features(observation), memory

    def state_dict(self) -> dict[str, Tensor]:
        """The actor's weights."""
        return self.actor.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the actor's weights (of a learner's policy, too)."""
        self.actor.load_state_dict(state)

    def spec_json(self) -> dict[str, Any]:
        """Architecture as plain data."""
        return {"kind": "actor", "actor": self.actor.spec.to_json()}


def action_noise(keys: Tensor, step: Tensor, actor: Actor) -> Tensor:
    """Counter-based noise for sampling: one draw per (key, step, agent[, dimension]).

    Args:
        keys: [R*B] int64. step: [T, R*B] or [T, 1] int64.
        actor: decides between uniforms [T, R, B, N] and normals [T, R, B, N, A].
    """
    agents = torch.arange(actor.spec.num_agents, device=keys.device)
    key = rng.fold(rng.fold(keys[None], step)[..., None], agents)  # [T, R*B, N]
    if actor.continuous:
        width = max(actor.spec.action_sizes)
        key = rng.fold(key[..., None], torch.arange(width, device=keys.device))
        return rng.normal(key).unflatten(1, (actor.replicas, -1))
    return rng.uniform32(key).unflatten(1, (actor.replicas, -1))
