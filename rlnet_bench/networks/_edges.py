"""The edges of a drawing: curves around the cards, tips for instructions, dots for messages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from rlnet_bench.networks._layout import CARD_HEIGHT, CARD_WIDTH, Layout
from rlnet_bench.networks.graph import Graph, Link

RAMP = ("#9aa3ad", "#8d93b8", "#7c7fc4", "#8a5fc0", "#b0459f", "#d63a6a", "#e8483a")  # unimportant to important
_TIP = 7.0  # how far before its end a curve stops, to leave room for the tip

Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def clean(words: str) -> str:
    """Words of others as XML text."""
    return escape("".join(c for c in words if c.isprintable()), quote=True)


def text(x: float, y: float, words: str, css: str = "", anchor: str = "middle") -> str:
    """A text element."""
    css = f' class="{css}"' if css else ""
    anchor = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{number(x)}" y="{number(y)}"{css}{anchor}>{clean(words)}</text>'


def draw_edges(graph: Graph, layout: Layout, weight: Mapping[int, float]) -> list[str]:
    """Elements of all edges, then their labels; ``weight`` is an importance per link."""
    low, high = (min(weight.values()), max(weight.values())) if weight else (0.0, 0.0)
    ports = _ports(graph, layout)
    lines: list[str] = []
    notes: dict[int, str] = {}  # declaration -> its label, once
    # Important edges last, so that they lie on top.
    for link in sorted(graph.links, key=lambda k: (weight.get(k.index, low), k.index)):
        points = [ports[link.index, "a"], *layout.lanes[link.index], ports[link.index, "b"]]
        css = "link"
        css += " late" if link.edge.delay else " loose" if isinstance(link.edge.weight, str) else ""
        css += "" if link.down else " quiet" if link.up else " idle"
        late, style, fill = ("-late" if link.edge.delay else ""), "", ""
        if link.index in weight:
            share = (weight[link.index] - low) / (high - low) if high > low else 1.0
            colour = RAMP[min(len(RAMP) - 1, int(share * len(RAMP)))]
            style = f' style="stroke:{colour};stroke-width:{number(1.2 + 2.6 * share)}"'
            fill = f' style="fill:{colour}"'
        path, tip = _path(graph, link, points)
        ends = f'<path class="tip{late}" d="{tip}"{fill}/>' if link.down else ""
        if link.up:
            x, y = points[0]
            y += 4 * (_step(graph, link) or -1)
            ends += f'<circle class="tip{late}" cx="{number(x)}" cy="{number(y)}" r="3"{fill}/>'
        about = clean(_about(graph, link, weight))
        lines.append(f'<g><title>{about}</title><path class="{css}" d="{path}"{style}/>{ends}</g>')
        if link.edge.delay and id(link.edge) not in notes:
            x, y = _middle(points, _step(graph, link))
            notes[id(link.edge)] = text(x, y, f"delay {link.edge.delay}", "note")
    return [*lines, *notes.values()]


def _step(graph: Graph, link: Link) -> int:
    """1 for an edge that goes down the page, -1 up, 0 sideways."""
    a, b = graph.nodes[link.superior].generation, graph.nodes[link.subordinate].generation
    return (b > a) - (b < a)


def _ports(graph: Graph, layout: Layout) -> dict[tuple[int, str], Point]:
    """Where edges touch cards: spread along the side, in the order of where they go."""
    sides: dict[tuple[int, bool], list[tuple[float, int, str]]] = {}
    for link in graph.links:
        step, lanes = _step(graph, link), layout.lanes[link.index]
        for end, node, other, near in (
            ("a", link.superior, link.subordinate, lanes[:1]),
            ("b", link.subordinate, link.superior, lanes[-1:]),
        ):
            at_top = step == 0 or (step == 1) == (end == "b")
            aim = near[0][0] if near else layout.x[other]
            sides.setdefault((node, at_top), []).append((aim, link.index, end))
    out = {}
    for (node, at_top), ends in sides.items():
        ends.sort()
        room = min(CARD_WIDTH * 0.62, 22.0 * (len(ends) - 1))
        for k, (_, index, end) in enumerate(ends):
            x = layout.x[node] + (k / (len(ends) - 1) - 0.5) * room if len(ends) > 1 else layout.x[node]
            out[index, end] = (x, layout.y[node] + (-1 if at_top else 1) * CARD_HEIGHT / 2)
    return out


def _path(graph: Graph, link: Link, points: list[Point]) -> tuple[str, str]:
    """The curve, and the triangle of its tip."""
    step, short = _step(graph, link), _TIP if link.down else 0.0
    (x0, y0), (x1, y1) = points[0], points[-1]
    out = f"M{number(x0)} {number(y0)}"
    if step == 0:  # an arc above the level
        return out + _bow((x0, y0), (x1, y1 - short), -_rise(x1 - x0), -_rise(x1 - x0)), _tip(x1, y1, 1)
    stops = [(x0, y0)]
    for x, y in points[1:-1]:  # straight past the cards of a level
        stops += [(x, y - step * CARD_HEIGHT / 2), (x, y + step * CARD_HEIGHT / 2)]
    stops.append((x1, y1 - step * short))
    for k, (start, end) in enumerate(zip(stops, stops[1:])):
        bend = (end[1] - start[1]) * 0.5
        out += f"L{number(end[0])} {number(end[1])}" if k % 2 else _bow(start, end, bend, -bend)
    return out, _tip(x1, y1, step)


def _bow(start: Point, end: Point, leave: float, arrive: float) -> str:
    """A cubic that leaves and arrives vertically."""
    (xa, ya), (xb, yb) = start, end
    return f"C{number(xa)} {number(ya + leave)} {number(xb)} {number(yb + arrive)} {number(xb)} {number(yb)}"


def _rise(sideways: float) -> float:
    return min(52.0, 20.0 + 0.06 * abs(sideways))


def _tip(x: float, y: float, step: int) -> str:
    back = y - step * 8
    return f"M{number(x)} {number(y)}L{number(x - 4)} {number(back)}L{number(x + 4)} {number(back)}Z"


def _middle(points: list[Point], step: int) -> Point:
    (x0, y0), (x1, y1) = points[0], points[1]
    if step == 0:
        return x0 + (x1 - x0) * 0.3, min(y0, y1) - 0.63 * _rise(x1 - x0) - 4
    return (x0 + x1) / 2, (y0 + y1) / 2


def _about(graph: Graph, link: Link, weight: Mapping[int, float]) -> str:
    parts = [f"{graph.nodes[link.superior].name} → {graph.nodes[link.subordinate].name}"]
    parts += [f"instruction {link.down}"] if link.down else []
    parts += [f"message {link.up}"] if link.up else []
    parts += [f"delay {link.edge.delay}"] if link.edge.delay else []
    parts += [f"weight {link.edge.weight}"] if link.edge.weight != 1.0 else []
    parts += [f"importance {weight[link.index]:.4g}"] if link.index in weight else []
    return "; ".join(parts)
