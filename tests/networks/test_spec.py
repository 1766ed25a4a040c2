"""The language: YAML, Python and JSON give the same specification, and the zoo is written in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.networks.build import Network, continuous, discrete, learned, load_network, nominal_card, zoo_ids
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.spec import Edge, Message, NetworkSpec, Place, Sends, Vertex

BRIDGED = """
name: bridged-3ppo
vertices:
  director: {action: {continuous: 8}, period: 5, message: identity}
  manager:  {count: 2, action: {continuous: 8}, message: {learned: 16}}
  motor:    {per_agent: true}
edges:
  - director -> manager
  - manager -> motor: {deal: balanced}      # or all-to-all (default), or explicit lists
  - director -> motor                       # the bridge: a skip edge
defaults: {learner: ppo, hidden: [64, 64], gradient: stop, reward: mean}
"""

ZOO = {
    "flat", "tag-2ppo", "tag-3ppo", "tag-3ppo-comm", "tag-mappo-ppo", "tag-2mappo-ppo", "tag-mixed", "bridged-3ppo",
    "multi-parent", "diamond", "messenger", "hammer", "leader-follower", "bayes-net", "consensus", "lead-critic",
    "action-graph", "noise-director", "frozen-director", "shuffled-director", "control-features", "control-noise",
    "control-shuffled", "superior-advantage", "control-constant", "control-self", "control-broadcast", "cmat",
    "learned-graph",
}  # fmt: skip


def test_yaml_and_builder_agree():
    built = (
        Network("bridged-3ppo", hidden=[64, 64])
        .vertex("director", action=continuous(8), period=5)
        .vertex("manager", count=2, action=continuous(8), message=learned(16))
        .motors("motor")
        .edge("director", "manager")
        .edge("manager", "motor", deal="balanced")
        .edge("director", "motor")
        .build()
    )
    written = NetworkSpec.from_yaml(BRIDGED)
    assert built == written
    assert hash(built) == hash(written) and built.digest() == written.digest()
    assert written.vertex("manager") == Vertex("manager", count=2, message=Message("learned", 16))
    assert written.edges[1] == Edge("manager", "motor", deal="balanced")


def test_every_field_is_read():
    spec = NetworkSpec.from_yaml("""
name: all-fields
description: "every field once: yes"
defaults: {hidden: [], memory: gru, period: 3, learner: frozen, action: {discrete: 4}}
vertices:
  top: {count: agents, place: agent}
  mid: {count: 2, action: {continuous: 3, per_subordinate: true}, place: {site: base}, period: 1, learner: "method:iql",
        message: mean, critic: global, reward: team, evaluation: shuffled}
  low: {action: none, message: mean, place: {agents: [agent_1]}, learner: ppo, critic: subtree}
  first: {per_agent: [0], group: g, instruction: {discrete: 2}, message: {learned: 4}, reward: difference}
  others: {per_agent: rest, advantage: superiors, message: {learned: 4}, gradient: through, memory: none}
edges:
  - top -> mid
  - mid -> low
  - low -> first: {weight: 0.5, delay: 2}
  - mid -> others: {carry: messages}
  - low -> others
  - first -> others: {weight: sparse, carry: instructions, deal: [[1, 0]]}
""")
    top, mid, low, first, others = spec.vertices
    assert top.count == "agents" and top.place == Place("agent") and top.sends == Sends("discrete", 4)
    assert top.period == 3 and top.learner == "frozen" and top.hidden == () and top.memory == "gru"
    assert mid.sends == Sends("continuous", 3, True) and mid.place == Place("site", site="base")
    assert mid.learner == "method:iql" and mid.evaluation == "shuffled" and mid.reward == "team"
    assert low.sends == Sends("none") and low.place == Place("agents", ("agent_1",))
    assert first.agents == (0,) and first.group == "g" and first.sends == Sends("discrete", 2)
    assert first.period == 1 and first.learner == "ppo"  # defaults for the vertices above
    assert others.agents == "rest" and others.gradient == "through" and others.advantage == "superiors"
    assert spec.edges[2].weight == 0.5 and spec.edges[2].delay == 2
    assert spec.edges[5].deal == ((1, 0),) and spec.edges[5].weight == "sparse"
    assert round_trip(spec) == spec
    expand(spec, nominal_card(3))


def round_trip(spec: NetworkSpec) -> NetworkSpec:
    shuffled = json.loads(json.dumps(spec.to_json(), sort_keys=True))  # stores sort keys
    assert NetworkSpec.from_json(shuffled) == spec
    return NetworkSpec.from_yaml(spec.to_yaml())


NAMES = st.text(st.sampled_from("abcxyzéλN0123_-."), min_size=1, max_size=12).filter(lambda s: s[0].isalpha())
TRICKY = st.sampled_from(["yes", "no", "null", "on", "true", "e1", "NaN"])


@st.composite
def networks(draw):
    names = draw(st.lists(st.one_of(NAMES, TRICKY), min_size=2, max_size=6, unique=True))
    words = st.text(st.sampled_from("aZ 0:#'\"{}[]&*!|>%@-\\\n\t\x85\u2028\ufeff🙂é"), max_size=40)
    out = Network(draw(st.one_of(NAMES, TRICKY)), draw(words))
    widths = st.integers(1, 65_536)
    shared = {
        "message": st.one_of(st.just("identity"), st.builds(learned, st.integers(1, 64))),
        "critic": st.sampled_from(["local", "subtree", "global"]),
        "hidden": st.lists(st.integers(1, 4096), max_size=8),
        "reward": st.sampled_from(["mean", "sum", "team", "difference"]),
        "memory": st.sampled_from(["none", "gru"]),
        "advantage": st.sampled_from(["own", "superiors"]),
    }
    upper = {
        **shared,
        "count": st.one_of(st.integers(1, 4), st.just("agents")),
        "action": st.one_of(
            st.builds(continuous, widths, per_subordinate=st.booleans()), st.builds(discrete, st.integers(2, 65_536))
        ),
        "period": st.integers(1, 10_000),
        "learner": st.sampled_from(["ppo", "noise", "frozen", "method:iql"]),
        "evaluation": st.sampled_from(["own", "shuffled"]),
        "place": st.sampled_from(["external", "agent", {"site": "base"}]),
    }
    for name in names[:-1]:
        out.vertex(name, **draw(st.fixed_dictionaries({}, optional=upper)))
    out.motors(names[-1], **draw(st.fixed_dictionaries({}, optional=shared)))
    options = {
        "delay": st.integers(0, 1000),
        "weight": st.one_of(st.sampled_from(["fixed", "learned", "sparse"]), st.floats(-1e6, 1e6)),
        "deal": st.sampled_from(["all-to-all", "balanced"]),
    }
    for name in names[:-1]:
        out.edge(name, names[-1], **draw(st.fixed_dictionaries({}, optional=options)))
    return out.build()


@settings(max_examples=100, deadline=None)
@given(networks())
def test_round_trip(spec):
    assert round_trip(spec) == spec
    assert round_trip(spec).digest() == spec.digest()


def test_zoo_is_complete():
    assert {name.removeprefix("zoo/") for name in zoo_ids()} == ZOO


@pytest.mark.parametrize("name", zoo_ids())
def test_zoo_expands_for_every_team(name):
    spec = load_network(name)
    assert spec.name == name.removeprefix("zoo/")
    assert round_trip(spec) == spec
    for agents in (2, 3, 4, 5):
        graph = expand(spec, nominal_card(agents))
        assert len(graph.motors) == agents
        assert [graph.nodes[m].agent for m in graph.motors] == list(range(agents))


def test_networks_load_by_name_and_path(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(BRIDGED)
    assert load_network(str(file)) == load_network(file) == NetworkSpec.from_yaml(file)
    with pytest.raises(UnknownName, match="Did you mean 'zoo/tag-3ppo'"):
        load_network("zoo/tag-3pp")
    with pytest.raises(UnknownName, match="Did you mean 'zoo/messenger'"):
        load_network("messenger")
    with pytest.raises(BadInput, match=r"absent\.yaml: expected a regular file, found nothing"):
        load_network(tmp_path / "absent.yaml")


def test_no_torch_is_imported():
    code = (
        "import sys\n"
        "from rlnet_bench.networks.build import load_network, nominal_card\n"
        "from rlnet_bench.networks.draw import draw\n"
        "from rlnet_bench.networks.graph import expand\n"
        "draw(expand(load_network('zoo/tag-3ppo'), nominal_card(4)))\n"
        "import rlnet_bench.cli.network\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    code = (
        "import sys; from rlnet_bench.cli.main import main\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules, 'torch was imported'"
    )
    return subprocess.run([sys.executable, "-c", code, "network", *words], cwd=cwd, capture_output=True, text=True)


def test_check_command(tmp_path):
    fine = run("check", "zoo/tag-3ppo", "--task", "mpe/simple_spread-discrete-v1", "--json", cwd=tmp_path)
    assert fine.returncode == 0, fine.stderr
    told = json.loads(fine.stdout)
    assert told["execution_class"] == "C" and told["hops"] == 4 and len(told["vertices"]) == 6
    assert run("check", "zoo/diamond", cwd=tmp_path).returncode == 0
    (tmp_path / "bad.yaml").write_text("name: x\nvertices:\n  motor: {per_agent: true, colour: red}\n")
    bad = run("check", "bad.yaml", cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stderr == (
        "rlnet-bench: bad.yaml:3: unknown key 'colour' of vertex 'motor'. Known keys: per_agent, count, period, "
        "message, critic, group, place, learner, settings, memory, hidden, gradient, reward, advantage, evaluation, "
        "delivers, learning_rate, entropy, log_std, epochs, clip, target_kl, share, encoder, instruction_gain, action, "
        "instruction.\n"
    )


def test_draw_command(tmp_path):
    drawn = run("draw", "zoo/tag-3ppo", "--task", "mpe/simple_spread-discrete-v1", "--out", "x.svg", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    assert run("draw", "zoo/tag-3ppo", "--out", "no/where.svg", cwd=tmp_path).returncode == 2
