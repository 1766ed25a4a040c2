"""From a graph to what execution needs: stacks of vertices and where every number lies. Imports without torch.

All that vertices read lies on one *bus* of W numbers per environment: observations, a zero, the state (for
``global`` critics), messages, instructions, and delayed copies. A vertex's input is a list of bus positions,
so that reading is one gather per stack. A *stack* is what one batched product evaluates.

Axes: **K** vertices of a stack, **F** features, **W** width of the bus, **N** agents, **O** observation width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from rlnet_bench.envs.layout import layout_of
from rlnet_bench.networks.entities import vertex_layout
from rlnet_bench.networks.flow import Part, width_of
from rlnet_bench.networks.graph import Graph, Node, path
from rlnet_bench.networks.refuse import is_through
from rlnet_bench.networks.stacks import Mean, Reading, Rows, Stack, Wiring


@dataclass
class _Bus:
    """Positions while they are handed out."""

    graph: Graph
    width: int
    learned: dict[int, int] = field(default_factory=dict)  # vertex -> start
    mean: dict[int, int] = field(default_factory=dict)
    instruction: dict[int, int] = field(default_factory=dict)
    past: dict[tuple[int, int], int] = field(default_factory=dict)
    ways: dict[tuple[int, ...], int] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)  # bus position -> position among recomputed values

    @cached_property
    def is_lossy(self) -> bool:
        """Some edge rounds or loses what goes over it."""
        return any(link.edge.drop or link.edge.bits is not None for link in self.graph.links)

    def take(self, count: int) -> int:
        """The start of ``count`` new positions."""
        start, self.width = self.width, self.width + count
        return start

    def positions(self, part: Part) -> list[tuple[int, int]]:
        """(delay, position) of a part's numbers."""
        if part.kind == "observation":
            agent = self.graph.nodes[part.source].agent
            assert agent is not None
            start = agent * self.graph.card.observation_size
        elif part.kind == "learned":
            start = self.learned[part.source]
        elif part.kind == "mean":
            start = self.mean[part.source]
        else:
            start = self.instruction[part.source] + part.start
        return [(part.delay, start + j) for j in range(part.width)]

    def at(self, delay: int, position: int) -> int:
        """The bus position; a delayed one is negative until the width of this step is known."""
        if delay == 0:
            return position
        return -1 - self.past.setdefault((delay, position), len(self.past))


def wire(graph: Graph, *, share_motors: bool = False) -> Wiring:
    """Lay out a graph.

    Args:
        graph: see :func:`rlnet_bench.networks.graph.expand`.
        share_motors: motors of a stack share parameters unless their declaration says otherwise.
    """
    card = graph.card
    bus = _Bus(graph, card.num_agents * card.observation_size)
    zero = bus.take(1)
    state = bus.take(card.state_size) if any(n.vertex.critic == "global" for n in graph.nodes) else -1
    groups = sorted(graph.stacks(padded=True), key=lambda g: (graph.nodes[g[0]].generation, g[0]))
    starts: list[tuple[int, int]] = []  # (instructions, messages) of every stack
    for members in groups:
        first = graph.nodes[members[0]]
        size, message = _size(graph, first), first.vertex.message
        down = bus.take(len(members) * first.heads * size)
        up = bus.take(len(members) * message.width) if message.kind == "learned" else -1
        for k, i in enumerate(members):
            bus.instruction[i] = down + k * first.heads * size
            if message.kind == "learned":
                bus.learned[i] = up + k * message.width
        starts.append((down, up))
    means = _means(graph, bus)
    _recomputed(graph, groups, starts, bus)
    stacks = [
        _stack(graph, bus, number, members, starts[number], zero, state, share_motors)
        for number, members in enumerate(groups)
    ]
    now = bus.width
    finish = _finisher(now)
    stacks = [finish(s) for s in stacks]
    return Wiring(
        graph, tuple(stacks), tuple(Mean(_shift(m.slots, now), m.items, m.start, m.generation) for m in means),
        zero, state, now, tuple(bus.past), len(bus.again), tuple(bus.ways),
        {link.index: link.edge.drop for link in graph.links if link.edge.drop},
    )  # fmt: skip


def _size(graph: Graph, node: Node) -> int:
    """Numbers of one instruction; actions of narrow agents are padded."""
    return graph.card.action_size if node.vertex.sends.kind == "action" else node.instruction


def _recomputed(graph: Graph, groups: Sequence[Sequence[int]], starts: Sequence[tuple[int, int]], bus: _Bus) -> None:
    """Hand out positions among recomputed values: messages from below upward, then instructions downward."""
    order = range(len(groups))
    for g in reversed(order):
        first = graph.nodes[groups[g][0]]
        if first.vertex.gradient == "through" and first.vertex.message.kind == "learned":
            for j in range(len(groups[g]) * first.vertex.message.width):
                bus.again[starts[g][1] + j] = len(bus.again)
    for g in order:
        first = graph.nodes[groups[g][0]]
        if is_through(first):
            for j in range(len(groups[g]) * first.heads * first.instruction):
                bus.again[starts[g][0] + j] = len(bus.again)


def _means(graph: Graph, bus: _Bus) -> list[Mean]:
    found: dict[tuple[int, int, int], list[Node]] = {}
    for node in graph.nodes:
        if node.mean_of:
            found.setdefault((node.generation, len(node.mean_of), node.message_width), []).append(node)
    out = []
    for (generation, items, width), nodes in sorted(found.items(), key=lambda x: -x[0][0]):
        start = bus.take(len(nodes) * width)
        for k, node in enumerate(nodes):
            bus.mean[node.index] = start + k * width
        out.append((nodes, items, start, generation))
    return [
        Mean(
            tuple(tuple(bus.at(*p) for item in n.mean_of for part in item for p in bus.positions(part)) for n in nodes),
            items, start, generation,
        )
        for nodes, items, start, generation in out
    ]  # fmt: skip


def _reading(
    bus: _Bus, nodes: Sequence[Node], rows: Sequence[Sequence[Part]], zero: int, extra: Sequence[Sequence[int]] = ()
) -> Reading:
    """Parts of every member as positions, padded with the zero to the widest; ``extra`` positions come first."""
    slots, factor, weight, again, lossy, bits = [], [], [], [], [], []
    for k, (node, parts) in enumerate(zip(nodes, rows)):
        mine = list(extra[k]) if extra else []
        scale, learned, fresh = [1.0] * len(mine), [-1] * len(mine), [-1] * len(mine)
        lost, width_in_bits = [-1] * len(mine), [0] * len(mine)
        links: dict[int, int] = {}
        for part in parts:
            number = -1
            constant = 1.0
            if part.link is not None:
                given = bus.graph.links[part.link].edge.weight
                if isinstance(given, str):
                    number = links.setdefault(part.link, len(links))
                else:
                    constant = given
            way, few = _way(bus, node, part)
            for delay, position in bus.positions(part):
                lost.append(way)
                width_in_bits.append(few)
                mine.append(bus.at(delay, position))
                scale.append(constant)
                learned.append(number)
                fresh.append(bus.again.get(position, -1) if delay == 0 else -1)
        slots.append(mine)
        factor.append(scale)
        weight.append(learned)
        again.append(fresh)
        lossy.append(lost)
        bits.append(width_in_bits)
    width = max(max(map(len, slots)), 1)

    def pad(row: list[int], value: int) -> tuple[int, ...]:
        return (*row, *[value] * (width - len(row)))

    return Reading(
        tuple(pad(r, zero) for r in slots),
        tuple((*r, *[1.0] * (width - len(r))) for r in factor),
        tuple(pad(r, -1) for r in weight),
        tuple(pad(r, -1) for r in again),
        tuple(pad(r, -1) for r in lossy),
        tuple(pad(r, 0) for r in bits),
    )


def _way(bus: _Bus, node: Node, part: Part) -> tuple[int, int]:
    """(number of the way over which a part arrives, or -1 if nothing is lost there; its bits per number, or 0)."""
    if not bus.is_lossy:
        return -1, 0
    edges = {i: bus.graph.links[i].edge for i in path(bus.graph, node.index, part)}
    lossy = tuple(sorted(i for i, edge in edges.items() if edge.drop))
    few = [edge.bits for edge in edges.values() if edge.bits is not None]
    return (bus.ways.setdefault(lossy, len(bus.ways)) if lossy else -1), min(few, default=0)


def _stack(
    graph: Graph,
    bus: _Bus,
    number: int,
    members: tuple[int, ...],
    starts: tuple[int, int],
    zero: int,
    state: int,
    share_motors: bool,
) -> Stack:
    nodes = [graph.nodes[i] for i in members]
    first = nodes[0]
    v = first.vertex
    agents = tuple(n.agent for n in nodes if n.agent is not None)
    others = [n.index for n in graph.nodes if not n.is_motor]
    ranks = agents or tuple(others.index(i) for i in members)
    shared = v.group is not None or bool(share_motors and first.is_motor if v.recipe.share is None else v.recipe.share)
    trains = v.kind.trains
    chooses = first.heads > 0 and v.sends.is_chosen
    acts = v.kind.has_actor and (first.is_motor or chooses)
    learns = trains and (first.is_motor or (chooses and not is_through(first)))
    teaches = any(graph.nodes[j].vertex.is_taught for n in nodes for j in n.subordinates)
    reports = v.message.kind == "learned" and v.gradient == "stop"
    return Stack(
        number=number,
        name=first.name.partition("[")[0],
        members=members,
        agents=agents,
        vertex=v,
        generation=first.generation,
        shared=shared,
        copies=(min(ranks),) if shared else ranks,
        ranks=ranks,
        reads=_reading(bus, nodes, [(*n.below, *n.above) for n in nodes], zero),
        layout=vertex_layout(first.below, first.above, first.is_motor, layout_of(graph.card)),
        message_layout=vertex_layout(first.below, (), first.is_motor, layout_of(graph.card)),
        instructed=tuple(tuple(range(width_of(n.below), n.input_width)) for n in nodes),
        critic=_critic(graph, bus, nodes, zero, state),
        has_critic=trains and (learns or teaches or reports),
        acts=acts,
        learns=learns,
        through=is_through(first),
        noise=not v.kind.reads,
        heads=first.heads,
        size=_size(graph, first),
        start=starts[0],
        message=_reading(bus, nodes, [n.below for n in nodes], zero) if v.message.kind == "learned" else None,
        message_start=starts[1],
        weights=max(len({p.link for p in n.above if isinstance(_weight(graph, p), str)}) for n in nodes),
        sparse=any(_weight(graph, p) == "sparse" for n in nodes for p in n.above),
        reward=tuple(n.reward for n in nodes),
        superiors=tuple(n.superiors for n in nodes),
    )


def _weight(graph: Graph, part: Part) -> float | str:
    return 1.0 if part.link is None else graph.links[part.link].edge.weight


def _critic(graph: Graph, bus: _Bus, nodes: Sequence[Node], zero: int, state: int) -> Reading | None:
    """What critics read beside ``local``: the state or the subtree's observations, then the instructions."""
    kind: Literal["local", "subtree", "global"] = nodes[0].vertex.critic
    if kind == "local":
        return None
    if kind == "global":
        rows = [list(range(state, state + graph.card.state_size)) for _ in nodes]
        return _reading(bus, nodes, [n.above for n in nodes], zero, rows)
    wide = []
    for n in nodes:
        own = {p.source for p in n.below if p.kind == "observation" and p.delay == 0}
        more = [graph.motors[a] for a in n.reach if graph.motors[a] not in own]
        sizes = graph.card.observation_sizes
        parts = [Part("observation", i, sizes[graph.nodes[i].agent or 0]) for i in more]
        wide.append((*n.below, *parts, *n.above))
    return _reading(bus, nodes, wide, zero)


def _shift(rows: Rows, now: int) -> Rows:
    """Delayed positions go behind those of this step."""
    return tuple(tuple(i if i >= 0 else now - 1 - i for i in row) for row in rows)


def _finisher(now: int) -> Callable[[Stack], Stack]:
    def reading(r: Reading | None) -> Reading | None:
        return None if r is None else replace(r, slots=_shift(r.slots, now))

    def finish(s: Stack) -> Stack:
        reads = reading(s.reads)
        assert reads is not None
        return replace(s, reads=reads, critic=reading(s.critic), message=reading(s.message))

    return finish
