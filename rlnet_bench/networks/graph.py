"""The graph of a network on one task: vertices, edges, widths, costs, who knows what. Imports without torch.

``expand(spec, card)`` is pure and deterministic. Vertices are in canonical order (``nodes[k].index == k``):
superiors before subordinates, the same whatever the declarations are called and in whichever order they
stand. Every tuple of vertex numbers refers to that order, every tuple of link numbers to ``Graph.links``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput
from rlnet_bench.networks import cost
from rlnet_bench.networks.cost import Information
from rlnet_bench.networks.flow import Flow, Part, make_flow, width_of
from rlnet_bench.networks.order import canonical_order
from rlnet_bench.networks.shape import check_alive, reachable
from rlnet_bench.networks.spec import Edge, NetworkSpec, Vertex
from rlnet_bench.networks.topology import (
    Instance,
    Joint,
    agent_number,
    generations,
    informs,
    instances,
    instructs,
    joints,
)
from rlnet_bench.vocabulary import ExecutionClass


@dataclass(frozen=True)
class Node:
    """One vertex of the graph.

    ``below``: its input from below, a motor's own observation first; ``above``: its instructions, in the order
    of its superiors; ``message``: what it returns to its superiors; ``mean_of``: the vectors that a ``mean``
    message averages. ``instruction`` is the width that one subordinate receives (options as one-hot), ``heads``
    how many instructions it chooses at once: 0, 1, or one per instructed subordinate.
    """

    index: int
    name: str
    vertex: Vertex
    member: int
    agent: int | None
    place: str
    generation: int
    superiors: tuple[int, ...]
    subordinates: tuple[int, ...]
    reach: tuple[int, ...]
    below: tuple[Part, ...]
    above: tuple[Part, ...]
    message: tuple[Part, ...]
    mean_of: tuple[tuple[Part, ...], ...]
    instruction: int
    heads: int
    reward: tuple[float, ...]

    @property
    def is_motor(self) -> bool:
        """It acts on the environment for ``agent``."""
        return self.agent is not None

    @property
    def input_width(self) -> int:
        """Numbers that its policy reads."""
        return width_of(self.below) + width_of(self.above)

    @property
    def message_width(self) -> int:
        """Numbers that it returns to each superior."""
        return width_of(self.message)


@dataclass(frozen=True)
class Link:
    """One edge of the graph; widths are 0 where nothing goes that way."""

    index: int
    superior: int
    subordinate: int
    edge: Edge
    down: int
    up: int
    bits_down: float
    bits_up: float


@dataclass(frozen=True)
class Graph:
    """A network laid over a task."""

    spec: NetworkSpec
    card: TaskCard
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    generations: tuple[tuple[int, ...], ...]
    motors: tuple[int, ...]  # motors[i] is the vertex of agent i
    hops: int

    @property
    def bits_up(self) -> float:
        """Message bits per step towards superiors, between different places."""
        return sum(link.bits_up for link in self.links)

    @property
    def bits_down(self) -> float:
        """Message bits per step towards subordinates, between different places."""
        return sum(link.bits_down for link in self.links)

    @cached_property
    def information(self) -> tuple[Information, ...]:
        """What each agent's action depends on."""
        return self.information_without()

    def information_without(self, links: Collection[int] = ()) -> tuple[Information, ...]:
        """The same with some links cut, as after ``weight: sparse`` has ended or in an ablation."""
        return cost.information(_instances(self), _joints(self), frozenset(links))

    @property
    def execution_class(self) -> ExecutionClass:
        """D0, D1, D2 or C."""
        return cost.class_of(self.information)

    def node(self, name: str) -> Node:
        """A vertex by name, such as ``director`` or ``motor[0]``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise BadInput(f"network {self.spec.name}: there is no vertex {name!r} on {self.card.id}.")

    def stacks(self, *, padded: bool = False) -> tuple[tuple[int, ...], ...]:
        """Vertices that one stacked product evaluates: one generation, equal shapes, equal settings.

        Args:
            padded: let motors of different sizes stand together (narrow ones padded with zeros).
        """
        found: dict[tuple[Any, ...], list[int]] = {}
        for node in self.nodes:
            found.setdefault(self._shape(node, padded), []).append(node.index)
        return tuple(tuple(members) for members in found.values())

    def _shape(self, node: Node, padded: bool) -> tuple[Any, ...]:
        v = node.vertex
        name = "" if v.method is None else v.name  # another method learns for one declaration
        settings = replace(v, name=name, count=1, agents=None if v.agents is None else "all", place=Vertex("").place)
        head = node.instruction * min(node.heads, 1)
        sizes: tuple[Any, ...] = (node.input_width, width_of(node.below), node.message_width, head)
        if node.agent is not None:
            sizes = (*sizes, self.card.action_sizes[node.agent])
            if padded:
                sizes = () if v.sends.kind == "action" else (head,)
        led_by = node.superiors if v.recipe.share == "group" else None
        return node.generation, node.is_motor, settings, node.heads, sizes, led_by

    def to_json(self) -> dict[str, Any]:
        """The measured columns and the vertices, as plain data."""
        return {
            "network": self.spec.name,
            "task": self.card.id,
            "agents": self.card.num_agents,
            "vertices": [
                {
                    "name": n.name,
                    "generation": n.generation,
                    "superiors": [self.nodes[i].name for i in n.superiors],
                    "subordinates": [self.nodes[i].name for i in n.subordinates],
                    "reads": n.input_width,
                    "sends": n.instruction * (n.heads > 0),
                    "returns": n.message_width,
                    "period": n.vertex.period,
                    "place": n.place,
                }
                for n in self.nodes
            ],
            "edges": len(self.links),
            "bits_up": self.bits_up,
            "bits_down": self.bits_down,
            "hops": self.hops,
            "execution_class": self.execution_class,
        }


def _instances(graph: Graph) -> list[Instance]:
    return [Instance(n.vertex, n.member, n.agent, n.name) for n in graph.nodes]


def _joints(graph: Graph) -> list[Joint]:
    return [Joint(k.superior, k.subordinate, k.edge) for k in graph.links]


def path(graph: Graph, i: int, part: Part) -> tuple[int, ...]:
    """The links over which a part of vertex i's input arrives, its own first: the first of equally short ways."""
    if part.kind == "instruction":
        return () if part.link is None else (part.link,)
    if part.link is not None:  # relayed
        link = graph.links[part.link]
        inner = replace(part, link=None, delay=part.delay - link.edge.delay)
        return (part.link, *path(graph, link.superior, inner))
    if part.source == i:
        return ()
    for link in graph.links:
        if link.superior == i and link.up:
            sent = graph.nodes[link.subordinate].message
            inner = replace(part, delay=part.delay - link.edge.delay)
            if inner in sent:
                return (link.index, *path(graph, link.subordinate, inner))
    return ()


def expand(spec: NetworkSpec, card: TaskCard) -> Graph:
    """Lay a network over a task.

    Raises:
        BadInput: with vertex names and line, for everything that does not fit.
    """
    placed = instances(spec, card.agents)
    edges = joints(spec, placed)
    level = generations(spec, placed, edges)
    check_alive(spec, placed, edges)
    reach = [tuple(sorted(r)) for r in reachable(placed, edges)]
    agents_at = [_agent_at(spec, x, reach[i], card) for i, x in enumerate(placed)]
    order = canonical_order(placed, edges, level, agents_at)
    rank = {old: new for new, old in enumerate(order)}
    nodes = [placed[i] for i in order]
    links = sorted((Joint(rank[j.superior], rank[j.subordinate], j.edge) for j in edges),
                   key=lambda j: (j.superior, j.subordinate))  # fmt: skip
    level, reach = [level[i] for i in order], [reach[i] for i in order]
    places = [_place(x, agents_at[i]) for x, i in zip(nodes, order)]
    flow = make_flow(spec, nodes, links, card)
    reward = cost.rewards(nodes, links, card.num_agents)
    superiors: list[list[int]] = [[] for _ in nodes]
    subordinates: list[list[int]] = [[] for _ in nodes]
    for joint in links:
        superiors[joint.subordinate].append(joint.superior)
        subordinates[joint.superior].append(joint.subordinate)
    made = tuple(
        Node(
            i, x.name, x.vertex, x.member, x.agent, places[i], level[i], tuple(superiors[i]), tuple(subordinates[i]),
            reach[i], flow.below[i], flow.above[i], flow.message[i], flow.mean_of[i], flow.instruction[i],
            flow.heads[i], reward[i],
        )
        for i, x in enumerate(nodes)
    )  # fmt: skip
    _check_groups(spec, made, card)
    motors = sorted((n.agent, n.index) for n in made if n.agent is not None)
    return Graph(
        spec,
        card,
        made,
        _links(spec, nodes, links, flow, places, card),
        tuple(tuple(n.index for n in made if n.generation == g) for g in range(max(level) + 1)),
        tuple(index for _, index in motors),
        cost.hops(nodes, links, places),
    )


def _links(
    spec: NetworkSpec, nodes: list[Instance], links: list[Joint], flow: Flow, places: list[str], card: TaskCard
) -> tuple[Link, ...]:
    rates = cost.message_rates(spec, nodes, links)
    out = []
    for index, joint in enumerate(links):
        superior, subordinate = nodes[joint.superior].vertex, nodes[joint.subordinate].vertex
        down = flow.instruction[joint.superior] if instructs(joint.edge, superior) else 0
        up = width_of(flow.message[joint.subordinate]) if informs(joint.edge, subordinate) else 0
        bits_down = bits_up = 0.0
        if places[joint.superior] != places[joint.subordinate]:
            each = joint.edge.bits or cost.FLOAT_BITS
            bits_up = each * up * rates[joint.superior]
            if down:
                size = cost.instruction_bits(superior.sends.kind, down, card.action_kind == "discrete", each)
                bits_down = size / superior.period
        out.append(Link(index, joint.superior, joint.subordinate, joint.edge, down, up, bits_down, bits_up))
    return tuple(out)


def _agent_at(spec: NetworkSpec, x: Instance, reach: tuple[int, ...], card: TaskCard) -> int | None:
    """The agent at which a vertex computes, if any."""
    place = x.vertex.place
    if x.agent is not None:
        return x.agent
    if place.kind == "agent":  # members spread over the agents they lead, so that they do not pile up
        return reach[x.member % len(reach)]
    if place.kind == "agents":
        if x.member >= len(place.agents):
            raise BadInput(f"{spec.where(x.vertex.line)}vertex {x.vertex.name!r}: expected one agent per vertex, "
                           f"found {len(place.agents)}.")  # fmt: skip
        return agent_number(spec, x.vertex, place.agents[x.member], card.agents)
    return None


def _place(x: Instance, agent: int | None) -> str:
    if agent is not None:
        return f"agent {agent}"
    return f"site {x.vertex.place.site}" if x.vertex.place.kind == "site" else f"outside {x.name}"


def _check_groups(spec: NetworkSpec, nodes: tuple[Node, ...], card: TaskCard) -> None:
    """Vertices that share parameters have equal shapes."""
    first: dict[str, Node] = {}
    for node in nodes:
        group = node.vertex.group
        if group is None:
            continue
        other = first.setdefault(group, node)
        pairs = {
            "read inputs of": (other.input_width, node.input_width),
            "return messages of": (other.message_width, node.message_width),
            "choose instructions of": (other.instruction * other.heads, node.instruction * node.heads),
            "act with": tuple(-1 if n.agent is None else card.action_sizes[n.agent] for n in (other, node)),
            "have hidden layers": (other.vertex.hidden, node.vertex.hidden),
        }
        for verb, (a, b) in pairs.items():
            if a != b:
                raise BadInput(f"{spec.where(node.vertex.line)}vertices {other.name!r} and {node.name!r} share the "
                               f"parameters of group {group!r} but {verb} mismatched widths {a} and {b}.")  # fmt: skip
