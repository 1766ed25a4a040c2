"""What a replay keeps of a step, as plain data, so that its size is known before anything is allocated.

Imports without torch. Axes: **N** agents, **O** observation width, **A** actions, **S** state width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from rlnet_bench.envs.card import TaskCard

BYTES = {"float32": 4, "int64": 8, "bool": 1}


@dataclass(frozen=True)
class Field:
    """One number or array of one step of one environment."""

    shape: tuple[int, ...]
    dtype: str  # a key of BYTES

    @property
    def bytes(self) -> int:
        """Of one step of one environment."""
        return prod(self.shape) * BYTES[self.dtype]


def seen_fields(card: TaskCard, state: bool, dying: bool) -> dict[str, Field]:
    """What is there before a step, and once more at the end of an episode that the clock cut."""
    n = card.num_agents
    fields = {"observation": Field((n, card.observation_size), "float32")}
    if state and card.state != "concat":  # else it is the observations side by side: not kept twice
        fields["state"] = Field((card.state_size,), "float32")
    if card.masked:
        fields["mask"] = Field((n, card.action_size), "bool")
    if dying:
        fields["alive"] = Field((n,), "bool")
    return fields


def step_fields(card: TaskCard, team: bool, state: bool, dying: bool, slow: bool = False) -> dict[str, Field]:
    """Everything of a step: what was seen, what was done, what came of it; ``slow``: not every step is a decision."""
    n = card.num_agents
    discrete = card.action_kind == "discrete"
    return {
        **seen_fields(card, state, dying),
        "action": Field((n,), "int64") if discrete else Field((n, card.action_size), "float32"),
        "reward": Field((1 if team else n,), "float32"),
        "begins": Field((), "bool"),  # the first step of an episode
        "next": Field((), "int64"),  # the row with what was seen after
        **({"died": Field((n,), "bool")} if dying else {}),
        **({"due": Field((), "bool")} if slow else {}),  # a decision is made in this step
    }


def final_rows(card: TaskCard, capacity: int) -> int:
    """Final rows per environment: the clock cuts an episode every ``horizon`` steps at the most."""
    return capacity // card.horizon + 2


def replay_bytes(
    card: TaskCard,
    replicas: int,
    num_envs: int,
    capacity: int,
    *,
    team: bool = False,
    state: bool = False,
    dying: bool = True,
) -> int:
    """Bytes of a :class:`~rlnet_bench.learning.replay.Replay`.

    Args:
        card: the task.
        replicas: R.
        num_envs: B, environments per replica.
        capacity: steps kept of every environment.
        team: one reward for all (an individual one needs more).
        state: the state of the task is kept, too.
        dying: agents may die (the most that is needed, where unknown).
    """
    step = sum(f.bytes for f in step_fields(card, team, state, dying).values())
    final = sum(f.bytes for f in seen_fields(card, state, dying).values())
    return replicas * num_envs * (capacity * step + final_rows(card, capacity) * final)
