"""Teams whose agents come from different policies: one guest among hosts, in every seat in turn.

Axes: **E** episodes, **N** agents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.information import execution_class, information_flow
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy, PolicyState
from rlnet_bench.vocabulary import Mode


class Seated(Policy):
    """Hosts with one guest: environment k of N * E has the guest in seat k // E. One replica.

    Both policies look at everybody's observation and act for the whole team; of each, only the actions in its own seats
    count. So agents must act on their own observations and history (:func:`takes_a_seat`).
    """

    def __init__(self, guest: Policy, host: Policy, agents: int) -> None:
        self.guest, self.host, self.agents, self.replicas = guest, host, agents, 1

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """What both remember. The guest flips coins of its own."""
        state = super().initial_state(num_envs, seeds)
        host = self.host.initial_state(num_envs, state.keys).memory
        guest = self.guest.initial_state(num_envs, _coins(state.keys)).memory
        return state._replace(memory={**_named("host", host), **_named("guest", guest)})

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`."""
        after: dict[str, Tensor] = {}
        chosen = {}
        for name, policy, keys in (("host", self.host, state.keys), ("guest", self.guest, _coins(state.keys))):
            own = {k.removeprefix(f"{name} "): v for k, v in state.memory.items() if k.startswith(f"{name} ")}
            chosen[name], left = policy.act(observation, PolicyState(keys, state.step, own), mask, reset, deterministic)
            after |= _named(name, left.memory)
        seat = torch.arange(len(observation), device=observation.device) // (len(observation) // self.agents)
        is_guest = seat[:, None] == torch.arange(self.agents, device=observation.device)
        if chosen["host"].ndim == 3:
            is_guest = is_guest[..., None]
        action = torch.where(is_guest, chosen["guest"], chosen["host"])
        return action, PolicyState(state.keys, state.step + 1, after)


def takes_a_seat(policy: Policy, card: TaskCard, device: str = "cpu") -> bool:
    """Whether its agents can be told apart: each acts on its own observations and history alone (class D0)."""
    return execution_class(policy, information_flow(policy, card, device)) == "D0"


def play_seats(
    guest: Policy, host: Policy, card: TaskCard, episodes: int, *, mode: Mode = "deterministic", device: str = "cpu"
) -> Tensor:
    """Team returns [N, E] of a guest among hosts, by the guest's seat; the same E initial states in every seat.

    Both policies have one replica and pass :func:`takes_a_seat`.
    """
    n = card.num_agents
    keys = rng.env_keys((0,), rng.Stream.ABSOLUTE_ENV, episodes, device).repeat(n)
    team = Seated(guest, host, n)
    played = evaluate(team, card, (0,), n * episodes, mode=mode, device=device, keys=keys)
    return torch.from_numpy(played.team).view(n, episodes)


def _coins(keys: Tensor) -> Tensor:
    return rng.fold(keys, 1)


def _named(owner: str, memory: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{owner} {name}": value for name, value in memory.items()}
