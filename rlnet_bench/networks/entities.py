"""What a vertex reads, laid out in entities, whatever it reads from however many. Imports without torch.

What a motor observes of itself is its own, and its entities are those that the task declares. Of every observation
that a vertex is told, the agent is an entity, and so is each of that agent's entities, seen together with the agent.
Messages of one width are entities of a kind. Instructions are the vertex's own: superiors are as many as the file says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlnet_bench.envs.layout import Kind, Layout
from rlnet_bench.networks.flow import Part


def vertex_layout(below: Sequence[Part], above: Sequence[Part], is_motor: bool, task: Layout | None) -> Layout | None:
    """The layout of what a vertex reads; None where it reads observations of a task that declares none.

    Args:
        below: what it is told, a motor's own observation first.
        above: its instructions.
        is_motor: see ``below``.
        task: the layout of an agent's observation.
    """
    own: list[int] = []
    kinds: dict[str, Kind] = {}

    def add(name: str, slot: Sequence[int], absent: tuple[float, ...] | None = None) -> None:
        known = kinds.setdefault(name, Kind(name, (), len(slot), absent))
        kinds[name] = replace(known, slots=(*known.slots, tuple(slot)))

    at = 0
    for k, part in enumerate((*below, *above)):
        places = range(at, at + part.width)
        at += part.width
        if part.kind == "instruction":
            own += places
        elif part.kind != "observation":
            add(f"message.{part.width}", places)
        elif task is None:
            return None
        else:
            its = [places[i] for i in task.own]
            if is_motor and k == 0:
                own += its
            else:
                add("agent", its)
            for kind in task.kinds:
                name, before = (kind.name, []) if is_motor and k == 0 else (f"agent.{kind.name}", its)
                kinds.setdefault(name, Kind(name, (), len(before) + kind.width, kind.absent))
                for slot in kind.slots:
                    add(name, [*before, *(places[i] for i in slot)], kind.absent)
    return Layout(tuple(own), tuple(kinds.values()))
