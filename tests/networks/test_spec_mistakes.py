"""Every mistake is refused with vertex names and line: no traceback, no large allocation."""

import time
import tracemalloc

import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.networks.build import Network, continuous, learned, nominal_card
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.spec import NetworkSpec

TWO = "name: x\nvertices:\n  a: {}\n  m: {per_agent: true}\nedges:\n"


def refused(text: str, agents: int | None = None) -> str:
    with pytest.raises(BadInput) as error:
        spec = NetworkSpec.from_yaml(text)
        expand(spec, nominal_card(agents or 3))
    return str(error.value)


MISTAKES = {
    "nothing": ("", ":1: expected a mapping with the keys `name` and `vertices`, found nothing"),
    "list": ("[1, 2]", "found [1, 2]"),
    "no name": ("vertices: {m: {per_agent: true}}", "`name`: expected a word"),
    "no vertices": ("name: x", "`vertices`: expected a mapping"),
    "no motor": ("name: x\nvertices:\n  a: {}\n", "<text>:3: no vertex is a motor"),
    "unknown top key": ("name: x\nvertexes: {}\nvertices: {m: {per_agent: true}}", "2: unknown key 'vertexes' of a "
                        "network. Did you mean 'vertices'?"),
    "unknown key": (TWO.replace("a: {}", "a: {perod: 3}") + "  - a -> m", ":3: unknown key 'perod' of vertex 'a'. Did "
                    "you mean 'period'?"),
    "unknown edge key": (TWO + "  - a -> m: {delai: 1}", ":6: unknown key 'delai' of edge a -> m. Did you mean "
                         "'delay'?"),
    "unknown default": (TWO + "  - a -> m\ndefaults: {count: 3}", ":7: unknown key 'count' of the defaults."),
    "unknown vertex": ("name: x\nvertices:\n  boss: {}\n  motor: {per_agent: true}\nedges:\n  - boss -> motors",
                       ":6: edge boss -> motors: unknown vertex 'motors'. Did you mean 'motor'?"),
    "no arrow": (TWO + "  - a => m", ":6: expected an edge such as `director -> manager`"),
    "wrong type": (TWO.replace("a: {}", "a: {period: five}") + "  - a -> m", ":3: vertex 'a': `period`: expected a "
                   "whole number from 1 to 10000, found 'five'."),
    "truth is no number": (TWO.replace("a: {}", "a: {period: true}") + "  - a -> m", "found True."),
    "wrong choice": (TWO.replace("a: {}", "a: {critic: globl}") + "  - a -> m", "(did you mean 'global'?)"),
    "width of 0": (TWO.replace("a: {}", "a: {action: {continuous: 0}}") + "  - a -> m", ":3: vertex 'a': `action`: "
                   "expected a width from 1 to 65536, found {'continuous': 0}."),
    "one option": (TWO.replace("a: {}", "a: {action: {discrete: 1}}") + "  - a -> m", "options from 2 to 65536"),
    "width of 1e9": (TWO.replace("a: {}", "a: {message: {learned: 1000000000}}") + "  - a -> m",
                     "expected a width from 1 to 65536"),
    "endless number": (TWO.replace("a: {}", f"a: {{period: {'9' * 4000}}}") + "  - a -> m",
                       "expected a whole number of at most 128 bits"),
    "count of 1e9": (TWO.replace("a: {}", "a: {count: 1000000000}") + "  - a -> m", "from 1 to 512, or `agents`"),
    "motor's action": ("name: x\nvertices:\n  m: {per_agent: true, action: none}", ":3: motor 'm': its action belongs "
                       "to the task"),
    "motor's count": ("name: x\nvertices:\n  m: {per_agent: true, count: 2}", "`per_agent` says how many"),
    "motor's period": ("name: x\nvertices:\n  m: {per_agent: true, period: 2}", "a motor acts at every step"),
    "instruction of a manager": (TWO.replace("a: {}", "a: {instruction: action}") + "  - a -> m",
                                 "`instruction` is for motors"),
    "self-loop": (TWO + "  - a -> m\n  - a -> a", ":7: edge a -> a: a self-loop"),
    "self-loop by lists": (TWO + "  - a -> m\n  - m -> m: {deal: [[1], [1], []]}", "m[1] -> m[1] is a self-loop"),
    "team loop": (TWO + "  - a -> m\n  - m -> m", ":7: edge m -> m: the edges without delay form a cycle"),
    "cycle": ("name: x\nvertices:\n  a: {}\n  b: {}\n  c: {}\n  m: {per_agent: true}\nedges:\n  - a -> b\n  - b -> c\n"
              "  - c -> m\n  - c -> a", ":8: the edges without delay form a cycle: a -> b -> c -> a (lines 8, 9, 11)"),
    "cycle by lists": ("name: x\nvertices:\n  a: {count: 2}\n  m: {per_agent: true}\nedges:\n"
                       "  - a -> m: {deal: [[0], [1]]}\n  - m -> a: {deal: [[1], [0], []]}", "form a cycle: "),
    "duplicate edge": (TWO + "  - a -> m\n  - a -> m: {delay: 2}", ":7: duplicate edge a -> m[0]: declared here and "
                       "on line 6."),
    "duplicate in lists": (TWO + "  - a -> m: {deal: [[0, 0]]}", "duplicate edge a -> m[0]"),
    "duplicate key": ("name: x\nvertices:\n  a: {}\n  a: {}\n", ":4: key 'a' appears twice (first on line 3)"),
    "alias": ("name: x\nvertices: &v\n  m: {per_agent: true}\nedges: *v", ":2: anchors and aliases"),
    "tag": ("name: x\nvertices: !!python/object:os.system {}", "is not allowed"),
    "two motors": ("name: x\nvertices:\n  m: {per_agent: true}\n  n: {per_agent: [0]}", ":4: agents have two motors, "
                   "'m' and 'n'"),
    "two motors by lists": ("name: x\nvertices:\n  m: {per_agent: [0, 1, 2]}\n  n: {per_agent: [2]}",
                            ":4: agent 'agent_2' has two motors, 'm' and 'n'"),
    "no motor for an agent": ("name: x\nvertices:\n  m: {per_agent: [0, 1]}", ":3: agent 'agent_2' has no motor"),
    "unknown agent": ("name: x\nvertices:\n  m: {per_agent: [0, 1, 2]}\n  a: {place: {agents: [7]}}\nedges: [a -> m]",
                      ":4: vertex 'a' names agent 7, and there are 3 agents"),
    "unknown agent name": ("name: x\nvertices:\n  m: {per_agent: [bob]}\n  n: {per_agent: rest}", "names agent 'bob'; "
                           "the agents are agent_0, agent_1, agent_2."),
    "dead leaf": (TWO.replace("a: {}", "a: {}\n  b: {}") + "  - a -> m\n  - a -> b", ":4: vertex 'b' is dead: no path "
                  "leads from it to a motor"),
    "dead judge": (TWO.replace("a: {}", "a: {action: none}") + "  - a -> m", ":3: vertex 'a' is dead: no motor "
                   "receives anything that depends on it"),
    "empty edge": (TWO.replace("{per_agent: true}", "{per_agent: true, message: none}")
                   + "  - a -> m: {carry: messages}", ":6: edge a -> m: carries nothing"),
    "blind vertex": (TWO.replace("{per_agent: true}", "{per_agent: true, message: none}") + "  - a -> m",
                     ":3: vertex 'a' reads inputs of width 0"),
    "short lists": (TWO.replace("a: {}", "a: {count: 2}") + "  - a -> m: {deal: [[0]]}", ":6: edge a -> m: expected 2 "
                    "lists, one per vertex of 'a', found 1."),
    "wrong deal": (TWO + "  - a -> m: {deal: balance}", "(did you mean 'balanced'?)"),
    "chain of two": (TWO + "  - a -> m: {deal: chain}", "`deal: chain` joins the members of one declaration"),
    "gradient through options": (TWO.replace("a: {}", "a: {gradient: through, action: {discrete: 3}}") + "  - a -> m",
                                 "no gradient passes a discrete instruction"),
    "gradient into noise": (TWO.replace("a: {}", "a: {gradient: through, learner: noise}") + "  - a -> m",
                            "needs a vertex that learns by ppo, found learner 'noise'"),
    "weight": (TWO + "  - a -> m: {weight: .nan}", ":6: expected a finite number"),
    "name": (TWO.replace("a: {}", "'<b>': {}"), "expected a name of letters"),
    "number as name": (TWO.replace("a: {}", "7: {}"), "vertex 7: expected a name of letters"),
    "mismatched mean": (
        "name: x\nvertices:\n  top: {}\n  a: {message: mean}\n  b: {message: {learned: 3}}\n  m: {per_agent: true}\n"
        "edges:\n  - top -> a\n  - a -> b\n  - a -> m\n  - b -> m",
        ":4: vertex 'a' has `message: mean` over mismatched widths: the message of 'b' has 3 and the message of 'm[0]' "
        "has 8"),
    "mismatched group": (
        "name: x\nvertices:\n  a: {group: g}\n  m: {per_agent: true, group: g}\nedges:\n  - a -> m",
        "vertices 'a' and 'm[0]' share the parameters of group 'g' but read inputs of mismatched widths 24 and 16"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    text, sentence = MISTAKES[mistake]
    found = refused(text)
    assert sentence in found
    assert max(map(len, found.splitlines())) < 500


def test_all_mistakes_are_told_at_once():
    text = TWO.replace("a: {}", "a: {period: 0, hiden: [3]}") + "  - a -> n\n  - b -> m"
    assert len(refused(text).splitlines()) == 4


def bounded(build) -> str:
    """The sentence, from little memory and in little time."""
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises(BadInput) as error:
            build()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 128 * 2**20
    assert time.monotonic() - begin < 60
    return str(error.value)


def test_ten_thousand_lines():
    text = "name: x\nvertices:\n" + "".join(f"  v{i}: {{}}\n" for i in range(10_000))
    assert "<text>: expected at most 5000 lines, found 10002" in bounded(lambda: NetworkSpec.from_yaml(text))


def test_ten_thousand_lines_in_a_file(tmp_path):
    file = tmp_path / "long.yaml"
    file.write_text("name: x\n" * 10_000)
    assert "long.yaml: expected at most 5000 lines, found 10000" in bounded(lambda: NetworkSpec.from_yaml(file))


def test_a_thousand_vertices():
    text = "name: x\nvertices:\n" + "".join(f"  v{i}: {{}}\n" for i in range(1_000))
    sentence = bounded(lambda: NetworkSpec.from_yaml(text))
    assert "<text>:2: `vertices`: expected at most 256 declarations, found 1000" in sentence
    counted = "name: x\nvertices:\n  a: {count: 500}\n  b: {count: 500}\n  m: {per_agent: true}\nedges: [a -> m]"
    assert ":4: expected at most 512 vertices in all, and 'b' brings 1000" in bounded(
        lambda: NetworkSpec.from_yaml(counted)
    )


def test_too_many_edges():
    text = "name: x\nvertices:\n  a: {count: 250}\n  b: {count: 250}\n  m: {per_agent: true}\nedges: [a -> b, b -> m]"
    assert "expected at most 16384 edges in all, found 250 x 250" in bounded(lambda: NetworkSpec.from_yaml(text))


def test_width_of_a_billion():
    text = TWO.replace("a: {}", "a: {action: {continuous: 1000000000}}") + "  - a -> m"
    assert "expected a width from 1 to 65536" in bounded(lambda: NetworkSpec.from_yaml(text))


def test_cap_on_inputs_names_the_vertex():
    spec = (
        Network("wide").vertex("boss").vertex("mid", count=20, message=learned(6_000)).motors()
        .edge("boss", "mid").edge("mid", "motor").build()
    )  # fmt: skip
    found = bounded(lambda: expand(spec, nominal_card(3)))
    assert "vertex 'boss' reads 120000 numbers, and the cap is 65536" in found
    spec = Network("wide").vertex("boss", action=continuous(60_000, per_subordinate=True)).motors()
    found = bounded(lambda: expand(spec.edge("boss", "motor").build(), nominal_card(2)))
    assert "vertex 'boss' sends 60000 numbers to each of 2 subordinates" in found


def test_builder_errors_name_the_network_without_lines():
    with pytest.raises(BadInput, match=r"^network: vertex 'a': `period`: expected a whole number"):
        Network("x").vertex("a", period=0).motors().edge("a", "motor").build()
    with pytest.raises(BadInput, match="declared twice"):
        Network("x").vertex("a").vertex("a")
    with pytest.raises(BadInput, match=r"^network x: vertex 'a' is dead"):
        Network("x").vertex("a").motors().build()


@pytest.mark.parametrize("data", [None, 3, [], {"vertices": [1]}, {"vertices": [{"name": 3}]}, {"name": "x"}])
def test_json_is_checked_like_yaml(data):
    with pytest.raises(BadInput):
        NetworkSpec.from_json(data)


def test_a_network_may_fit_only_some_tasks():
    spec = NetworkSpec.from_yaml("name: x\nvertices:\n  talker: {per_agent: [speaker_0]}\n  walker: {per_agent: rest}")
    with pytest.raises(BadInput, match="names agent 'speaker_0'; the agents are agent_0, agent_1"):
        expand(spec, nominal_card(2))
