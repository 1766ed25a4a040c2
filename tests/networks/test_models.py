"""Models of the zoo that are trained as one piece: what is common to `zoo/cmat` and `zoo/learned-graph`."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LBF, MIXED, SMOOTH, SPREAD, differing, learner, weights
from toys import Cue, won

from rlnet_bench import rng
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.information import class_of, information_flow
from rlnet_bench.learning.play import evaluate
from rlnet_bench.networks import learned_graph
from rlnet_bench.networks.build import load_network, nominal_card
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.level_env import LevelEnv
from rlnet_bench.networks.method import method_from_json
from rlnet_bench.networks.spec import MODELS, NetworkSpec
from rlnet_bench.runs.checkpoint import flatten, unflatten


def text_of(model: str) -> str:
    return (resources.files("rlnet_bench.networks") / "zoo" / f"{model}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS)
def test_the_file_may_change_widths_and_nothing_else(model: str) -> None:
    text = (
        text_of(model)
        .replace("continuous: 64", "continuous: 32")
        .replace("per_agent: true", "per_agent: true, hidden: [8]")
    )
    spec = NetworkSpec.from_yaml(text)
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec == NetworkSpec.from_json(spec.to_json())
    assert spec.digest() != load_network(f"zoo/{model}").digest()


NO_MODEL = {"model: learned-graph\n": ""}
MISTAKES: dict[str, tuple[str, dict[str, str], int, str]] = {  # model, changes of its file, line, words
    "another name": ("cmat", {"model: cmat": "model: cmta"}, 3,
        "`model`: expected one of cmat, learned-graph (did you mean 'cmat'?), found 'cmta'."),
    "a field": ("cmat", {"{per_agent: true}": "{per_agent: true, memory: gru}"}, 7,
        "vertex 'motor': `model: cmat` has the graph of zoo/cmat (widths and `hidden` are free): expected {'per_agent':"
        " True}, found {'per_agent': True, 'memory': 'gru'}."),
    "a recipe": ("learned-graph", {"{action: graph}": "{action: graph, epochs: 2}"}, 5,
        "expected {'action': 'graph'}, found {'action': 'graph', 'epochs': 2}."),
    "an edge": ("learned-graph", {"deal: learned, ": "deal: order, "}, 9,
        "expected edge 2 to be {'motor -> motor': {'deal': 'learned', 'carry': 'instructions'}}, found {'motor -> "
        "motor': {'deal': 'order', 'carry': 'instructions'}}."),
    "an edge less": ("cmat", {"  - consensus -> motor: {carry: instructions}\n": ""}, 0,
        "expected edge 3 to be {'consensus -> motor': {'carry': 'instructions'}}, found none."),
    "another vertex": ("cmat", {"encoder": "eye"}, 0,
        "expected the vertices encoder, consensus, motor, found eye, consensus, motor."),
    "a learned deal": ("learned-graph",
        {**NO_MODEL, "action: graph": "action: {discrete: 2}", ", critic: global": ""}, 8,
        "edge motor -> motor: `deal: learned` is drawn at every step by a vertex with `action: graph`"),
    "a drawn graph": ("learned-graph",
        {**NO_MODEL, "  - motor -> motor: {deal: learned, carry: instructions}\n": ""}, 4,
        "vertex 'generator': `action: graph` needs `model: learned-graph` at the top of the file, found none."),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_sentences_with_their_line(case: str) -> None:
    model, changes, line, words = MISTAKES[case]
    text = text_of(model)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(BadInput, match=rf"^<text>:{line}: " if line else "^network ") as error:
        NetworkSpec.from_yaml(text)
    assert words in str(error.value)


def test_an_edge_too_many() -> None:
    with pytest.raises(BadInput, match=r"expected 2 edges, found motor -> generator as well"):
        NetworkSpec.from_yaml(text_of("learned-graph") + "  - motor -> generator: {delay: 1}\n")


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("cmat", {"encoder.action": {"continuous": 8, "per_subordinate": True}}, "sends 8 numbers and 'consensus' 64"),
        ("cmat", {"attention_heads": 3}, "vertex 'encoder': expected a width that is a multiple of attention_heads = "
         "3, found 64"),
        ("learned-graph", {"generator.hidden": []}, "vertex 'generator': `model: learned-graph` needs a hidden layer"),
        ("learned-graph", {"hidden": []}, "needs a hidden layer"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_when_planned(model: str, settings: dict[str, Any], words: str) -> None:
    method = method_from_json(load_network(f"zoo/{model}").to_json())
    reason = method.impossible(task_card(SPREAD), method.configure(settings))
    assert reason is not None and words in reason


def test_settings_of_other_kinds_are_refused() -> None:
    method = method_from_json(load_network("zoo/cmat").to_json())
    with pytest.raises(BadInput, match="share_parameters"):
        method.configure({"share_parameters": False})
    with pytest.raises(BadInput, match="depth_weight"):
        method.configure({"depth_weight": 0.1})
    method = method_from_json(load_network("zoo/learned-graph").to_json())
    with pytest.raises(BadInput, match=r"depth_weight: .*greater than or equal to 0"):
        method.configure({"depth_weight": -1.0})
    with pytest.raises(BadInput, match="normalise_observation"):
        method.configure({"normalise_observation": "running"})
    with pytest.raises(BadInput, match="expected `learner: method:NAME`, found 'ppo'"):
        LevelEnv(load_network("zoo/learned-graph"), "generator", task_card(SPREAD), num_envs=4)


def made_of(model: str, task: str = SPREAD, seeds: tuple[int, ...] = (0, 1), loud: float = 100.0) -> Any:
    """A tiny learner whose policy is far from uniform (unless ``loud`` is 1)."""
    small = {"encoder.action": {"continuous": 8, "per_subordinate": True}, "consensus.action": {"continuous": 8}}
    more: dict[str, Any] = {"share_parameters": True, **(small if model == "cmat" else {})}
    made = learner(f"zoo/{model}", task, seeds, **more)
    for name, tensor in made.actor.state_dict().items():
        if name.startswith(("choice", "score", "gate")):
            tensor.mul_(loud)
    return made


@pytest.mark.parametrize("task", [SPREAD, SMOOTH, MIXED, LBF])
@pytest.mark.parametrize("model", MODELS)
def test_they_resume_to_the_bit_and_replicas_are_independent(model: str, task: str) -> None:
    one, other = made_of(model, task), made_of(model, task)
    for _ in range(2):
        one.iterate()
    other.load_state_dict(unflatten(*flatten(one.state_dict())))
    for made in (one, other):
        metrics = made.iterate()
        assert all(bool(m.isfinite().all()) for m in metrics.values())
    assert differing(weights(one), weights(other)) == []
    alone, beside = made_of(model, task, (1,), loud=1.0), made_of(model, task, (0, 1), loud=1.0)
    for made in (alone, beside):
        made.iterate()
    assert torch.equal(alone.rollout.actions[:, 0], beside.rollout.actions[:, 1])  # drawn by counter
    for name, tensor in weights(alone).items():
        assert torch.allclose(tensor, weights(beside)[name][len(tensor) :], atol=1e-5), name


@pytest.mark.parametrize("model", MODELS)
def test_they_are_loaded_and_play_as_they_did(model: str) -> None:
    policy, card = made_of(model).policy(), task_card(SPREAD)
    method = method_from_json(policy.spec()["network"])
    loaded = method.rebuild(policy.spec(), card, (7, 8))
    loaded.load_state_dict({k: v.clone() for k, v in policy.state_dict().items()})
    assert loaded.spec() == policy.spec()
    for mode in ("deterministic", "sampled"):
        one, two = (evaluate(p, card, (0, 1), 2, stream=rng.Stream.USER, mode=mode) for p in (policy, loaded))
        assert (one.returns == two.returns).all()
    assert dict(loaded.columns()) == dict(policy.columns())


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_tells_the_class(model: str) -> None:
    policy = made_of(model, SMOOTH, (0,)).policy()
    assert policy.execution_floor == policy.graph.execution_class == "C"
    assert class_of(information_flow(policy, task_card(SMOOTH))) == "C"


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_bits_and_hops_of_the_file(agents: int) -> None:
    card = nominal_card(agents, observation=8, actions=5)
    cmat, learned = (expand(load_network(f"zoo/{m}"), card) for m in MODELS)
    assert (cmat.bits_up, cmat.bits_down, cmat.hops) == (agents * 8 * 32, agents * 2 * 64 * 32, 2)
    lists, actions = 2 * agents * (agents - 1), 3 * agents * (agents - 1) // 2
    assert (learned.bits_up, learned.bits_down, learned.hops) == (agents * 8 * 32, lists + actions, agents + 1)


def taught(model: str, iterations: int, **settings: Any) -> Any:
    """The policy after some iterations of the game in which one must be told what the other sees."""
    method = method_from_json(load_network(f"zoo/{model}").to_json())
    small = {"num_envs": 64, "rollout_steps": 8, "minibatches": 2, "hidden": [32], "learning_rate": 3e-3}
    config, env = method.configure({**small, **settings}), Cue(64)
    made = method.learner_class()(  # type: ignore[attr-defined]
        env, (3,), expand(method.network(config), env.card), config, training_reward="team_mean",  # type: ignore[attr-defined]
        total_frames=iterations * 512,
    )  # fmt: skip
    for _ in range(iterations):
        made.iterate()
    return made.policy()


@pytest.mark.slow
def test_a_consensus_tells_what_one_sees() -> None:
    narrow = {"encoder.action": {"continuous": 16, "per_subordinate": True}, "consensus.action": {"continuous": 16}}
    assert won(taught("cmat", 40, **narrow)) > 0.9


@pytest.mark.slow
def test_an_action_that_is_heard_tells_what_one_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees learns to act first and to say with its action what pays; blind play wins a quarter."""
    policy = taught("learned-graph", 80)
    assert won(policy) > 0.65
    assert policy.actor.drawn.hears[..., 0, 1].float().mean() > 0.6  # most likely graphs; at first it hears nobody

    def closed(score: torch.Tensor, gate: torch.Tensor, noise: torch.Tensor | None) -> learned_graph.Drawn:
        found = draw(score, gate, noise)
        return learned_graph.Drawn(found.place, found.hears & False)

    draw = learned_graph.draw
    monkeypatch.setattr(learned_graph, "draw", closed)
    assert won(policy) < 0.45


def test_models_are_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    assert all(re.search(rf"`{m}`", page) for m in MODELS)
