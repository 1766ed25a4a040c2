"""What a graph tells about itself without running: who knows what, bits, hops, whose reward is whose."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, lcm, log2

from rlnet_bench.errors import BadInput
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.topology import Instance, Joint, informs, instructs
from rlnet_bench.vocabulary import ExecutionClass

FLOAT_BITS = 32
MAX_PERIODS = 8  # different periods in one network


@dataclass(frozen=True)
class Information:
    """What the action of one agent depends on, beside its own observation and history.

    ``observations``: agents whose observation of the same step it depends on; ``past``: agents of whom only
    earlier observations arrive (over delayed edges); ``actions``: agents whose sampled actions it reads.
    """

    agent: int
    observations: tuple[int, ...]
    past: tuple[int, ...]
    actions: tuple[int, ...]


def information(
    nodes: Sequence[Instance], links: Sequence[Joint], without: Collection[int] = ()
) -> tuple[Information, ...]:
    """Per agent, by following messages up and instructions down; ``without``: numbers of links to leave out."""
    kept = [link for number, link in enumerate(links) if number not in without]
    hears: list[list[Joint]] = [[] for _ in nodes]
    obeys: list[list[Joint]] = [[] for _ in nodes]
    for link in kept:
        if informs(link.edge, nodes[link.subordinate].vertex):
            hears[link.superior].append(link)
        if instructs(link.edge, nodes[link.superior].vertex) and not _blind(nodes[link.superior]):
            obeys[link.subordinate].append(link)
    agent_of = [x.agent for x in nodes]
    known: list[dict[int, int]] = [{} if a is None else {a: 0} for a in agent_of]  # agent -> age of what is known
    _settle(known, [[(k.subordinate, k.edge.delay) for k in heard] for heard in hears])
    # An instruction tells what its sender has seen and was told; a sampled action tells only itself.
    sampled = [x.vertex.sends.kind == "action" for x in nodes]
    told = [[(k.superior, k.edge.delay) for k in over if not sampled[k.superior]] for over in obeys]
    actions: list[dict[int, int]] = [
        {agent_of[k.superior]: 0 for k in over if sampled[k.superior]}  # type: ignore[misc]
        for over in obeys
    ]
    _settle(known, told)
    _settle(actions, told)
    out = []
    for i, agent in sorted(((i, a) for i, a in enumerate(agent_of) if a is not None), key=lambda p: p[1]):
        others = {k: age for k, age in known[i].items() if k != agent}
        out.append(
            Information(
                agent,
                tuple(sorted(k for k, age in others.items() if age == 0)),
                tuple(sorted(k for k, age in others.items() if age > 0)),
                tuple(sorted(set(actions[i]) - {agent})),
            )
        )
    return tuple(out)


def _blind(x: Instance) -> bool:
    """Its instruction says nothing about this environment: noise, a constant, or another environment's."""
    v = x.vertex
    return not v.kind.reads or v.evaluation == "shuffled" or v.delivers != "own"


def _settle(known: list[dict[int, int]], sources: Sequence[Sequence[tuple[int, int]]]) -> None:
    """Let every vertex learn from its (source, delay) pairs until nobody learns anything fresher."""
    changed = True
    while changed:
        changed = False
        for i, pairs in enumerate(sources):
            for other, delay in pairs:
                for agent, age in known[other].items():
                    if age + delay < known[i].get(agent, 1 << 30):
                        known[i][agent], changed = age + delay, True


def class_of(knowledge: Sequence[Information]) -> ExecutionClass:
    """D0: own observation and history; D1: also others' sampled actions; D2: others' observations in part,
    or delayed; C: some agent's action depends on everybody's observation of the same step."""
    n = len(knowledge)
    if n > 1 and any(len(k.observations) == n - 1 for k in knowledge):
        return "C"
    if any(k.observations or k.past for k in knowledge):
        return "D2"
    return "D1" if any(k.actions for k in knowledge) else "D0"


def message_rates(spec: NetworkSpec, nodes: Sequence[Instance], links: Sequence[Joint]) -> list[float]:
    """Per vertex, the share of steps in which it reads its messages: when it acts or must pass them on."""
    periods = sorted({x.vertex.period for x in nodes})
    if len(periods) > MAX_PERIODS:
        raise BadInput(f"{spec.where(0)}expected at most {MAX_PERIODS} different periods, found {len(periods)}: "
                       f"{', '.join(map(str, periods[:12]))}.")  # fmt: skip
    taught = {k.superior for k in links if nodes[k.subordinate].vertex.is_taught}
    needs: list[set[int]] = [set() for _ in nodes]
    for i, x in enumerate(nodes):
        acts = x.vertex.sends.kind != "none" and x.vertex.kind.reads
        if acts or x.agent is not None or i in taught:
            needs[i].add(x.vertex.period)
    changed = True
    while changed:
        changed = False
        for link in links:
            if informs(link.edge, nodes[link.subordinate].vertex):
                before = len(needs[link.subordinate])
                needs[link.subordinate] |= needs[link.superior]
                changed |= len(needs[link.subordinate]) != before
    return [_density(n) for n in needs]


def _density(periods: set[int]) -> float:
    """The share of whole numbers that are a multiple of one of the periods."""
    least = [p for p in periods if not any(q != p and p % q == 0 for q in periods)]
    total = 0.0
    for size in range(1, len(least) + 1):
        total += (-1) ** (size + 1) * sum(1.0 / lcm(*chosen) for chosen in combinations(least, size))
    return total


def instruction_bits(kind: str, size: int, discrete_actions: bool, each: int = FLOAT_BITS) -> int:
    """Bits of one instruction: ``each`` per number, ceil(log2 n) for one of n options, one per bit."""
    if kind in ("bits", "graph"):
        return size
    if kind == "discrete" or (kind == "action" and discrete_actions):
        return ceil(log2(size)) if size > 1 else 0
    return each * size


def hops(nodes: Sequence[Instance], links: Sequence[Joint], places: Sequence[str]) -> int:
    """The longest chain of transmissions between places that one step must wait for, up and then down."""
    now = [k for k in links if k.edge.delay == 0]
    above: list[list[Joint]] = [[] for _ in nodes]
    below: list[list[Joint]] = [[] for _ in nodes]
    for link in now:
        if informs(link.edge, nodes[link.subordinate].vertex):
            below[link.superior].append(link)
        if instructs(link.edge, nodes[link.superior].vertex):
            above[link.subordinate].append(link)

    def crossing(link: Joint) -> int:
        return int(places[link.superior] != places[link.subordinate])

    seen = [0] * len(nodes)  # transmissions before a vertex has heard everything below it
    for i in reversed(range(len(nodes))):
        seen[i] = max((seen[k.subordinate] + crossing(k) for k in below[i]), default=0)
    acts = [seen[i] if x.vertex.kind.reads else 0 for i, x in enumerate(nodes)]
    for i in range(len(nodes)):
        acts[i] = max([acts[i], *(acts[k.superior] + crossing(k) for k in above[i])])
    return max(acts[i] for i, x in enumerate(nodes) if x.agent is not None)


def rewards(nodes: Sequence[Instance], links: Sequence[Joint], agents: int) -> list[tuple[float, ...]]:
    """Per vertex, the weight of every agent's reward in its own.

    ``mean`` and ``sum`` run over what the subordinates pass on, and a motor's own reward where it is one;
    ``team`` is the mean over agents; ``difference`` rows are ``mean`` rows, over difference rewards; so are those
    of ``superior_advantage``, which say what goes further up. A delayed edge that closes a cycle passes no reward; a
    vertex left with nothing takes the team's.
    """
    team = (1.0 / agents,) * agents
    passing = _rewarding(nodes, links)
    order = _reverse_order(len(nodes), passing)
    rows: list[tuple[float, ...]] = [()] * len(nodes)
    for i in order:
        x = nodes[i]
        items = [rows[j] for j in passing[i]]
        if x.agent is not None:
            items.append(tuple(float(k == x.agent) for k in range(agents)))
        if x.vertex.reward == "team" or not items:
            rows[i] = team
        else:
            scale = 1.0 if x.vertex.reward == "sum" else 1.0 / len(items)
            rows[i] = tuple(sum(column) * scale for column in zip(*items))
    return rows


def _rewarding(nodes: Sequence[Instance], links: Sequence[Joint]) -> list[list[int]]:
    """Per vertex the subordinates that pass it a reward."""
    down: list[set[int]] = [set() for _ in nodes]
    for link in links:
        down[link.superior].add(link.subordinate)
    delayed = {k.subordinate for k in links if k.edge.delay}
    reach = {j: _descendants(j, down) for j in delayed}
    out: list[list[int]] = [[] for _ in nodes]
    for link in links:
        if link.edge.delay == 0 or link.superior not in reach[link.subordinate]:
            out[link.superior].append(link.subordinate)
    return out


def _descendants(start: int, down: Sequence[set[int]]) -> set[int]:
    found, todo = {start}, [start]
    while todo:
        new = down[todo.pop()] - found
        found |= new
        todo += new
    return found


def _reverse_order(count: int, passing: Sequence[Sequence[int]]) -> list[int]:
    """Subordinates before superiors."""
    waiting = [len(p) for p in passing]
    up: list[list[int]] = [[] for _ in range(count)]
    for i, below in enumerate(passing):
        for j in below:
            up[j].append(i)
    ready = [i for i, w in enumerate(waiting) if w == 0]
    for j in ready:  # grows while it is read
        for i in up[j]:
            waiting[i] -= 1
            if waiting[i] == 0:
                ready.append(i)
    return ready
