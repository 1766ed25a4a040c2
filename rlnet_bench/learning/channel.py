"""What a policy owes to what crosses between places: the same weights with that cut, late or coarse.

An agent that acts on numbers from elsewhere needs a channel. Three questions, none of which trains anything:
how good is it *without* (every number that crosses replaced by its mean over a random walk: the decentralised
score), *one step late* (delay-1), and with few *bits* per number. Networks answer in
:mod:`rlnet_bench.networks.ablation`; here are the changes themselves, and actors that read all observations.

Axes: **R** replicas, **B** environments, **N** agents, **F** features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.information import situations
from rlnet_bench.learning.policy import ActorPolicy, Policy, PolicyState
from rlnet_bench.vocabulary import ChannelKind

Edit = Callable[[Tensor, Tensor | None], Tensor]  # (features, features one step ago) -> features
BITS = (1, 2, 4, 8)
FLOAT_BITS = 32


@dataclass(frozen=True)
class Habit:
    """What is read on a random walk: mean, least and greatest, each broadcasting against the features."""

    mean: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, rows: Tensor, dim: int) -> Habit:
        """Over one dimension of what was read."""
        return cls(rows.mean(dim, keepdim=True), rows.amin(dim, keepdim=True), rows.amax(dim, keepdim=True))


def cut(mask: Tensor, habit: Habit) -> Edit:
    """Marked features bring their mean."""
    return lambda x, before: torch.where(mask, habit.mean, x)


def delayed(mask: Tensor) -> Edit:
    """Marked features bring what they would have brought one step ago (zero at the first step)."""
    return lambda x, before: x if before is None else torch.where(mask, before, x)


def quantised(mask: Tensor, habit: Habit, bits: int) -> Edit:
    """Marked features are one of 2 ** bits values between the least and greatest of the walk."""
    levels = 2**bits
    span = (habit.high - habit.low).clamp(min=1e-12)

    def coarse(x: Tensor, before: Tensor | None) -> Tensor:
        step = ((x - habit.low) / span * levels).floor().clamp(0, levels - 1)
        return torch.where(mask, habit.low + (step + 0.5) * span / levels, x)

    return coarse


def degraded(policy: Policy, card: TaskCard, device: str = "cpu") -> Iterator[tuple[ChannelKind, Policy]]:
    """The policy with its channel cut, late and coarse; nothing for one that acts without a channel.

    Each policy is good until the next is asked for; the original is as before when the iterator ends.
    """
    change = getattr(policy, "degraded", None)
    if change is not None:
        yield from change(card, device)
    elif isinstance(policy, ActorPolicy) and policy.actor.spec.observe == "all":
        yield from _degraded_actor(policy.actor, card, device)


def bits_kind(bits: int) -> ChannelKind:
    """The record's name of a score with so many bits per number."""
    return f"{bits}-bit"  # type: ignore[return-value]


def needs(spec: ActorSpec) -> dict[str, int]:
    """What actors that read everything need in a step: every observation goes to every other agent."""
    others = spec.num_agents - 1 if spec.observe == "all" else 0
    bits = FLOAT_BITS * sum(spec.observation_sizes) * others
    return {"bits_up": bits, "bits_down": 0, "hops": int(bits > 0)}


def _degraded_actor(actor: Actor, card: TaskCard, device: str) -> Iterator[tuple[ChannelKind, Policy]]:
    n, width = actor.spec.num_agents, max(actor.spec.observation_sizes)
    crosses = torch.zeros(n, actor.spec.features, dtype=torch.bool, device=device)
    for agent in range(n):
        crosses[agent, : n * width] = True
        crosses[agent, agent * width : (agent + 1) * width] = False
    habit = Habit.of(actor.features(situations(card, actor.replicas, device)[0]), 1)
    yield "decentralised", ChangedActor(actor, cut(crosses, habit))
    yield "delay-1", ChangedActor(actor, delayed(crosses), looks_back=True)
    for bits in BITS:
        yield bits_kind(bits), ChangedActor(actor, quantised(crosses, habit, bits))


class ChangedActor(ActorPolicy):
    """An :class:`~rlnet_bench.learning.policy.ActorPolicy` whose features are edited before it acts."""

    def __init__(self, actor: Actor, edit: Edit, looks_back: bool = False) -> None:
        super().__init__(actor)
        self.edit, self.looks_back = edit, looks_back

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With the observation of one step ago where the edit looks back."""
        state, spec = super().initial_state(num_envs, seeds), self.actor.spec
        if not self.looks_back:
            return state
        shape = (num_envs, spec.num_agents, max(spec.observation_sizes))
        return state._replace(memory={"before": torch.zeros(shape, device=state.keys.device)})

    def read(
        self, observation: Tensor, memory: dict[str, Tensor], reset: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Edited features."""
        features = super().read(observation, memory, reset)[0]
        if not self.looks_back:
            return self.edit(features, None), memory
        before = memory["before"] if reset is None else memory["before"].masked_fill(reset[:, None, None], 0.0)
        return self.edit(features, self.actor.features(before)), {"before": observation.clone()}
