"""Policies that do not learn, behind the learner's contract: controls and scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.distributions import categorical_sample, mask_logits
from rlnet_bench.learning.learner import Divergence
from rlnet_bench.learning.policy import Policy, PolicyState


class UniformPolicy(Policy):
    """Uniform over each agent's legal options, or over the box of a continuous task."""

    def __init__(self, card: TaskCard, replicas: int, device: str = "cpu") -> None:
        self.card, self.replicas, self.device = card, replicas, device
        used = torch.arange(card.action_size, device=device)
        self.used = used[None] < torch.tensor(card.action_sizes, device=device)[:, None]  # [N, A]
        if card.action_lows is not None and card.action_highs is not None:
            self.low, self.high = _padded(card.action_lows, card), _padded(card.action_highs, card)
        else:
            self.low = torch.full((card.num_agents, card.action_size), card.action_low)
            self.high = torch.full((card.num_agents, card.action_size), card.action_high)
        self.low, self.high = self.low.to(device), self.high.to(device)

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """A draw per agent; there is no deterministic version, so ``deterministic`` is ignored."""
        agents = torch.arange(self.card.num_agents, device=observation.device)
        key = rng.fold(rng.fold(state.keys, state.step)[:, None], agents)
        state = state._replace(step=state.step + 1)
        if self.card.action_kind == "discrete":
            legal = self.used[None] if mask is None else self.used[None] & mask
            logits = mask_logits(torch.zeros(legal.shape, device=observation.device), legal)
            return categorical_sample(logits, rng.uniform32(key).expand(len(key), -1)), state
        key = rng.fold(key[..., None], torch.arange(self.card.action_size, device=observation.device))
        action = self.low + (self.high - self.low) * rng.uniform32(key)
        return action * self.used, state


class ScriptPolicy(Policy):
    """A pure function ``(observation, card[, keys])`` as a policy.

    A script that flips coins has a parameter ``keys``, int64 [R*B], new in every step.
    """

    def __init__(self, script: Callable[..., Tensor], card: TaskCard, replicas: int) -> None:
        self.script, self.card, self.replicas = script, card, replicas
        self.draws = "keys" in signature(script).parameters

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """What the script says, whether or not the most likely action is asked for."""
        coins = {"keys": rng.fold(state.keys, state.step)} if self.draws else {}
        return self.script(observation, self.card, **coins), state._replace(step=state.step + 1)


class UntrainedLearner:
    """A learner that never learns: evaluated once, at frame 0."""

    frames = updates = 0
    frames_per_iteration = 1
    divergences: Sequence[Divergence] = ()

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def policy(self) -> Policy:
        """The policy it was made with."""
        return self._policy

    def iterate(self) -> dict[str, Tensor]:
        """There is nothing to learn."""
        raise RuntimeError("a fixed policy is not trained; the run loop evaluates it once")

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No state."""


def _padded(rows: Sequence[Sequence[float]], card: TaskCard) -> Tensor:
    width = card.action_size
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows])
