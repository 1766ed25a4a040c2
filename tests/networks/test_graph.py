"""Graphs worked out by hand: order, widths, messages, bits, hops, classes, rewards."""

import time

import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.networks.build import Network, continuous, discrete, learned, load_network, nominal_card
from rlnet_bench.networks.graph import Graph, Part, expand

SPREAD4 = "mpe/simple_spread-n4-discrete-v1"  # four agents that observe 24 numbers each, five actions


def names(graph: Graph, which) -> list[str]:
    return [graph.nodes[i].name for i in which]


def zoo(name: str, agents: int = 4) -> Graph:
    return expand(load_network(f"zoo/{name}"), nominal_card(agents))


def test_bridged_on_spread():
    graph = expand(load_network("zoo/bridged-3ppo"), task_card(SPREAD4))
    motors = [f"motor[{i}]" for i in range(4)]
    assert [names(graph, g) for g in graph.generations] == [["director"], ["manager[0]", "manager[1]"], motors]
    director, manager = graph.node("director"), graph.node("manager[1]")
    assert names(graph, director.subordinates) == ["manager[0]", "manager[1]", *motors]
    assert names(graph, manager.superiors) == ["director"]
    assert names(graph, manager.subordinates) == ["motor[2]", "motor[3]"] and manager.reach == (2, 3)
    assert director.input_width == 2 * 16 + 4 * 24  # the managers' learned messages, each observation once
    assert manager.input_width == 2 * 24 + 8
    assert graph.node("motor[0]").input_width == 24 + 8 + 8
    assert [p.source for p in graph.node("motor[0]").above] == [director.index, graph.node("manager[0]").index]
    # Up: the director reads every fifth step (two messages, four observations), the managers every step.
    assert graph.bits_up == pytest.approx(32 * ((2 * 16 + 4 * 24) / 5 + 4 * 24))
    assert graph.bits_down == pytest.approx(32 * (6 * 8 / 5 + 4 * 8))
    assert graph.hops == 4 and graph.execution_class == "C"
    assert graph.stacks() == ((0,), (1, 2), (3, 4, 5, 6))


def test_flat_motors_are_the_agents():
    graph = zoo("flat")
    assert graph.motors == (0, 1, 2, 3) and graph.stacks() == ((0, 1, 2, 3),)
    assert graph.nodes[2].below == (Part("observation", 2, 8),) and graph.nodes[2].above == ()
    assert (graph.bits_up, graph.bits_down, graph.hops) == (0, 0, 0)


def test_an_observation_is_read_once_however_many_paths_lead_to_it():
    graph = zoo("diamond")
    assert graph.node("left").message_width == graph.node("right").message_width == 32
    assert graph.node("director").input_width == 32
    assert [p.source for p in graph.node("director").below] == sorted(graph.motors)


@pytest.mark.parametrize(
    "name, expected",
    {
        "flat": "D0", "lead-critic": "D0", "noise-director": "D0", "shuffled-director": "D0", "leader-follower": "D1",
        "bayes-net": "D1", "tag-2ppo": "C", "messenger": "C", "hammer": "C", "consensus": "C", "frozen-director": "C",
        "action-graph": "C", "superior-advantage": "C", "cmat": "C", "learned-graph": "C",
        "control-features": "C", "control-noise": "D0", "control-shuffled": "D0",
        "control-constant": "D0", "control-self": "D0", "control-broadcast": "C",
    }.items(),
)  # fmt: skip
def test_execution_class_of_the_zoo(name, expected):
    assert zoo(name).execution_class == expected


def test_execution_class_by_hand():
    def build(action=None, edges=("boss -> motor",), **fields):
        net = Network("x").vertex("boss", **({"action": action} if action else {}), count=fields.pop("count", 1))
        net.motors("motor", **fields)
        for edge in edges:
            name, options = edge if isinstance(edge, tuple) else (edge, {})
            net.edge(*name.split(" -> "), **options)
        return expand(net.build(), nominal_card(4))

    assert build().execution_class == "C"
    halves = build(count=2, edges=[("boss -> motor", {"deal": "balanced"})])
    assert halves.execution_class == "D2"
    assert [k.observations for k in halves.information] == [(1,), (0,), (3,), (2,)]
    assert build(edges=[("boss -> motor", {"delay": 1})]).execution_class == "D2"
    assert build(edges=[("boss -> motor", {"delay": 1})]).information[0].past == (1, 2, 3)
    # Two sources that see half each make one motor see all.
    spec = Network("x").vertex("a").vertex("b").motors("motor")
    spec.edge("a", "motor", deal=[[0, 1]]).edge("b", "motor", deal=[[0, 2, 3]])
    assert expand(spec.build(), nominal_card(4)).execution_class == "C"
    assert expand(spec.build(), nominal_card(4)).information[1].observations == (0,)


def test_cutting_links_weakens_the_class():
    graph = zoo("bayes-net")
    assert [k.actions for k in graph.information] == [(), (0,), (0, 1), (0, 1, 2)]
    cut = graph.information_without([k.index for k in graph.links])
    assert all(k.actions == () and k.observations == () for k in cut)


def test_a_signal_from_a_motor_tells_its_observation_and_an_action_does_not():
    def pair(**fields):
        net = Network("x").motors("motor", message="none", **fields).edge("motor", "motor", deal="chain")
        return expand(net.build(), nominal_card(3))

    assert pair().execution_class == "D1"
    graph = pair(instruction=discrete(4))
    assert graph.execution_class == "C"  # the last one hears of everybody
    assert [k.observations for k in graph.information] == [(), (0,), (0, 1)]
    assert graph.bits_down == 2 * 2  # two edges, two bits each
    assert pair(instruction=continuous(3)).bits_down == 2 * 3 * 32
    assert pair().bits_down == 2 * 3  # one of five actions


def test_delays_age_and_the_freshest_copy_is_read():
    spec = (
        Network("x").vertex("top").vertex("mid").motors("motor")
        .edge("top", "mid", delay=2).edge("mid", "motor", delay=1).edge("top", "motor", deal=[[0]]).build()
    )  # fmt: skip
    graph = expand(spec, nominal_card(2))
    ages = {graph.nodes[p.source].agent: p.delay for p in graph.node("top").below}
    assert ages == {0: 0, 1: 3}
    assert [p.delay for p in graph.node("motor[1]").above] == [1]


def test_delayed_edges_may_close_cycles():
    spec = Network("x").vertex("boss").motors("motor").edge("boss", "motor").edge("motor", "motor", delay=1)
    spec.edge("motor", "boss", delay=1, carry="instructions")
    graph = expand(spec.build(), nominal_card(3))
    motor = graph.node("motor[1]")
    assert [(graph.nodes[p.source].agent, p.delay) for p in motor.below] == [(1, 0), (0, 1), (2, 1)]
    assert all(sum(n.reward) == pytest.approx(1) for n in graph.nodes)


def test_learned_and_mean_messages():
    spec = (
        Network("x").vertex("top").vertex("mid", message="mean").motors("motor", message=learned(3))
        .edge("top", "mid").edge("mid", "motor").build()
    )  # fmt: skip
    graph = expand(spec, nominal_card(3))
    mid = graph.node("mid")
    assert mid.message == (Part("mean", mid.index, 3),)
    assert mid.mean_of == tuple((Part("learned", m, 3),) for m in graph.motors)
    assert graph.node("top").below == (Part("mean", mid.index, 3),)


def test_each_subordinate_gets_its_own_slice():
    graph = zoo("messenger", 3)
    assert graph.node("messenger").heads == 3
    assert [graph.nodes[m].above[0].start for m in graph.motors] == [0, 8, 16]
    shared = zoo("tag-2ppo", 3)
    assert [shared.nodes[m].above[0].start for m in shared.motors] == [0, 0, 0]


def test_a_weight_of_zero_is_no_input():
    spec = Network("x").vertex("boss", message="none").motors("motor").edge("boss", "motor", weight=0).build()
    graph = expand(spec, nominal_card(3))
    assert all(graph.nodes[m].above == () for m in graph.motors)
    assert graph.execution_class == "D0" and graph.bits_down == 0


def test_places():
    def bits(**fields):
        spec = (
            Network("x").vertex("a", **fields).vertex("b", **fields).motors("motor").edge("a", "b").edge("b", "motor")
        )
        graph = expand(spec.build(), nominal_card(2))
        return graph.bits_up, graph.bits_down, graph.hops

    assert bits() == (32 * (16 + 16), 32 * (8 + 16), 4)
    assert bits(place={"site": "tower"}) == (32 * 16, 32 * 16, 2)
    assert bits(place="agent") == (32 * 8, 32 * 8, 2)  # both at agent 0, whose own motor is near
    assert bits(place={"agents": ["agent_1"]}) == bits(place="agent")
    graph = expand(
        Network("x").vertex("a", count=2, place="agent").motors("motor").edge("a", "motor", deal="balanced").build(),
        nominal_card(4),
    )
    assert [graph.node(f"a[{i}]").place for i in (0, 1)] == ["agent 0", "agent 3"]


def test_periods_that_do_not_divide_each_other():
    spec = (
        Network("x").vertex("a", period=2).vertex("b", period=3).vertex("relay", action="none").motors("motor")
        .edge("a", "relay").edge("b", "relay").edge("relay", "motor").edge("a", "motor", carry="instructions").build()
    )  # fmt: skip
    graph = expand(spec, nominal_card(1))
    link = next(k for k in graph.links if graph.nodes[k.superior].name == "relay")
    assert link.bits_up == pytest.approx(32 * 8 * 4 / 6)  # steps 0, 2, 3, 4 of every six


def test_rewards():
    spec = Network("x").vertex("top", reward="sum").vertex("mid", count=2).motors("motor")
    graph = expand(spec.edge("top", "mid").edge("mid", "motor").build(), nominal_card(2))
    assert graph.node("mid[0]").reward == (0.5, 0.5)
    assert graph.node("top").reward == (1.0, 1.0)
    spec = Network("x").vertex("top", reward="team").motors("motor").edge("top", "motor", deal=[[0]])
    assert expand(spec.build(), nominal_card(4)).node("top").reward == (0.25,) * 4


def test_different_agents():
    card = task_card("mpe/simple_speaker_listener-discrete-v1")
    graph = expand(load_network("zoo/flat"), card)
    assert graph.stacks() == ((0,), (1,)) and graph.stacks(padded=True) == ((0, 1),)
    spec = Network("x").motors("mover", "rest").motors("talker", ["speaker_0"]).build()
    assert names(expand(spec, card), expand(spec, card).motors) == ["talker[0]", "mover[0]"]


def test_symmetric_branches_keep_together():
    def sources(order):
        net = Network("x")
        for name in order:
            net.vertex(name)
        net.motors("motor").edge("a", "c").edge("b", "d").edge("c", "motor").edge("d", "motor")
        graph = expand(net.build(), nominal_card(2))
        return [(n.generation, n.superiors, n.subordinates, n.below) for n in graph.nodes]

    assert sources("abcd") == sources("abdc") == sources("bacd") == sources("dcab")


def test_unknown_vertex():
    with pytest.raises(BadInput, match="there is no vertex 'boss' on any task with 4 agents"):
        zoo("flat").node("boss")


def test_large_graphs_are_quick():
    spec = (
        Network("large").vertex("top").vertex("mid", count=180, message=learned(4))
        .vertex("low", count=180, message="mean")
        .motors("motor", message=learned(4)).edge("top", "mid").edge("mid", "low", deal="balanced")
        .edge("low", "motor").build()
    )  # fmt: skip
    begin = time.monotonic()
    graph = expand(spec, nominal_card(64))
    assert len(graph.nodes) == 425 and len(graph.links) == 180 + 180 + 180 * 64
    assert time.monotonic() - begin < 60
