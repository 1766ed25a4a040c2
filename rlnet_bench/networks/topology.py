"""Who is joined to whom: from declarations to single vertices and edges, without any widths.

A vertex is known here by its position in the list of :func:`instances`; the canonical order comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlnet_bench.errors import BadInput
from rlnet_bench.networks.spec import MAX_COUNT, Edge, NetworkSpec, Vertex

MAX_LINKS = 16_384


class DoesNotFit(BadInput):
    """Raised when a network cannot be laid over this number of agents; it may fit another task."""


@dataclass(frozen=True)
class Instance:
    """One vertex: a member of its declaration; ``agent`` where it is a motor."""

    vertex: Vertex
    member: int
    agent: int | None
    name: str


@dataclass(frozen=True)
class Joint:
    """One edge between two instances, by position."""

    superior: int
    subordinate: int
    edge: Edge


def instructs(edge: Edge, superior: Vertex) -> bool:
    """An instruction goes down this edge (``weight: 0`` means that it is ignored, so none does)."""
    return superior.sends.kind != "none" and edge.carry != "messages" and edge.weight != 0


def informs(edge: Edge, subordinate: Vertex) -> bool:
    """A message goes up this edge."""
    return subordinate.message.kind != "none" and edge.carry != "instructions"


def instances(spec: NetworkSpec, agents: Sequence[str]) -> list[Instance]:
    """Every vertex for a task's agents, in the order of declaration.

    Raises:
        BadInput: for agents with two motors or none, unknown agents, too many vertices.
    """
    motors = _motors(spec, agents)
    out: list[Instance] = []
    for vertex in spec.vertices:
        members: Sequence[int | None]
        if vertex.is_motor:
            members = motors[vertex.name]
        else:
            members = [None] * (len(agents) if vertex.count == "agents" else vertex.count)
        if len(out) + len(members) > MAX_COUNT:
            raise BadInput(
                f"{spec.where(vertex.line)}expected at most {MAX_COUNT} vertices in all, and {vertex.name!r} "
                f"brings {len(out) + len(members)} for {len(agents)} agents."
            )
        alone = vertex.count == 1 and not vertex.is_motor
        for member, agent in enumerate(members):
            out.append(Instance(vertex, member, agent, vertex.name if alone else f"{vertex.name}[{member}]"))
    return out


def _motors(spec: NetworkSpec, agents: Sequence[str]) -> dict[str, list[int]]:
    """The agents of every motor declaration; each agent has exactly one motor."""
    owner: dict[int, Vertex] = {}
    out: dict[str, list[int]] = {}
    declared = [v for v in spec.vertices if v.is_motor]
    # Lists first: `rest` means the agents that no list names.
    for vertex in sorted(declared, key=lambda v: v.agents == "rest"):
        if vertex.agents == "all":
            mine = list(range(len(agents)))
        elif vertex.agents == "rest":
            mine = [i for i in range(len(agents)) if i not in owner]
        else:
            assert vertex.agents is not None
            mine = [agent_number(spec, vertex, ref, agents) for ref in vertex.agents]
        for i in mine:
            if i in owner:
                raise BadInput(
                    f"{spec.where(vertex.line)}agent {agents[i]!r} has two motors, {owner[i].name!r} and "
                    f"{vertex.name!r}; expected one motor per agent."
                )
            owner[i] = vertex
        if not mine:
            raise DoesNotFit(f"{spec.where(vertex.line)}motor {vertex.name!r}: no agent of {len(agents)} is left for "
                             "it.")  # fmt: skip
        out[vertex.name] = mine
    missing = [agents[i] for i in range(len(agents)) if i not in owner]
    if missing:
        raise DoesNotFit(
            f"{spec.where(declared[0].line)}agent {missing[0]!r} has no motor ({len(missing)} of {len(agents)} agents "
            "have none); add `per_agent: rest` or list every agent."
        )
    return out


def agent_number(spec: NetworkSpec, vertex: Vertex, ref: int | str, agents: Sequence[str]) -> int:
    """An agent's number from its number or name."""
    if isinstance(ref, int):
        if ref >= len(agents):
            raise DoesNotFit(f"{spec.where(vertex.line)}vertex {vertex.name!r} names agent {ref}, and there are "
                             f"{len(agents)} agents (0 to {len(agents) - 1}).")  # fmt: skip
        return ref
    if ref not in agents:
        raise DoesNotFit(f"{spec.where(vertex.line)}vertex {vertex.name!r} names agent {ref!r}; the agents are "
                         f"{', '.join(agents[:8])}.")  # fmt: skip
    return list(agents).index(ref)


def joints(spec: NetworkSpec, placed: Sequence[Instance]) -> list[Joint]:
    """Every edge between instances, in the order of declaration.

    Raises:
        BadInput: for self-loops, duplicates, lists that do not fit, too many edges.
    """
    at: dict[str, list[int]] = {v.name: [] for v in spec.vertices}
    for i, instance in enumerate(placed):
        at[instance.vertex.name].append(i)
    out: dict[tuple[int, int], Joint] = {}
    for edge in spec.edges:
        above, below = at[edge.superior], at[edge.subordinate]
        for i, j in _pairs(spec, edge, len(above), len(below)):
            joint = Joint(above[i], below[j], edge)
            key = (joint.superior, joint.subordinate)
            names = f"{placed[key[0]].name} -> {placed[key[1]].name}"
            if key[0] == key[1]:
                raise BadInput(f"{spec.where(edge.line)}edge {edge.name}: {names} is a self-loop; a vertex remembers "
                               "with `memory: gru`.")  # fmt: skip
            if key in out:
                first = out[key].edge
                other = f" and on line {first.line}" if first is not edge and first.line else ""
                raise BadInput(f"{spec.where(edge.line)}duplicate edge {names}: declared here{other or ' twice'}.")
            out[key] = joint
        if len(out) > MAX_LINKS:
            raise BadInput(f"{spec.where(edge.line)}edge {edge.name}: expected at most {MAX_LINKS} edges in all.")
    return list(out.values())


def _pairs(spec: NetworkSpec, edge: Edge, m: int, n: int) -> list[tuple[int, int]]:
    """Member numbers (superior, subordinate) that a deal joins."""
    same = edge.superior == edge.subordinate
    if isinstance(edge.deal, tuple):
        if len(edge.deal) != m:
            raise DoesNotFit(f"{spec.where(edge.line)}edge {edge.name}: expected {m} lists, one per vertex of "
                             f"{edge.superior!r}, found {len(edge.deal)}.")  # fmt: skip
        pairs = [(i, j) for i, row in enumerate(edge.deal) for j in row]
        beyond = [j for _, j in pairs if j >= n]
        if beyond:
            raise DoesNotFit(f"{spec.where(edge.line)}edge {edge.name}: subordinate {beyond[0]} does not exist; "
                             f"{edge.subordinate!r} has {n} (0 to {n - 1}).")  # fmt: skip
        return pairs
    if edge.deal == "chain":
        return [(i, i + 1) for i in range(n - 1)]
    if edge.deal in ("order", "learned"):  # no graph that is learned has more
        return [(i, j) for i in range(n) for j in range(i + 1, n)]
    if edge.deal == "balanced":  # contiguous blocks whose sizes differ by at most one
        return [(j * m // n, j) for j in range(n)] if m <= n else [(i, i * n // m) for i in range(m)]
    if edge.deal == "others":
        return [(i, j) for i in range(m) for j in range(n) if i != j]
    if m * n > MAX_LINKS:
        raise BadInput(f"{spec.where(edge.line)}edge {edge.name}: expected at most {MAX_LINKS} edges in all, "
                       f"found {m} x {n}.")  # fmt: skip
    return [(i, j) for i in range(m) for j in range(n) if not same or i != j]


def generations(spec: NetworkSpec, placed: Sequence[Instance], edges: Sequence[Joint]) -> list[int]:
    """Per instance the longest path of zero-delay edges that leads to it; sinks come last, together.

    Raises:
        BadInput: naming the vertices and lines of a cycle.
    """
    now = [e for e in edges if e.edge.delay == 0]
    down: list[list[Joint]] = [[] for _ in placed]
    waiting = [0] * len(placed)
    for joint in now:
        down[joint.superior].append(joint)
        waiting[joint.subordinate] += 1
    level = [0] * len(placed)
    ready = [i for i, w in enumerate(waiting) if w == 0]
    for i in ready:  # grows while it is read
        for joint in down[i]:
            j = joint.subordinate
            level[j] = max(level[j], level[i] + 1)
            waiting[j] -= 1
            if waiting[j] == 0:
                ready.append(j)
    if len(ready) < len(placed):
        raise BadInput(_cycle(spec, placed, now, {i for i, w in enumerate(waiting) if w > 0}))
    last = max(level)
    return [last if not down[i] and placed[i].vertex.is_motor else level[i] for i in range(len(placed))]


def _cycle(spec: NetworkSpec, placed: Sequence[Instance], now: Sequence[Joint], stuck: set[int]) -> str:
    """One cycle among vertices that wait for each other: every one of them has a superior among them."""
    up = {j.subordinate: j for j in reversed(now) if j.superior in stuck and j.subordinate in stuck}
    walk: list[Joint] = []
    seen: dict[int, int] = {}
    at = min(up)
    while at not in seen:
        seen[at] = len(walk)
        walk.append(up[at])
        at = up[at].superior
    loop = walk[seen[at] :][::-1]
    names = [placed[j.superior].name for j in loop]
    shown = names if len(names) <= 8 else [*names[:7], "..."]
    lines = sorted({j.edge.line for j in loop if j.edge.line})
    where = f" (lines {', '.join(map(str, lines[:8]))})" if len(lines) > 1 else ""
    return (
        f"{spec.where(min(lines, default=0))}the edges without delay form a cycle: {' -> '.join([*shown, names[0]])}"
        f"{where}; remove one or give it a `delay`."
    )
