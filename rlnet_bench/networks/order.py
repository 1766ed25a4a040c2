"""The canonical order of vertices: no name and, up to symmetry, no order of declaration plays a part.

Vertices are coloured by what they are (generation, agent, settings) and then, until nothing changes, by the
colours around them. Where two still look alike they are twins in every respect that matters here, and the
one declared first goes first. Initial weights, random numbers and inputs follow this order.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

from rlnet_bench.networks.topology import Instance, Joint


def canonical_order(
    placed: Sequence[Instance],
    edges: Sequence[Joint],
    generation: Sequence[int],
    place_agents: Sequence[int | None],
) -> list[int]:
    """Positions in canonical order: by generation first, so the order is topological; motors by agent."""
    down: list[list[tuple[str, int]]] = [[] for _ in placed]
    up: list[list[tuple[str, int]]] = [[] for _ in placed]
    for joint in edges:
        label = f"{joint.edge.delay} {joint.edge.weight} {joint.edge.carry}"
        down[joint.superior].append((label, joint.subordinate))
        up[joint.subordinate].append((label, joint.superior))
    company = _company(placed)
    at = [-1 if a is None else a for a in place_agents]
    motor = [-1 if x.agent is None else x.agent for x in placed]
    own = [_settings(x) for x in placed]
    colour = _rank([(generation[i], motor[i], at[i], own[i]) for i in range(len(placed))])
    while True:
        colour = _refine(colour, down, up, company)
        cells: dict[int, list[int]] = {}
        for i, c in enumerate(colour):
            cells.setdefault(c, []).append(i)
        tied = [cells[c] for c in sorted(cells) if len(cells[c]) > 1]
        if not tied:
            return sorted(range(len(placed)), key=colour.__getitem__)
        cell = tied[0]
        twins = all(
            sorted(down[i]) == sorted(down[cell[0]])
            and sorted(up[i]) == sorted(up[cell[0]])
            and sorted(company[i]) == sorted(company[cell[0]])
            for i in cell
        )
        first = cell if twins else cell[:1]  # twins may be told apart all at once
        colour = _rank([(c, first.index(i) if i in first else len(first)) for i, c in enumerate(colour)])


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


def _refine(
    colour: list[int],
    down: list[list[tuple[str, int]]],
    up: list[list[tuple[str, int]]],
    company: list[list[int]],
) -> list[int]:
    """Split colours by the colours around them until nothing changes."""
    while True:
        keys = [
            (
                colour[i],
                tuple(sorted((label, colour[j]) for label, j in down[i])),
                tuple(sorted((label, colour[j]) for label, j in up[i])),
                tuple(sorted(colour[j] for j in company[i])),
            )
            for i in range(len(colour))
        ]
        new = _rank(keys)
        if max(new) == max(colour):
            return new
        colour = new


def _rank(keys: Sequence[Hashable]) -> list[int]:
    """0 for the smallest key, equal numbers for equal keys, no gaps."""
    number = {key: i for i, key in enumerate(sorted(set(keys)))}  # type: ignore[type-var]
    return [number[key] for key in keys]
