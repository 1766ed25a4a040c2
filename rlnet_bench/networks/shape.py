"""Mistakes of a network that show before any task is known: wrong deals, cycles, dead vertices.

A file is tried on the smallest team that its lists fit; what depends on the team waits for a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlnet_bench.errors import BadInput
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.topology import (
    DoesNotFit,
    Instance,
    Joint,
    generations,
    informs,
    instances,
    instructs,
    joints,
)
from rlnet_bench.networks.zoo_files import zoo_text
from rlnet_bench.reading.yaml import load

LEAST_AGENTS = 3  # what a file is tried with before any task is known


def check_shape(spec: NetworkSpec) -> None:
    """Everything that can be said before a task is known; see :func:`check_alive` for dead vertices.

    Raises:
        BadInput: with vertex names and line.
    """
    declared = {v.name: v for v in spec.vertices}
    motors = [v for v in spec.vertices if v.is_motor]
    if spec.model:
        _check_model(spec)
    for v in spec.vertices:
        if v.sends.kind == "graph" and not spec.model:
            raise BadInput(f"{spec.where(v.line)}vertex {v.name!r}: `action: graph` needs `model: learned-graph` at "
                           "the top of the file, found none.")  # fmt: skip
    if not motors:
        raise BadInput(f"{spec.where(spec.vertices[0].line)}no vertex is a motor; add one with `per_agent: true`.")
    for kind in ("all", "rest"):
        wide = [v for v in motors if v.agents == kind]
        clash = [v for v in motors if v is not wide[0]] if wide and kind == "all" else wide[1:]
        if clash:
            raise BadInput(f"{spec.where(clash[0].line)}agents have two motors, {wide[0].name!r} and "
                           f"{clash[0].name!r}; expected one motor per agent.")  # fmt: skip
    for edge in spec.edges:
        superior, subordinate = declared[edge.superior], declared[edge.subordinate]
        same = superior is subordinate
        where = f"{spec.where(edge.line)}edge {edge.name}: "
        if same and not superior.is_motor and superior.count == 1:
            raise BadInput(f"{where}a self-loop; a vertex remembers with `memory: gru`.")
        if same and edge.deal in ("balanced", "others"):
            raise BadInput(f"{where}`deal: {edge.deal}` joins two different declarations; use chain, order or lists.")
        if edge.deal == "learned" and not spec.model:
            raise BadInput(f"{where}`deal: learned` is drawn at every step by a vertex with `action: graph`; expected "
                           "`model: learned-graph` at the top of the file, found none (or use order).")  # fmt: skip
        if same and edge.deal == "all-to-all" and edge.delay == 0:
            raise BadInput(f"{where}the edges without delay form a cycle; use `deal: order` (each to all later ones), "
                           "`deal: chain`, explicit lists, or a `delay`.")  # fmt: skip
        if not same and edge.deal in ("chain", "order", "learned"):
            raise BadInput(f"{where}`deal: {edge.deal}` joins the members of one declaration; use all-to-all, "
                           "balanced or lists.")  # fmt: skip
        taught = subordinate.is_taught
        if not (instructs(edge, superior) or informs(edge, subordinate) or edge.weight == 0 or taught):
            raise BadInput(f"{where}carries nothing: {superior.name!r} sends no instruction down it and "
                           f"{subordinate.name!r} no message up.")  # fmt: skip
    try:
        placed = instances(spec, _probe(spec))
        edges = joints(spec, placed)
    except DoesNotFit:
        return  # only a task can tell
    generations(spec, placed, edges)
    check_alive(spec, placed, edges)


def _check_model(spec: NetworkSpec) -> None:
    """The graph of a model in one piece is given: that of its zoo file, but for widths.

    Raises:
        BadInput: naming the vertex or edge that differs.
    """
    zoo = f"zoo/{spec.model}"
    given = load(zoo_text(str(spec.model)), zoo).data
    head = f"`model: {spec.model}` has the graph of {zoo} (widths and `hidden` are free): expected"
    names, found = list(given["vertices"]), [v.name for v in spec.vertices]
    if found != names:
        raise BadInput(f"{spec.where(0)}{head} the vertices {', '.join(names)}, found {', '.join(found)}.")
    for v in spec.vertices:
        said = v.to_data() if v.is_motor else {"action": v.sends.to_data(), **v.to_data()}
        wanted, has = (_without_widths(x) for x in (given["vertices"][v.name], said))
        if has != wanted:
            raise BadInput(f"{spec.where(v.line)}vertex {v.name!r}: {head} {wanted}, found {has}.")
    edges = [e.to_data() for e in spec.edges]
    for k, edge in enumerate(given["edges"]):
        if edges[k : k + 1] != [edge]:
            line = spec.edges[k].line if k < len(edges) else 0
            raise BadInput(f"{spec.where(line)}{head} edge {k + 1} to be {edge}, found {(edges[k:] or ['none'])[0]}.")
    if len(edges) > len(given["edges"]):
        extra = spec.edges[len(given["edges"])]
        raise BadInput(f"{spec.where(extra.line)}{head} {len(given['edges'])} edges, found {extra.name} as well.")


def _without_widths(data: Mapping[str, Any]) -> dict[str, Any]:
    """A vertex as written, with ``d`` in the place of its width."""
    kept = {key: value for key, value in data.items() if key != "hidden"}
    action = kept.get("action")
    return {**kept, "action": {**action, "continuous": "d"}} if isinstance(action, Mapping) else kept


def _probe(spec: NetworkSpec) -> list[str]:
    """Names of the smallest team, of at least three where the file leaves it open, that every list fits."""
    motors = {v.name: v for v in spec.vertices if v.is_motor}
    listed = [ref for v in motors.values() if isinstance(v.agents, tuple) for ref in v.agents]
    numbers = {ref for ref in listed if isinstance(ref, int)}
    names = sorted({ref for ref in listed if isinstance(ref, str)})
    is_open = any(v.agents in ("all", "rest") for v in motors.values())
    size = max([*(i + 1 for i in numbers), len(numbers) + len(names), LEAST_AGENTS if is_open else 1])
    for edge in spec.edges:
        if isinstance(edge.deal, tuple) and is_open:
            if edge.superior in motors:
                size = max(size, len(edge.deal))
            if edge.subordinate in motors:
                size = max([size, *(j + 1 for row in edge.deal for j in row)])
    free = iter(names)
    return [f"agent_{i}" if i in numbers else next(free, f"agent_{i}") for i in range(size)]


def reachable(placed: Sequence[Instance], edges: Sequence[Joint]) -> list[frozenset[int]]:
    """Per instance the agents whose motors directed paths (delayed edges too) lead to, its own included."""
    up: list[list[int]] = [[] for _ in placed]
    for joint in edges:
        up[joint.subordinate].append(joint.superior)
    reach: list[set[int]] = [set() for _ in placed]
    for i, instance in enumerate(placed):
        if instance.agent is None:
            continue
        todo = [i]
        while todo:
            at = todo.pop()
            if instance.agent not in reach[at]:
                reach[at].add(instance.agent)
                todo += up[at]
    return [frozenset(r) for r in reach]


def check_alive(spec: NetworkSpec, placed: Sequence[Instance], edges: Sequence[Joint]) -> None:
    """Refuse vertices that no motor could ever notice.

    Raises:
        BadInput: naming the vertex.
    """
    reach = reachable(placed, edges)
    feeds: list[list[int]] = [[] for _ in placed]  # feeds[i]: those whose output i notices
    for joint in edges:
        superior, subordinate = placed[joint.superior].vertex, placed[joint.subordinate].vertex
        taught = subordinate.is_taught
        if instructs(joint.edge, superior) or joint.edge.weight == 0 or taught:
            feeds[joint.subordinate].append(joint.superior)
        if informs(joint.edge, subordinate):
            feeds[joint.superior].append(joint.subordinate)
    alive = {i for i, x in enumerate(placed) if x.agent is not None}
    todo = list(alive)
    while todo:
        new = [i for i in feeds[todo.pop()] if i not in alive]
        alive.update(new)
        todo += new
    for i, instance in enumerate(placed):
        where = f"{spec.where(instance.vertex.line)}vertex {instance.name!r} is dead: "
        if not reach[i]:
            raise BadInput(f"{where}no path leads from it to a motor; add an edge to one, or remove it.")
        if i not in alive:
            raise BadInput(f"{where}no motor receives anything that depends on it; give it an `action` or a "
                           "`message` that is read, or remove it.")  # fmt: skip
