"""How an agent's observation is laid out in entities: itself, other agents, landmarks, food. Imports without torch.

What is declared lies beside the cards (``cards/entities.yaml``) and is no part of their digests: it changes no task, it
only says how the numbers of an observation belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from rlnet_bench.envs import cards
from rlnet_bench.envs.card import TaskCard

SELF = "self"


@dataclass(frozen=True)
class Kind:
    """Entities of one kind: ``slots[k]`` are the places in the observation of entity k's numbers, in the same order for
    all. ``absent``: what the last of them are when it is not there or not seen; None where all always are."""

    name: str
    slots: tuple[tuple[int, ...], ...]
    width: int
    absent: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """The places of the agent's own numbers, and of the entities that it observes."""

    own: tuple[int, ...]
    kinds: tuple[Kind, ...]

    @property
    def width(self) -> int:
        """Numbers of an observation."""
        return len(self.own) + sum(len(k.slots) * k.width for k in self.kinds)


@cache
def _declared() -> Mapping[str, Any]:
    data: Mapping[str, Any] = yaml.safe_load((resources.files(cards) / "entities.yaml").read_text())
    return data


def layout_of(card: TaskCard) -> Layout | None:
    """The layout of a task's observations; None where none is declared."""
    name = f"{card.family}/{card.constructor['scenario']}" if "scenario" in card.constructor else card.family
    found = _declared().get(name)
    if found is None or card.constructor.get(found.get("unless")):
        return None
    counts: dict[str, int] = {}
    for kind, count in found.get("counts", {}).items():
        known = {"agents": card.num_agents, "others": card.num_agents - 1, **card.constructor}
        if not isinstance(known.get(count), int):
            return None  # a task of somebody's own that leaves an argument to the package
        counts[kind] = known[count]
    own: list[int] = []
    slots: dict[str, list[list[int]]] = {kind: [[] for _ in range(n)] for kind, n in counts.items()}
    at = 0
    for block in found["blocks"]:
        for row in (own,) if block["of"] == SELF else slots[block["of"]]:
            row.extend(range(at, at + block["numbers"]))
            at += block["numbers"]
    widths = {kind: sum(b["numbers"] for b in found["blocks"] if b["of"] == kind) for kind in counts}
    absent = tuple(map(float, found["absent"])) if "absent" in found else None
    layout = Layout(tuple(own), tuple(Kind(k, tuple(map(tuple, rows)), widths[k], absent) for k, rows in slots.items()))
    return layout if set(card.observation_sizes) == {layout.width} else None
