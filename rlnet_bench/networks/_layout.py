"""Where vertices and edges go in a drawing: levels from top to bottom, few crossings, edges around vertices.

The layered method of Sugiyama: an edge that skips levels gets a stand-in on each level that it passes, so
that it keeps clear of the vertices there; levels are ordered by the mean position of their neighbours; then
every item moves as near to its neighbours as its place in the row allows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass

from rlnet_bench.networks.graph import Graph, Link

CARD_WIDTH, CARD_HEIGHT = 148.0, 74.0
LANE_WIDTH = 26.0  # of a stand-in
GAP = 22.0
ORDER_SWEEPS, MOVE_SWEEPS = 12, 24


@dataclass(frozen=True)
class Layout:
    """Centres of vertices, the points that each edge passes, and the size of the whole."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    lanes: dict[int, tuple[tuple[float, float], ...]]  # link -> (x, y) of its stand-ins, superior's end first
    width: float
    height: float


class _Item:
    """A vertex, or a stand-in of an edge on one level."""

    def __init__(self, level: int, width: float, agent: int | None = None) -> None:
        self.level, self.width, self.agent = level, width, agent
        self.up: list[_Item] = []
        self.down: list[_Item] = []
        self.x = 0.0


def make_layout(graph: Graph) -> Layout:
    """Positions for every vertex and edge; a pure function of the graph."""
    items = [_Item(n.generation, CARD_WIDTH, n.agent) for n in graph.nodes]
    lanes: dict[int, list[_Item]] = {}
    rows: list[list[_Item]] = [[] for _ in graph.generations]
    for item in items:
        rows[item.level].append(item)
    for link in graph.links:
        lanes[link.index] = _thread(link, items, rows)
    _order(rows)
    _move(rows)
    left = min(i.x - i.width / 2 for row in rows for i in row)
    right = max(i.x + i.width / 2 for row in rows for i in row)
    tops = _row_positions(graph, rows)
    place = {id(i): (i.x - left, tops[i.level]) for row in rows for i in row}
    return Layout(
        tuple(place[id(i)][0] for i in items),
        tuple(place[id(i)][1] for i in items),
        {k: tuple(place[id(i)] for i in chain) for k, chain in lanes.items()},
        right - left,
        tops[-1] + CARD_HEIGHT / 2,
    )


def _thread(link: Link, items: list[_Item], rows: list[list[_Item]]) -> list[_Item]:
    """Stand-ins of a link on the levels between its ends."""
    a, b = items[link.superior], items[link.subordinate]
    if a.level == b.level:
        return []
    upper, lower = (a, b) if a.level < b.level else (b, a)
    chain = [_Item(level, LANE_WIDTH) for level in range(upper.level + 1, lower.level)]
    for item in chain:
        rows[item.level].append(item)
    for above, below in zip([upper, *chain], [*chain, lower]):
        above.down.append(below)
        below.up.append(above)
    return chain if upper is a else chain[::-1]


def _order(rows: list[list[_Item]]) -> None:
    """Order every row by the mean position of its neighbours; keep the order with the fewest crossings."""
    for row in rows:
        for k, item in enumerate(row):
            item.x = float(k)
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(ORDER_SWEEPS):
        downward = sweep % 2 == 0
        for row in rows if downward else rows[::-1]:
            key = {}
            for item in row:
                near = item.up if downward else item.down
                key[id(item)] = sum(n.x for n in near) / len(near) if near else item.x
            row.sort(key=lambda item: key[id(item)])
            for k, item in enumerate(row):
                item.x = k - (len(row) - 1) / 2
        count = _crossings(rows)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
        if fewest == 0:
            break
    for row, kept in zip(rows, best):
        row[:] = kept


def _crossings(rows: list[list[_Item]]) -> int:
    """Pairs of edge segments between neighbouring levels that cross."""
    total = 0
    for row in rows[:-1]:
        at = {id(item): k for other in rows for k, item in enumerate(other)}
        ends = [at[id(d)] for item in row for d in sorted(item.down, key=lambda d: at[id(d)])]
        seen: list[int] = []
        for end in ends:
            total += len(seen) - bisect_right(seen, end)
            insort(seen, end)
    return total


def _move(rows: list[list[_Item]]) -> None:
    """Move every item towards the mean of its neighbours, without overlaps."""
    for row in rows:
        _settle(row, [0.0] * len(row))
    for sweep in range(MOVE_SWEEPS):
        downward = sweep % 2 == 0
        for row in rows if downward else rows[::-1]:
            wanted = []
            for item in row:
                near = item.up if downward else item.down
                near = near or (item.down if downward else item.up)
                wanted.append(sum(n.x for n in near) / len(near) if near else item.x)
            _settle(row, wanted)


def _settle(row: list[_Item], wanted: list[float]) -> None:
    """The least-squares positions in the given order with the gaps kept (pool adjacent violators)."""
    offset, at = [0.0], 0.0
    for left, right in zip(row, row[1:]):
        at += (left.width + right.width) / 2 + GAP
        offset.append(at)
    blocks: list[tuple[float, int]] = []  # (mean, count) of wanted - offset
    for want, shift in zip(wanted, offset):
        mean, count = want - shift, 1
        while blocks and blocks[-1][0] > mean:
            m, c = blocks.pop()
            mean, count = (m * c + mean * count) / (c + count), c + count
        blocks.append((mean, count))
    k = 0
    for mean, count in blocks:
        for _ in range(count):
            row[k].x = mean + offset[k]
            k += 1


def _row_positions(graph: Graph, rows: list[list[_Item]]) -> list[float]:
    """Centres of the levels: more air where edges run far sideways or within a level."""
    tops = [CARD_HEIGHT / 2]
    inside = {graph.nodes[k.superior].generation for k in graph.links if k.edge.delay
              and graph.nodes[k.superior].generation == graph.nodes[k.subordinate].generation}  # fmt: skip
    if 0 in inside:
        tops[0] += 46.0
    for level, above in enumerate(rows[:-1], 1):
        reach = max((abs(a.x - b.x) for a in above for b in a.down), default=0.0)
        air = min(150.0, 64.0 + 0.1 * reach) + (46.0 if level in inside else 0.0)
        tops.append(tops[-1] + CARD_HEIGHT + air)
    return tops
