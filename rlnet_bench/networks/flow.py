"""What every vertex reads and sends, as blocks of numbers: messages upward, instructions downward.

Works on vertices in canonical order. An identity message passes on what its vertex sees, and every number
travels with its source and its age, so that an observation that arrives by many paths is read once, by the
freshest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput
from rlnet_bench.networks.spec import WIDTH_CAP, NetworkSpec
from rlnet_bench.networks.topology import Instance, Joint, informs, instructs

Kind = Literal["observation", "learned", "mean", "instruction"]
Source = tuple[Kind, int]


@dataclass(frozen=True)
class Part:
    """A block of an input or message: ``width`` numbers of ``source``'s output as of ``delay`` steps ago.

    ``observation``: what the motor ``source`` observes; ``learned`` and ``mean``: the message of ``source``;
    ``instruction``: numbers ``start`` to ``start + width`` of what ``source`` sends, times the weight of edge
    ``link`` (an index into ``Graph.links``). Before the first step of an episode everything is zero.
    """

    kind: Kind
    source: int
    width: int
    delay: int = 0
    start: int = 0
    link: int | None = None


@dataclass(frozen=True)
class Flow:
    """Per vertex in canonical order: inputs from below and above, the message, and what `mean` averages."""

    below: tuple[tuple[Part, ...], ...]
    above: tuple[tuple[Part, ...], ...]
    message: tuple[tuple[Part, ...], ...]
    mean_of: tuple[tuple[tuple[Part, ...], ...], ...]
    instruction: tuple[int, ...]  # numbers that one subordinate receives
    heads: tuple[int, ...]  # 1, or the number of instructed subordinates where each gets its own


def width_of(parts: Sequence[Part]) -> int:
    """Numbers in a sequence of blocks."""
    return sum(p.width for p in parts)


def make_flow(spec: NetworkSpec, nodes: Sequence[Instance], links: Sequence[Joint], card: TaskCard) -> Flow:
    """Blocks and widths of every input and message.

    Raises:
        BadInput: for mismatched widths, widths above the cap and vertices that read nothing.
    """
    up: list[list[Joint]] = [[] for _ in nodes]  # links over which i hears messages, by canonical subordinate
    for link in sorted(links, key=lambda k: k.subordinate):
        if informs(link.edge, nodes[link.subordinate].vertex):
            up[link.superior].append(link)
    seen = _ages(nodes, up)
    widths = _widths(spec, nodes, up, seen, card)

    def parts(ages: dict[Source, int], first: int | None = None) -> tuple[Part, ...]:
        order = sorted(ages, key=lambda s: (s != ("observation", first), s[1], s[0]))
        return tuple(Part(s[0], s[1], widths[s], ages[s]) for s in order)

    below = tuple(parts(seen[i], i) for i in range(len(nodes)))
    message = tuple(parts(_emitted(nodes, seen, i)) for i in range(len(nodes)))
    mean_of = tuple(_items(nodes, up, message, i, widths) for i in range(len(nodes)))
    instruction, heads, above = _instructions(spec, nodes, links, card, below)
    for i, x in enumerate(nodes):
        what = {"reads": (*below[i], *above[i]), "returns a message of": message[i]}
        for verb, blocks in what.items():
            if width_of(blocks) > WIDTH_CAP:
                raise BadInput(f"{spec.where(x.vertex.line)}vertex {x.name!r} {verb} {width_of(blocks)} numbers, and "
                               f"the cap is {WIDTH_CAP}; use {{learned: m}} or `mean` messages below it.")  # fmt: skip
        if not below[i] and not above[i] and x.vertex.sends.kind != "none" and x.vertex.kind.reads:
            raise BadInput(f"{spec.where(x.vertex.line)}vertex {x.name!r} reads inputs of width 0: no subordinate "
                           "sends it a message and no superior instructs it; give one a `message` other than none, "
                           "or set `learner: noise`.")  # fmt: skip
    return Flow(below, above, message, mean_of, instruction, heads)


def _emitted(nodes: Sequence[Instance], seen: list[dict[Source, int]], i: int) -> dict[Source, int]:
    kind = nodes[i].vertex.message.kind
    if kind == "identity":
        return seen[i]
    return {} if kind == "none" else {(kind, i): 0}


def _ages(nodes: Sequence[Instance], up: list[list[Joint]]) -> list[dict[Source, int]]:
    """What each vertex sees from below, own observation included: source -> age of its freshest arrival."""
    seen: list[dict[Source, int]] = [
        {("observation", i): 0} if x.agent is not None else {} for i, x in enumerate(nodes)
    ]
    readers: list[list[Joint]] = [[] for _ in nodes]
    for hears in up:
        for link in hears:
            readers[link.subordinate].append(link)
    todo, waiting = list(reversed(range(len(nodes)))), [True] * len(nodes)  # from the motors upward
    for i in todo:  # grows while it is read: only what changed is passed on again
        waiting[i] = False
        emitted = _emitted(nodes, seen, i)
        for link in readers[i]:
            target, changed = seen[link.superior], False
            for source, age in emitted.items():
                if source[1] == link.superior and source[0] != "observation":
                    continue  # a vertex does not read its own message
                if age + link.edge.delay < target.get(source, 1 << 30):
                    target[source] = age + link.edge.delay
                    changed = True
            if changed and not waiting[link.superior] and nodes[link.superior].vertex.message.kind == "identity":
                waiting[link.superior] = True
                todo.append(link.superior)
    return seen


def _widths(
    spec: NetworkSpec,
    nodes: Sequence[Instance],
    up: list[list[Joint]],
    seen: list[dict[Source, int]],
    card: TaskCard,
) -> dict[Source, int]:
    """The width of every source; a mean is as wide as each thing that it averages."""
    widths: dict[Source, int] = {}
    means = []
    for i, x in enumerate(nodes):
        if x.agent is not None:
            widths["observation", i] = card.observation_sizes[x.agent]
        widths["learned", i] = x.vertex.message.width
        if x.vertex.message.kind == "mean":
            means.append(i)

    def items(i: int) -> list[tuple[str, int | None]]:
        """(name, width or None while unknown) of everything that a mean averages."""
        out: list[tuple[str, int | None]] = []
        if nodes[i].agent is not None:
            out.append(("its own observation", widths["observation", i]))
        for link in up[i]:
            sources = _emitted(nodes, seen, link.subordinate)
            known = all(s in widths for s in sources)
            total = sum(widths[s] for s in sources) if known else None
            out.append((f"the message of {nodes[link.subordinate].name!r}", total))
        return out

    open_ = list(reversed(means))
    while open_:
        still = []
        for i in open_:
            known = next((w for _, w in items(i) if w is not None), None)
            if known is None:
                still.append(i)
            else:
                widths["mean", i] = known
        if len(still) == len(open_):
            x = nodes[still[0]]
            raise BadInput(f"{spec.where(x.vertex.line)}vertex {x.name!r} has `message: mean`, and nothing below it "
                           "has a width; give a subordinate an identity or learned message.")  # fmt: skip
        open_ = still
    for i in means:
        wide = items(i)
        for name, width in wide:
            if width != wide[0][1]:
                raise BadInput(
                    f"{spec.where(nodes[i].vertex.line)}vertex {nodes[i].name!r} has `message: mean` over mismatched "
                    f"widths: {wide[0][0]} has {wide[0][1]} and {name} has {width}; use {{learned: m}} below it."
                )
    return widths


def _items(
    nodes: Sequence[Instance],
    up: list[list[Joint]],
    message: tuple[tuple[Part, ...], ...],
    i: int,
    widths: dict[Source, int],
) -> tuple[tuple[Part, ...], ...]:
    """The vectors that a `mean` message averages, each as blocks."""
    if nodes[i].vertex.message.kind != "mean":
        return ()
    own = [(Part("observation", i, widths["observation", i]),)] if nodes[i].agent is not None else []
    heard = [
        tuple(Part(p.kind, p.source, p.width, p.delay + link.edge.delay) for p in message[link.subordinate])
        for link in up[i]
    ]
    return (*own, *heard)


def _instructions(
    spec: NetworkSpec,
    nodes: Sequence[Instance],
    links: Sequence[Joint],
    card: TaskCard,
    below: Sequence[tuple[Part, ...]],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[Part, ...], ...]]:
    down: list[list[tuple[int, Joint]]] = [[] for _ in nodes]
    for number, link in enumerate(links):
        if instructs(link.edge, nodes[link.superior].vertex):
            down[link.superior].append((number, link))
    sizes, heads = [], []
    above: list[list[Part]] = [[] for _ in nodes]
    for i, x in enumerate(nodes):
        sends = x.vertex.sends
        size = width_of(below[i]) if sends.kind == "relay" else sends.size
        if sends.kind == "action":
            assert x.agent is not None
            size = card.action_sizes[x.agent]
        if sends.kind == "graph":
            size = 2 * (len(down[i]) - 1)  # whom it hears, and who hears it
        count = len(down[i]) if sends.per_subordinate else 1
        if size * count > WIDTH_CAP:
            raise BadInput(f"{spec.where(x.vertex.line)}vertex {x.name!r} sends {size} numbers to each of {count} "
                           f"subordinates, and the cap is {WIDTH_CAP} in all; send fewer.")  # fmt: skip
        sizes.append(size)
        heads.append(count if down[i] and sends.kind != "relay" else 0)
        for slot, (number, link) in enumerate(sorted(down[i], key=lambda d: d[1].subordinate)):
            if sends.kind == "relay":
                above[link.subordinate] += [
                    Part(p.kind, p.source, p.width, p.delay + link.edge.delay, p.start, number) for p in below[i]
                ]
                continue
            start = slot * size if sends.per_subordinate else 0
            above[link.subordinate].append(Part("instruction", i, size, link.edge.delay, start, number))
    return tuple(sizes), tuple(heads), tuple(tuple(p) for p in above)
