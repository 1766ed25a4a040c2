"""The canonical order of vertices: no name and, up to symmetry, no order of declaration plays a part.

Vertices are coloured by what they are (generation, agent, settings) and then, until nothing changes, by the
colours around them. Where two still look alike they are twins in every respect that matters here, and the
one declared first goes first. Initial weights, random numbers and inputs follow this order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlnet_bench.networks.topology import Instance, Joint


def canonical_order(
    placed: Sequence[Instance],
    edges: Sequence[Joint],
    generation: Sequence[int],
    place_agents: Sequence[int | None],
) -> list[int]:
    """Positions in canonical order: by generation first, so the order is topological; motors by agent."""
    at = [-1 if a is None else a for a in place_agents]
    motor = [-1 if x.agent is None else x.agent for x in placed]
    colours = _Colours(placed, edges)
    colours.split(0, {i: (generation[i], motor[i], at[i], _settings(x)) for i, x in enumerate(placed)})
    colours.refine(set(range(len(placed))))
    while (cell := colours.tied()) is not None:
        members = colours.cells[cell]
        # Twins may be told apart all at once; else the one declared last goes last, and the rest follows from it.
        order = range(len(members)) if colours.are_twins(members) else [0] * (len(members) - 1) + [1]
        changed = colours.split(cell, dict(zip(members, order)))
        colours.refine({j for i in changed for j in colours.around[i]})
    return sorted(range(len(placed)), key=colours.of.__getitem__)


class _Colours:
    """A colour is the first place of its cell, so that splitting one cell leaves the other colours alone."""

    def __init__(self, placed: Sequence[Instance], edges: Sequence[Joint]) -> None:
        self.of = [0] * len(placed)
        self.cells: dict[int, list[int]] = {0: list(range(len(placed)))}
        self.down: list[list[tuple[str, int]]] = [[] for _ in placed]
        self.up: list[list[tuple[str, int]]] = [[] for _ in placed]
        for joint in edges:
            label = f"{joint.edge.delay} {joint.edge.weight} {joint.edge.carry}"
            self.down[joint.superior].append((label, joint.subordinate))
            self.up[joint.subordinate].append((label, joint.superior))
        self.company = _company(placed)
        self.around = [
            {j for _, j in self.down[i]} | {j for _, j in self.up[i]} | set(self.company[i]) for i in range(len(placed))
        ]

    def tied(self) -> int | None:
        """The first cell with more than one member."""
        return min((c for c, members in self.cells.items() if len(members) > 1), default=None)

    def are_twins(self, members: Sequence[int]) -> bool:
        """Their neighbours are the same vertices, over the same kinds of edges."""
        first = self._neighbours(members[0])
        return all(self._neighbours(i) == first for i in members)

    def _neighbours(self, i: int) -> tuple[Any, ...]:
        return sorted(self.down[i]), sorted(self.up[i]), sorted(self.company[i])

    def _key(self, i: int) -> tuple[Any, ...]:
        """The colours around a vertex."""
        of = self.of
        return (
            tuple(sorted((label, of[j]) for label, j in self.down[i])),
            tuple(sorted((label, of[j]) for label, j in self.up[i])),
            tuple(sorted(of[j] for j in self.company[i])),
        )

    def split(self, cell: int, keys: Mapping[int, Any]) -> list[int]:
        """Split a cell by its members' keys, smallest first; returns the members whose colour changed."""
        groups: dict[Any, list[int]] = {}
        for i in self.cells[cell]:
            groups.setdefault(keys[i], []).append(i)
        start, changed = cell, []
        for key in sorted(groups):
            self.cells[start] = groups[key]
            for i in groups[key]:
                if self.of[i] != start:
                    self.of[i] = start
                    changed.append(i)
            start += len(groups[key])
        return changed

    def refine(self, moved: set[int]) -> None:
        """Split cells by the colours around their members until nothing changes.

        Args:
            moved: the vertices around which a colour has changed; all others of a cell still look alike.
        """
        while moved:
            touched: dict[int, list[int]] = {}
            for i in moved:
                if len(self.cells[self.of[i]]) > 1:
                    touched.setdefault(self.of[i], []).append(i)
            keys = {cell: {i: self._key(i) for i in some} for cell, some in touched.items()}
            for cell, some in keys.items():
                rest = [i for i in self.cells[cell] if i not in some]
                some.update(dict.fromkeys(rest, self._key(rest[0])) if rest else {})
            changed = [i for cell in sorted(keys) for i in self.split(cell, keys[cell])]
            moved = {j for i in changed for j in self.around[i]}


def _company(placed: Sequence[Instance]) -> list[list[int]]:
    """For each instance those that share its parameters or its site, itself included."""
    rooms: dict[tuple[str, str], list[int]] = {}
    mine: list[list[tuple[str, str]]] = []
    for i, x in enumerate(placed):
        keys = [("group", x.vertex.group)] if x.vertex.group else []
        keys += [("site", x.vertex.place.site)] if x.vertex.place.kind == "site" else []
        mine.append(keys)
        for key in keys:
            rooms.setdefault(key, []).append(i)
    return [[j for key in keys for j in rooms[key]] for keys in mine]


def _settings(x: Instance) -> str:
    """What a vertex is, without its name, its group's name, or which declaration brought it."""
    data: dict[str, Any] = x.vertex.to_data()
    for key in ("count", "per_agent", "place"):
        data.pop(key, None)
    data["group"] = x.vertex.group is not None
    data["site"] = x.vertex.place.kind == "site"
    return json.dumps(data, sort_keys=True)
