"""A network as SVG: levels from top to bottom, one card per vertex, arrows from superiors to subordinates.

Neutral between light and dark pages (the drawing follows the reader's colour scheme on a clear background),
without fonts or scripts of its own, and byte-identical for equal graphs.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlnet_bench.errors import BadInput
from rlnet_bench.networks._edges import RAMP, clean, draw_edges, number, text
from rlnet_bench.networks._layout import CARD_HEIGHT, CARD_WIDTH, Layout, make_layout
from rlnet_bench.networks.graph import Graph, Node

MARGIN = 24.0
HEADER = 62.0
FOOTER = 38.0
LEAST_WIDTH = 560.0

_STYLE = """
.rn{--ink:#1f2933;--soft:#66717d;--line:#8a95a1;--card:#ffffff;--edge:#c3ccd5;--top:#4a6fa5;--motor:#2a8f7a;
--late:#b7791f;font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
@media(prefers-color-scheme:dark){.rn{--ink:#e6eaee;--soft:#a3adb8;--line:#7d8894;--card:#22282f;--edge:#46505b;
--top:#8fb0e0;--motor:#5cc4ae;--late:#e0ac58}}
.rn text{fill:var(--ink);font-size:12px}.rn .title{font-size:16px;font-weight:600}
.rn .name{font-size:13px;font-weight:600}.rn .soft{fill:var(--soft);font-size:10.5px}
.rn .badge{font-size:10px;font-weight:600;fill:var(--card)}.rn .pill{fill:var(--late)}
.rn .link{fill:none;stroke:var(--line);stroke-width:1.4}.rn .late{stroke:var(--late);stroke-dasharray:5 4}
.rn .loose{stroke-dasharray:1.5 3.5;stroke-linecap:round;stroke-width:1.8}.rn .idle{opacity:.45}
.rn .quiet{stroke-width:1;opacity:.75}.rn .card{fill:var(--card);stroke:var(--edge)}
.rn .tip{fill:var(--line)}.rn .tip-late{fill:var(--late)}.rn .of-motor{fill:var(--motor)}.rn .of-top{fill:var(--top)}
.rn .note{font-size:10px;fill:var(--late);font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:3px}
""".replace("\n", "")


def draw(graph: Graph, importance: Mapping[tuple[str, str], float] | None = None) -> str:
    """SVG text.

    Args:
        graph: from :func:`rlnet_bench.networks.graph.expand`.
        importance: a number per edge, keyed by the names of superior and subordinate (as in an ablation);
            colours and thickens the edges, and adds a scale. Edges that are not named stay as they are.

    Raises:
        BadInput: for an edge in ``importance`` that the graph does not have.
    """
    names = {(graph.nodes[k.superior].name, graph.nodes[k.subordinate].name): k.index for k in graph.links}
    for pair in importance or {}:
        if pair not in names:
            raise BadInput(f"network {graph.spec.name}: importance names the edge {pair[0]} -> {pair[1]}, "
                           "which the graph does not have.")  # fmt: skip
    weight = {names[pair]: float(value) for pair, value in (importance or {}).items()}
    layout = make_layout(graph)
    width = max(LEAST_WIDTH, layout.width + 2 * MARGIN)
    height = HEADER + layout.height + FOOTER + (22.0 if weight else 0.0)
    shift = (width - layout.width) / 2
    about = f"{len(graph.nodes)} vertices on {len(graph.generations)} levels, {len(graph.links)} edges"
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rn" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" role="img" aria-label="{clean(graph.spec.name)}">',
        f"<title>{clean(graph.spec.name)}</title><desc>{clean(about)} on {clean(graph.card.id)}.</desc>",
        f"<style>{_STYLE}</style>",
        *_header(graph),
        f'<g transform="translate({number(shift)} {number(HEADER)})">',
        *draw_edges(graph, layout, weight),
        *(_card(graph, node, layout) for node in graph.nodes),
        "</g>",
        *_footer(graph, HEADER + layout.height + 26.0, weight),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _header(graph: Graph) -> list[str]:
    cost = (
        f"class {graph.execution_class} · {_bits(graph.bits_up)} bits up and {_bits(graph.bits_down)} down per step · "
        f"{graph.hops} hop{'s' * (graph.hops != 1)}"
    )
    return [
        text(MARGIN, 24, graph.spec.name, "title", "start"),
        text(MARGIN, 42, f"{_short(graph.card.id, 48)} · {cost}", "soft", "start"),
    ]


def _bits(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0").replace(",", "\u00a0")


def _short(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"


def _card(graph: Graph, node: Node, layout: Layout) -> str:
    x, y = layout.x[node.index], layout.y[node.index]
    left, top = x - CARD_WIDTH / 2, y - CARD_HEIGHT / 2
    lines = [_reads(node), _gives(graph, node), _place(graph, node)]
    lines = [line for line in lines if line]
    start = top + 37 + 7.5 * (3 - len(lines))
    out = [
        f"<g><title>{clean(_about(node))}</title>",
        f'<rect class="card" x="{number(left)}" y="{number(top)}" width="{number(CARD_WIDTH)}" '
        f'height="{number(CARD_HEIGHT)}" rx="10"/>',
        f'<rect class="of-{"motor" if node.is_motor else "top"}" x="{number(left + 10)}" y="{number(top)}" '
        f'width="{number(CARD_WIDTH - 20)}" height="3" rx="1.5"/>',
        text(x, start - 16, _short(node.name, 19), "name"),
        *(text(x, start + 14.5 * k, line, "soft") for k, line in enumerate(lines)),
    ]
    right = left + CARD_WIDTH - 8
    for badge in (_period(node), _learner(node)):
        if badge:
            wide = 13.0 + 5.9 * len(badge)
            out.append(
                f'<rect class="pill" x="{number(right - wide)}" y="{number(top - 8)}" width="{number(wide)}" '
                f'height="16" rx="8"/>'
            )
            out.append(text(right - wide / 2, top + 3.6, badge, "badge"))
            right -= wide + 5
    return "".join(out) + "</g>"


def _reads(node: Node) -> str:
    told, heard = sum(p.width for p in node.above), sum(p.width for p in node.below)
    own = node.below[0].width if node.is_motor else 0
    parts = [f"sees {own}"] if own else []
    parts += [f"hears {heard - own}"] if heard > own else []
    parts += [f"told {told}"] if told else []
    return " · ".join(parts)


def _gives(graph: Graph, node: Node) -> str:
    sends = node.vertex.sends
    parts = []
    if node.heads:
        kind = {"discrete": "1 of ", "action": "action "}.get(sends.kind, "")
        unit = " bits" if sends.kind == "bits" else ""
        parts.append(f"↓ {kind}{node.instruction}{unit}{' each' if sends.per_subordinate else ''}")
    if any(k.subordinate == node.index and k.up for k in graph.links):
        parts.append(f"↑ {node.vertex.message.kind} {node.message_width}")
    return " · ".join(parts) or (f"judges ({node.vertex.critic})" if sends.kind == "none" else "")


def _period(node: Node) -> str:
    return f"every {node.vertex.period}" if node.vertex.period > 1 else ""


def _learner(node: Node) -> str:
    vertex = node.vertex
    if not vertex.kind.trains:
        return _short(vertex.learner.removeprefix("method:"), 14)
    return "shuffled" if vertex.evaluation == "shuffled" else ""


def _place(graph: Graph, node: Node) -> str:
    if node.place.startswith("agent "):
        return "at " + _short(graph.card.agents[int(node.place.removeprefix("agent "))], 20)
    return "at " + _short(node.place, 20) if node.place.startswith("site ") else ""


def _about(node: Node) -> str:
    v = node.vertex
    return (
        f"{node.name}: reads {node.input_width}; message {v.message.kind} {node.message_width}; period {v.period}; "
        f"learner {v.learner}; critic {v.critic}; gradient {v.gradient}; reward {v.reward}; {node.place}"
    )


def _footer(graph: Graph, y: float, weight: Mapping[int, float]) -> list[str]:
    says = {
        "no edges: nobody tells anybody anything": not graph.links,
        "arrow: instruction down": any(k.down for k in graph.links),
        "dot: message up": any(k.up for k in graph.links),
        "faint: only while training": any(not k.down and not k.up for k in graph.links),
        "dotted: learned weight": any(isinstance(k.edge.weight, str) for k in graph.links),
        "dashed: delayed": any(k.edge.delay for k in graph.links),
    }
    out = [text(MARGIN, y, " · ".join(note for note, holds in says.items() if holds), "soft", "start")]
    if weight:
        y += 20
        low, high = (f"{value:.3g}" for value in (min(weight.values()), max(weight.values())))
        start = MARGIN + 20 + 5.6 * len(f"importance {low}")
        out.append(text(MARGIN, y, f"importance {low}", "soft", "start"))
        for k, colour in enumerate(RAMP):
            x = number(start + 16 * k)
            out.append(f'<rect x="{x}" y="{number(y - 9)}" width="16" height="9" fill="{colour}"/>')
        out.append(text(start + 16 * len(RAMP) + 8, y, high, "soft", "start"))
    return out
