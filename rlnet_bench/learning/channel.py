"""What a policy owes to what crosses between places: the same weights with that cut, late or coarse.

An agent that acts on numbers from elsewhere needs a channel. Three questions, none of which trains anything:
how good is it *without* (every number that crosses replaced by its mean over a random walk: the decentralised
score), *one step late* (delay-1), and with few *bits* per number. Networks answer in
:mod:`rlnet_bench.networks.ablation`; here are policies whose agents read each other's observations; the
changes themselves are :mod:`rlnet_bench.learning.edits`.

Axes: **R** replicas, **B** environments, **N** agents.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.edits import Edit, Habit, cut, delayed, quantised
from rlnet_bench.learning.information import information_flow, situations
from rlnet_bench.learning.policy import Policy, PolicyState, Wrapped
from rlnet_bench.vocabulary import ChannelKind

BITS = (1, 2, 4, 8)
FLOAT_BITS = 32


def degraded(policy: Policy, card: TaskCard, device: str = "cpu") -> Iterator[tuple[ChannelKind, Policy]]:
    """The policy with its channel cut, late and coarse; nothing for one that acts without a channel.

    Each policy is good until the next is asked for; the original is as before when the iterator ends.
    """
    own = policy.degraded(card, device)
    if own is not None:
        yield from own
        return
    depends = information_flow(policy, card, device)
    if not bool((depends & ~torch.eye(len(depends), dtype=torch.bool)).any()):
        return
    habit = Habit.of(situations(card, 1, device)[0], 0)
    crosses = ~torch.eye(card.num_agents, dtype=torch.bool, device=device)[:, None, :, None]
    yield "decentralised", Edited(policy, card, cut(crosses, habit))
    yield "delay-1", Edited(policy, card, delayed(crosses), looks_back=1)
    for bits in BITS:
        yield bits_kind(bits), Edited(policy, card, quantised(crosses, habit, bits))


def bits_kind(bits: int) -> ChannelKind:
    """The record's name of a score with so many bits per number."""
    return f"{bits}-bit"  # type: ignore[return-value]


def needs(depends: Tensor, card: TaskCard) -> dict[str, int]:
    """What agents that read others' observations need in a step: each goes to everyone who depends on it.

    ``depends`` is the information flow [N, N], see :func:`~rlnet_bench.learning.information.information_flow`.
    """
    others = depends & ~torch.eye(len(depends), dtype=torch.bool)
    bits = FLOAT_BITS * sum(int(others[:, j].sum()) * size for j, size in enumerate(card.observation_sizes))
    return {"bits_up": bits, "bits_down": 0, "hops": int(bits > 0)}


class Edited(Wrapped):
    """A policy each of whose agents acts on its own observation and on what is left of the others'.

    Every environment is played N times side by side, once per agent, with what that agent gets to see; of copy i only
    agent i's action counts.
    """

    def __init__(self, policy: Policy, card: TaskCard, edit: Edit, looks_back: int = 0) -> None:
        super().__init__(policy)
        self.edit, self.looks_back = edit, looks_back
        self.agents, self.width = card.num_agents, card.observation_size

    def _copies(self, x: Tensor) -> Tensor:
        """[R*B, ...] -> [R*N*B, ...]."""
        rows = x.unflatten(0, (self.replicas, -1))[:, None]
        return rows.expand(-1, self.agents, *rows.shape[2:]).flatten(0, 2)

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With the memory of every copy, and earlier observations where the edit looks back."""
        state = super().initial_state(num_envs, seeds)
        inner = self.policy.initial_state(num_envs * self.agents, self._copies(state.keys)).memory
        memory = {f"copy {name}": x.unflatten(0, (self.replicas, self.agents, -1)).transpose(1, 2).flatten(0, 1)
                  for name, x in inner.items()}  # fmt: skip
        if self.looks_back:
            shape = (num_envs, self.looks_back, self.agents, self.width)
            memory["before"] = torch.zeros(shape, device=state.keys.device)
        return state._replace(memory=memory)

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`."""
        r, n, memory = self.replicas, self.agents, dict(state.memory)
        before = memory.pop("before", None)
        if before is not None:
            before = before if reset is None else before.masked_fill(reset[:, None, None, None], 0.0)
        seen, past = (
            None if x is None else self._copies(x).unflatten(0, (r, n, -1))
            for x in (observation, None if before is None else before[:, -1])
        )
        assert seen is not None
        inner = {name.removeprefix("copy "): x.unflatten(0, (r, -1)).transpose(1, 2).flatten(0, 2)
                 for name, x in memory.items()}  # fmt: skip
        action, after = self.policy.act(
            self.edit(seen, past).flatten(0, 2),
            PolicyState(self._copies(state.keys), self._copies(state.step), inner),
            None if mask is None else self._copies(mask),
            None if reset is None else self._copies(reset),
            deterministic,
        )
        each = torch.arange(n, device=action.device)
        chosen = action.unflatten(0, (r, n, -1))[:, each, :, each].transpose(0, 1)  # [R, N, B(, A)]
        kept = {f"copy {name}": x.unflatten(0, (r, n, -1)).transpose(1, 2).flatten(0, 1)
                for name, x in after.memory.items()}  # fmt: skip
        if before is not None:
            kept["before"] = torch.cat((observation[:, None], before[:, :-1]), dim=1)
        return chosen.transpose(1, 2).flatten(0, 1), PolicyState(state.keys, state.step + 1, kept)
