"""Drawings: well-formed, deterministic, complete, with nothing hidden under a vertex."""

import re
import xml.etree.ElementTree as ET

import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.networks._layout import CARD_HEIGHT, CARD_WIDTH, LANE_WIDTH, make_layout
from rlnet_bench.networks.build import Network, discrete, learned, load_network, nominal_card, zoo_ids
from rlnet_bench.networks.draw import draw
from rlnet_bench.networks.graph import Graph, expand

SVG = "{http://www.w3.org/2000/svg}"


def graph_of(name: str, agents: int = 4) -> Graph:
    return expand(load_network(name), nominal_card(agents))


def texts(svg: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(svg).iter(SVG + "text")]


@pytest.mark.parametrize("name", zoo_ids())
def test_zoo_drawings(name):
    graph = graph_of(name)
    svg = draw(graph)
    root = ET.fromstring(svg)
    assert draw(graph_of(name)) == svg
    shown = texts(svg)
    assert graph.spec.name in shown
    for node in graph.nodes:
        assert node.name in shown
    links = [e for e in root.iter(SVG + "path") if "link" in e.get("class", "")]
    assert len(links) == len(graph.links)
    tips = [e for e in root.iter(SVG + "path") if "tip" in e.get("class", "")]
    assert len(tips) == sum(k.down > 0 for k in graph.links)
    dots = list(root.iter(SVG + "circle"))
    assert len(dots) == sum(k.up > 0 for k in graph.links)
    assert not re.search(r"(href|src|url\(|<script|@import)", svg)  # nothing is loaded from anywhere
    assert not re.search(r"nan|inf\b", svg, re.IGNORECASE)


@pytest.mark.parametrize("name", zoo_ids())
@pytest.mark.parametrize("agents", [2, 5, 12])
def test_cards_do_not_overlap_and_skip_edges_keep_clear(name, agents):
    graph = graph_of(name, agents)
    layout = make_layout(graph)
    for a in graph.nodes:
        for b in graph.nodes[: a.index]:
            apart_x = abs(layout.x[a.index] - layout.x[b.index]) >= CARD_WIDTH
            apart_y = abs(layout.y[a.index] - layout.y[b.index]) >= CARD_HEIGHT
            assert apart_x or apart_y
    for link in graph.links:
        skipped = abs(graph.nodes[link.superior].generation - graph.nodes[link.subordinate].generation) - 1
        assert len(layout.lanes[link.index]) == max(0, skipped)
        for x, y in layout.lanes[link.index]:
            for node in graph.nodes:
                if layout.y[node.index] == pytest.approx(y):
                    assert abs(layout.x[node.index] - x) >= (CARD_WIDTH + LANE_WIDTH) / 2
    assert min(layout.x) >= CARD_WIDTH / 2 - 1e-6 and max(layout.x) <= layout.width - CARD_WIDTH / 2 + 1e-6


def test_what_a_card_says():
    spec = (
        Network("labels")
        .vertex("boss", period=5, learner="frozen")
        .vertex("scout", action=discrete(4), place={"site": "tower"}, evaluation="shuffled")
        .motors("motor", message=learned(6))
        .edge("boss", "scout", delay=2)
        .edge("scout", "motor", weight="learned")
        .edge("motor", "motor", delay=1)
    )
    shown = texts(draw(expand(spec.build(), nominal_card(3))))
    for words in ("every 5", "frozen", "shuffled", "at site tower", "at agent_2", "delay 2", "delay 1", "↓ 8",
                  "↓ 1 of 4 · ↑ identity 18", "↓ action 5 · ↑ learned 6"):  # fmt: skip
        assert words in shown, words
    assert any("dashed: delayed" in words and "dotted: learned weight" in words for words in shown)


def test_names_are_escaped():
    graph = graph_of("zoo/flat", 2)
    object.__setattr__(graph.card, "id", '<script>alert("x")</script>\x00&')
    svg = draw(graph)
    ET.fromstring(svg)
    assert "<script" not in svg and "\x00" not in svg


def test_importance_colours_edges():
    graph = graph_of("zoo/tag-2ppo", 3)
    plain = draw(graph)
    svg = draw(graph, {("director", "motor[0]"): 0.5, ("director", "motor[2]"): -0.25})
    assert svg.count("stroke:#") == 2 and "stroke:#" not in plain
    assert "importance 0.5" in svg and "importance -0.25" in svg
    assert draw(graph, {("director", "motor[0]"): 1.0}).count("stroke:#") == 1
    with pytest.raises(BadInput, match=r"importance names the edge boss -> motor\[0\]"):
        draw(graph, {("boss", "motor[0]"): 1.0})
