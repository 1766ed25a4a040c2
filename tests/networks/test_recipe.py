"""How a vertex learns, in the language and in suites: every key does what it says, at its vertex and nowhere else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny import LBF, SMOOTH, SPREAD, differing, learner, trained, weights
from torch import Tensor

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.optimise import Optimiser
from rlnet_bench.networks.build import Network, continuous, load_network
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.losses import divergence
from rlnet_bench.networks.method import changed, method_from_json, network_method
from rlnet_bench.networks.spec import NetworkSpec, Recipe
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.checkpoint import flatten, unflatten
from rlnet_bench.runs.suite import parse_suite

BOSS = "name: x\nvertices:\n  boss: {}\n  motor: {per_agent: true}\nedges: [boss -> motor]\n"


def two(boss: dict[str, Any] | None = None, motor: dict[str, Any] | None = None) -> NetworkSpec:
    net = Network("two").vertex("boss", action=continuous(3), **(boss or {})).motors("motor", **(motor or {}))
    return net.edge("boss", "motor").build()


# -- the language --------------------------------------------------------------------------------------------


def test_a_recipe_is_read_at_a_vertex_and_in_defaults() -> None:
    spec = NetworkSpec.from_yaml(
        "name: x\ndefaults: {learning_rate: 0.001, clip: 0.1, epochs: 2}\nvertices:\n"
        "  boss: {learning_rate: 1.0e-4, entropy: 0, log_std: -2, target_kl: 0.02, share: true}\n"
        "  motor: {per_agent: true, share: group, instruction_gain: 0}\nedges: [boss -> motor]\n"
    )
    boss, motor = spec.vertices
    assert boss.recipe == Recipe(1e-4, 0.0, -2.0, 2, 0.1, 0.02, True)
    assert motor.recipe == Recipe(0.001, epochs=2, clip=0.1, share="group", instruction_gain=0.0)
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec == NetworkSpec.from_json(spec.to_json())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("learning_rate: 0", ":3: vertex 'boss': `learning_rate`: expected a number above 0, at most 1, found 0."),
        ("learning_rate: true", "expected a number above 0, at most 1, found True."),
        ("learning_rat: 1", "unknown key 'learning_rat' of vertex 'boss'. Did you mean 'learning_rate'?"),
        ("entropy: -1", "`entropy`: expected a number from 0 to 10, found -1."),
        ("log_std: 3", "`log_std`: expected a number from -10 to 2, found 3."),
        ("epochs: 0", "`epochs`: expected a whole number from 1 to 100, found 0."),
        ("clip: big", "`clip`: expected a number above 0, at most 10, found 'big'."),
        ("target_kl: 0", "`target_kl`: expected a number above 0, at most 10, found 0."),
        ("share: some", "`share`: expected true, false or `group`, found 'some'."),
        ("group: g, share: false", "`group: g` shares its parameters; expected no `share`, found False."),
        ("action: relay, period: 2", "`action: relay` chooses nothing; expected period 1"),
        ("learner: jitter, action: {discrete: 3}", "`learner: jitter` is noise around zero; expected a continuous"),
        ("learner: jiter", "(did you mean 'jitter'?)"),
        ("delivers: constant, gradient: through", "no gradient passes an instruction that is not delivered"),
        ("instruction_gain: 11", "`instruction_gain`: expected a number from 0 to 10, found 11."),
    ],
)
def test_mistakes_are_refused_with_vertex_and_line(fields: str, sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        NetworkSpec.from_yaml(BOSS.replace("boss: {}", f"boss: {{{fields}}}"))
    assert sentence in str(error.value)


def test_published_networks_are_the_same_data() -> None:
    assert load_network("zoo/tag-3ppo").digest() == "b74904a30ee7456b"


# -- suites --------------------------------------------------------------------------------------------------


def test_suites_change_a_network_by_names_with_a_dot() -> None:
    method, data = network_method("zoo/tag-3ppo")
    config: Any = method.configure({"gamma": 0.5, "director.learning_rate": 1e-4, "manager -> motor.delay": 1})
    spec = method.network(config)  # type: ignore[attr-defined]
    assert spec.vertex("director").recipe == Recipe(learning_rate=1e-4) and spec.edges[1].delay == 1
    assert spec.vertex("manager") == load_network("zoo/tag-3ppo").vertex("manager")
    again = method.configure(config.model_dump(mode="json"))  # as a record holds it
    assert again == config and method_from_json(data) is method


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("directr.learning_rate", 1e-4, "'directr.learning_rate' names no vertex or edge. Did you mean 'director'?"),
        ("director.learning_rate", 0, "vertex 'director': `learning_rate`: expected a number above 0"),
        ("director.speed", 1, "unknown key 'speed' of vertex 'director'"),
        ("manager.count", 3, "would change which vertices there are"),
        ("manager->motor.weight", "heavy", "edge manager -> motor: `weight`: expected `fixed`"),
    ],
)
def test_wrong_changes_are_refused_where_they_stand(key: str, value: Any, words: str) -> None:
    text = (
        f"name: s\ntasks: [{SPREAD}]\nmethods:\n  - network: zoo/tag-3ppo\n    set:\n      {key}: {value}\nseeds: 1\n"
    )
    with pytest.raises(BadInput) as error:
        parse_suite(load(text + "budget: {frames: 10000}\n", "s.yaml"))
    assert words in str(error.value) and "s.yaml:6" in str(error.value)


def test_settings_per_task_add_to_those_of_all() -> None:
    text = (f"name: s\ntasks: [{SPREAD}]\nmethods:\n  - network: zoo/tag-3ppo\n    set: {{director.clip: 0.1}}\n"
            f"    per_task: {{{SPREAD}: {{director.log_std: -2}}}}\nseeds: 1\nbudget: {{frames: 10000}}\n")  # fmt: skip
    entry = parse_suite(load(text, "s.yaml")).methods[0]
    method, _ = network_method("zoo/tag-3ppo")
    config = method.configure(entry.settings(SPREAD))
    assert method.network(config).vertex("director").recipe == Recipe(clip=0.1, log_std=-2.0)  # type: ignore[attr-defined]


def test_the_training_class_follows_the_change() -> None:
    method, _ = network_method("zoo/tag-3ppo")
    assert method.training_class(method.configure({})) == "independent"
    assert method.training_class(method.configure({"motor.critic": "global"})) == "centralised critic"


# -- training ------------------------------------------------------------------------------------------------


def prefixed(made: Any, name: str) -> dict[str, Tensor]:
    """The acting weights of one stack."""
    (net,) = [n for n in made.nets if n.stack.name == name]
    return {k: v.clone() for k, v in net.state_dict().items()}


MUTATIONS: list[tuple[str, dict[str, Any]]] = [
    ("learning_rate", {"learning_rate": 1e-4}), ("entropy", {"entropy": 0.1}), ("epochs", {"epochs": 1}),
    ("clip", {"clip": 1e-4}), ("target_kl", {"target_kl": 1e-7}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "fields"), MUTATIONS)
def test_each_key_changes_what_its_vertex_learns_first(key: str, fields: dict[str, Any]) -> None:
    """In the first update nobody else notices: all have read the same."""
    plain, with_it = trained(1, two()), trained(1, two(fields))
    assert differing(prefixed(plain, "motor"), prefixed(with_it, "motor")) == []
    assert differing(prefixed(plain, "boss"), prefixed(with_it, "boss"))
    plain, with_it = trained(1, two()), trained(1, two(motor=fields))
    assert differing(prefixed(plain, "boss"), prefixed(with_it, "boss")) == []
    assert differing(prefixed(plain, "motor"), prefixed(with_it, "motor"))


def test_what_settings_say_holds_where_the_file_is_silent() -> None:
    """A key with the value that the settings have anyway changes no bit."""
    said = {"learning_rate": 2e-3, "epochs": 2, "clip": 0.2, "instruction_gain": 1.0, "share": False}
    assert differing(weights(trained(2, two())), weights(trained(2, two({**said, "log_std": -0.5}, said)))) == []


def test_gaussian_instructions_have_no_entropy_bonus_unless_asked() -> None:
    plain, other = trained(1, two()), trained(1, two(), entropy_weight=0.1)
    assert differing(prefixed(plain, "boss"), prefixed(other, "boss")) == []
    assert differing(prefixed(plain, "motor"), prefixed(other, "motor"))


def test_quiet_instructions() -> None:
    made = learner(two({"log_std": -3.0}))
    assert prefixed(made, "boss")["own_log_std"].unique().tolist() == [-3.0]
    moving = learner(two(motor={"log_std": -2.0}), SMOOTH)
    assert prefixed(moving, "motor")["log_std"].unique().tolist() == [-2.0]


@pytest.mark.parametrize("task", [SPREAD, LBF])
@pytest.mark.parametrize("share", [False, True])
def test_instructions_that_weigh_nothing_move_no_motor(task: str, share: bool) -> None:
    made = learner(two(motor={"instruction_gain": 0.0}), task, share_parameters=share)
    (net,) = [n for n in made.nets if n.stack.is_motor]
    x = torch.randn(2, 5, net.stack.size_k, net.reads.width)
    width = made.env.card.observation_size
    y = x.clone()
    y[..., width : width + 3] = 7.0
    assert torch.equal(net.outputs(x)[0], net.outputs(y)[0]) and torch.equal(net.values(x), net.values(y))
    y[..., 0] += 1.0
    assert not torch.equal(net.outputs(x)[0], net.outputs(y)[0])
    made.iterate()  # gradients reach them
    y[..., 0] -= 1.0
    assert not torch.equal(net.outputs(x)[0], net.outputs(y)[0])


def test_divergence_by_hand() -> None:
    old, new = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])
    kl = float((old * (old / new).log()).sum())
    assert float((old * divergence((new / old).log())).sum()) == pytest.approx(kl, abs=1e-6)
    assert kl == pytest.approx(0.25 * math.log(2), abs=1e-6)


def test_a_policy_beyond_its_divergence_waits_and_its_critic_goes_on() -> None:
    """With one minibatch the first step is always made (nothing has moved yet), the second is not."""
    settings: dict[str, Any] = {"minibatches": 1, "rollout_steps": 12}
    held = trained(1, two({"target_kl": 1e-6}), epochs=3, **settings)
    once = trained(1, two({"epochs": 1}), epochs=3, **settings)
    free = trained(1, two(), epochs=3, **settings)
    first, second, third = (prefixed(made, "boss") for made in (held, once, free))
    assert all(torch.allclose(first[k], second[k], atol=1e-6) for k in first)
    assert not any(torch.allclose(first[k], third[k], atol=1e-4) for k in first)
    critics = [made.nets[0].critic.state_dict() for made in (held, once, free)]
    assert differing(critics[0], critics[2]) == [] and differing(critics[0], critics[1])


def test_replicas_stop_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[bool]] = []
    step = Optimiser.step

    def spied(self: Optimiser, frozen: Tensor, names: Any = (), rows: Any = None) -> dict[str, Tensor]:
        seen.append(rows["boss.actor"].tolist())
        return step(self, frozen, names, rows)

    made = learner(two({"target_kl": 0.5}), seeds=(0, 1), epochs=1, minibatches=2)
    made.collect()
    monkeypatch.setattr(Optimiser, "step", spied)
    losses = made.losses

    def moved(*arguments: Any) -> Any:
        for found in losses(*arguments):
            made.moved[0] = torch.tensor([1.0, 0.0])
            yield found

    made.losses = moved
    made.learn()
    assert seen == [[False, True], [False, True]]


# -- sharing -------------------------------------------------------------------------------------------------


def copies(spec: NetworkSpec, task: str = "mpe/simple_spread-n4-discrete-v1", **settings: Any) -> dict[str, list[int]]:
    """Sets of parameters per stack, by name."""
    found: dict[str, list[int]] = {}
    for net in learner(spec, task, (0,), **settings).nets:
        found.setdefault(net.stack.name, []).append(len(net.stack.copies))
    return found


def test_who_shares_with_whom() -> None:
    tag = load_network("zoo/tag-3ppo")
    assert copies(tag) == {"director": [1], "manager": [2], "motor": [4]}
    assert copies(tag, share_parameters=True) == {"director": [1], "manager": [2], "motor": [1]}
    assert copies(changed(tag, {"motor.share": "group"})) == {"director": [1], "manager": [2], "motor": [1, 1]}
    assert copies(changed(tag, {"motor.share": False}), share_parameters=True)["motor"] == [4]
    assert copies(changed(tag, {"manager.share": True}))["manager"] == [1]


def test_groups_are_those_with_the_same_superiors() -> None:
    spec = changed(load_network("zoo/tag-3ppo"), {"motor.share": "group"})
    graph = expand(spec, task_card("mpe/simple_spread-n4-discrete-v1"))
    stacks = [s for s in graph.stacks(padded=True) if graph.nodes[s[0]].is_motor]
    assert [[graph.nodes[i].agent for i in s] for s in stacks] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("share", ["group", True])
def test_a_recipe_resumes_to_the_bit(share: Any) -> None:
    fields = {"learning_rate": 1e-3, "target_kl": 1e-3, "epochs": 1, "log_std": -1.0}
    spec = two({**fields, "period": 2}, {"share": share, "target_kl": 1e-3, "instruction_gain": 0.1})
    one, other = trained(2, spec), learner(spec)
    other.load_state_dict(unflatten(*flatten(one.state_dict())))
    for _ in range(2):
        one.iterate()
        other.iterate()
    assert differing(weights(one), weights(other)) == []
