"""Execution class, computed: whose observations does each acting agent's action depend on, in one step?

D0: its own observation and history. D1: also others' sampled actions. D2: others' observations in part.
C: some agent's action depends on everybody's observation. Found by intervention on the policy as it is
evaluated: exchange one agent's observation for another situation's, and see whose actions move.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.policy import Policy
from rlnet_bench.learning.untrained import UniformPolicy
from rlnet_bench.vocabulary import ExecutionClass, class_rank

SITUATIONS = 256


@torch.no_grad()
def information_flow(policy: Policy, card: TaskCard, device: str = "cpu") -> Tensor:
    """Bool [N, N]: entry (i, j) is True when agent i's action depends on agent j's observation.

    Situations come from a uniform-random walk, so a dependence that shows only elsewhere is missed.
    """
    r, n = policy.replicas, card.num_agents
    observation, mask = situations(card, r, device)
    depends = torch.eye(n, dtype=torch.bool)
    for deterministic in (True, False):
        base = _act(policy, observation, mask, deterministic)
        for j in range(n):
            changed = observation.clone()
            changed[:, j] = observation[:, j].view(r, SITUATIONS, -1).roll(1, dims=1).flatten(0, 1)
            moved = _act(policy, changed, mask, deterministic) != base  # [R*SITUATIONS, N] or [..., N, A]
            depends[:, j] |= moved.view(len(moved), n, -1).any(dim=2).any(dim=0).cpu()
    return depends


def execution_class(policy: Policy, depends: Tensor | Sequence[Sequence[bool]]) -> ExecutionClass:
    """``D0``, ``D1``, ``D2`` or ``C``, from the :func:`information_flow` [N, N], or what the structure says."""
    return max(class_of(depends), policy.execution_floor, key=class_rank)


def class_of(depends: Tensor | Sequence[Sequence[bool]]) -> ExecutionClass:
    """The class of an information-flow matrix [N, N]."""
    depends = torch.as_tensor(depends)
    n = len(depends)
    if n > 1 and bool(depends.all(dim=1).any()):
        return "C"
    return "D2" if int(depends.sum()) > int(depends.diagonal().sum()) else "D0"


def situations(card: TaskCard, replicas: int, device: str) -> tuple[Tensor, Tensor | None]:
    """Observations [R*SITUATIONS, N, O] and masks, the same for every replica, from a random walk."""
    env = make_env(card, SITUATIONS, device)
    keys = rng.env_keys((0,), rng.Stream.USER, SITUATIONS, device)
    walker = UniformPolicy(card, 1, device)
    now, state = env.reset(keys), walker.initial_state(SITUATIONS, keys)
    rows = torch.arange(SITUATIONS, device=device)
    length = min(card.horizon, 16)
    observation, mask = now.observation.clone(), None if now.action_mask is None else now.action_mask.clone()
    for t in range(1, length):
        action, state = walker.act(now.observation, state, now.action_mask)
        now = env.step(action)  # type: ignore[assignment]
        chosen = rows % length == t  # environment k contributes its situation at step k mod length
        observation[chosen] = now.observation[chosen]
        if mask is not None and now.action_mask is not None:
            mask[chosen] = now.action_mask[chosen]
    env.close()
    repeated = observation.repeat(replicas, 1, 1)
    return repeated, None if mask is None else mask.repeat(replicas, 1, 1)


def _act(policy: Policy, observation: Tensor, mask: Tensor | None, deterministic: bool) -> Tensor:
    state = policy.initial_state(len(observation), torch.arange(len(observation), device=observation.device))
    return policy.act(observation, state, mask, None, deterministic)[0]
