"""What holds for every graph, on random ones of up to 60 vertices."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlnet_bench.networks.build import Network, continuous, learned, nominal_card
from rlnet_bench.networks.draw import draw as draw_svg
from rlnet_bench.networks.graph import Graph, expand
from rlnet_bench.networks.spec import NetworkSpec

OBSERVATION = 8
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Plan:
    """A random DAG: vertices in a hidden topological order, the last of them motors; plain data."""

    def __init__(self, agents, fields, edges):
        self.agents, self.fields, self.edges = agents, fields, edges
        self.size = len(fields)

    def build(self, names=None, order=None, edge_order=None) -> NetworkSpec:
        names = names or [f"v{i}" for i in range(self.size)]
        net = Network("random")
        for i in order or range(self.size):
            agent = i - (self.size - self.agents)
            if agent >= 0:
                net.motors(names[i], [agent], **self.fields[i])
            else:
                net.vertex(names[i], **self.fields[i])
        for k in edge_order or range(len(self.edges)):
            i, j, options = self.edges[k]
            net.edge(names[i], names[j], **options)
        return net.build()

    def graph(self, **options) -> Graph:
        return expand(self.build(**options), nominal_card(self.agents, OBSERVATION))


@st.composite
def plans(draw, identity=False, delays=True):
    agents = draw(st.integers(1, 6))
    uppers = draw(st.integers(0, 60 - agents))
    size = agents + uppers
    random = draw(st.randoms(use_true_random=False))
    density = draw(st.floats(0.0, 0.3))
    fields: list[dict] = []
    for i in range(size):
        own: dict = {} if identity else {"message": random.choice(["identity", "identity", learned(3)])}
        if i < uppers and not identity:
            own |= {"action": continuous(random.choice([1, 8])), "period": random.choice([1, 2, 5])}
        fields.append(own)
    pairs = {(i, random.randrange(i + 1, size)) for i in range(uppers)}
    pairs |= {(i, j) for i in range(size) for j in range(i + 1, size) if random.random() < density}
    edges = []
    for i, j in sorted(pairs):
        late = delays and not identity and random.random() < 0.1
        edges.append((i, j, {"delay": random.randrange(1, 4)} if late else {}))
    return Plan(agents, fields, edges)


@quick
@given(plans())
def test_order_is_topological_and_generations_are_levels(plan):
    graph = plan.graph()
    assert [n.index for n in graph.nodes] == list(range(plan.size))
    assert [n.generation for n in graph.nodes] == sorted(n.generation for n in graph.nodes)
    assert [i for g in graph.generations for i in g] == list(range(plan.size))
    for link in graph.links:
        if link.edge.delay == 0:
            assert graph.nodes[link.superior].generation < graph.nodes[link.subordinate].generation
            assert link.superior < link.subordinate
    for node in graph.nodes:
        assert node.superiors == tuple(sorted(k.superior for k in graph.links if k.subordinate == node.index))
        assert node.subordinates == tuple(sorted(k.subordinate for k in graph.links if k.superior == node.index))
        assert all(p.source < node.index for p in node.above if p.delay == 0)
        assert all(p.source >= node.index for p in node.below if p.delay == 0)
    assert sorted(i for s in graph.stacks() for i in s) == list(range(plan.size))


def numbers(graph: Graph):
    """Everything about a graph but names and lines."""
    return (
        [(n.index, n.agent, n.generation, n.superiors, n.subordinates, n.reach, n.below, n.above, n.message, n.reward,
          n.instruction, n.heads) for n in graph.nodes],
        [(k.superior, k.subordinate, k.down, k.up, k.bits_up, k.bits_down, k.edge.delay) for k in graph.links],
        graph.hops, graph.execution_class, graph.stacks(),
    )  # fmt: skip


@quick
@given(plans(), st.randoms(use_true_random=False))
def test_renaming_and_reordering_change_nothing(plan, random):
    names = [f"{random.choice('abcXYZ')}{k}" for k in random.sample(range(1000), plan.size)]
    order, edge_order = list(range(plan.size)), list(range(len(plan.edges)))
    random.shuffle(order)
    random.shuffle(edge_order)
    plain = numbers(plan.graph())
    assert numbers(plan.graph(names=names)) == plain
    assert numbers(plan.graph(order=order, edge_order=edge_order)) == plain
    assert numbers(plan.graph(names=names, order=order, edge_order=edge_order)) == plain


@quick
@given(plans(identity=True))
def test_identity_width_is_one_observation_per_reachable_motor(plan):
    graph = plan.graph()
    for node in graph.nodes:
        assert node.message_width == len(node.reach) * OBSERVATION
        agents = [graph.nodes[p.source].agent for p in node.message]
        assert set(agents) == set(node.reach) and len(set(agents)) == len(agents)
        assert [p.source for p in node.message] == sorted(
            (p.source for p in node.message), key=lambda s: (s != node.index, s)
        )


@quick
@given(plans())
def test_a_shared_reward_reaches_every_vertex_once(plan):
    for node in plan.graph().nodes:
        assert sum(node.reward) == pytest.approx(1.0)
        assert all(w >= 0 for w in node.reward)


@quick
@given(plans())
def test_instructions_arrive_once_per_superior(plan):
    graph = plan.graph()
    for node in graph.nodes:
        assert [p.source for p in node.above] == list(node.superiors)
    assert Counter(p.link for n in graph.nodes for p in n.above) == Counter(range(len(graph.links)))


@quick
@given(plans())
def test_round_trip(plan):
    spec = plan.build()
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec == NetworkSpec.from_json(spec.to_json())


@settings(quick, max_examples=15)
@given(plans())
def test_every_graph_can_be_drawn(plan):
    graph = plan.graph()
    assert draw_svg(graph) == draw_svg(plan.graph())


def information_by_search(graph: Graph, agent: int) -> set[int]:
    """Whose same-step observations reach an agent's action, by walking every path backwards."""
    up = [(k.subordinate, k.superior) for k in graph.links if k.edge.delay == 0]
    sees = {graph.motors[agent]: None}
    todo = [("act", graph.motors[agent])]
    seen = set(todo)
    while todo:
        kind, v = todo.pop()
        new = [("see", v)] if kind == "act" else [("see", sub) for sub, sup in up if sup == v]
        if kind == "act":
            # A motor passes its sampled action, which tells nothing but itself.
            new += [("act", sup) for sub, sup in up if sub == v and graph.nodes[sup].agent is None]
        for step in new:
            if step not in seen:
                seen.add(step)
                todo.append(step)
    assert sees
    return {graph.nodes[v].agent for kind, v in seen if kind == "see" and graph.nodes[v].agent is not None}


@quick
@given(plans())
def test_information_agrees_with_a_search_over_paths(plan):
    graph = plan.graph()
    for known in graph.information:
        assert {known.agent, *known.observations} == information_by_search(graph, known.agent)
