"""What does not go together at a vertex that learns by another method is refused: vertex, expected, found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import LBF, SMOOTH, SPREAD

from rlnet_bench.cli.network import check
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, ImpossibleCell
from rlnet_bench.methods import check_possible
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.build import learned as learned_message
from rlnet_bench.networks.method import method_from_json, network_method
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.suite import parse_suite

TEXT = "name: x\nvertices:\n  boss: {}\n  motor: {per_agent: true}\nedges: [boss -> motor]\n"

READ = [
    ("boss", "learner: noise, settings: {n_step: 3}", ":3: vertex 'boss': `settings` are those of another method; "
     "expected `learner: method:NAME`, found learner 'noise'."),
    ("boss", "learner: method:isac, settings: 3", ":3: vertex 'boss': `settings`: expected settings of the method by "
     "name, such as {n_step: 3}, with plain values, found 3."),
    ("boss", "learner: method:isac, settings: {a: {b: 1}}", "with plain values, found {'a': {'b': 1}}."),
    ("boss", "learner: method:isac, clip: 0.1", ":3: vertex 'boss': `clip` is for vertices that learn by ppo, and its "
     "learner is method:isac; what that method can be told stands in `settings`."),
    ("boss", "learner: method:isac, settings: {hidden: [8]}", ":3: vertex 'boss': `settings`: 'hidden' is said at the "
     "vertex itself: `hidden`."),
    ("boss", "learner: method:isac, settings: {share_parameters: true}", "said at the vertex itself: `share`."),
    ("boss", "learner: method:isac, settings: {num_envs: 8}", "'num_envs' is the network's: all its vertices act in "
     "the same environments."),
    ("boss", "learner: method:isac, settings: {critic_hidden: [8]}", "not set apart: a critic is as wide as its"),
    ("boss", "learner: method:isac, gradient: through", "`gradient: through` needs a vertex that learns by ppo, found "
     "learner 'method:isac'."),
    ("motor", "learner: noise", ":4: vertex 'motor': a motor learns by ppo or `method:NAME`, found 'noise'; what does "
     "not learn sits above the motors."),
]  # fmt: skip


@pytest.mark.parametrize(("vertex", "fields", "sentence"), READ)
def test_refused_when_read(vertex: str, fields: str, sentence: str) -> None:
    text = TEXT.replace("boss: {}", f"boss: {{{fields}}}")
    if vertex == "motor":
        text = TEXT.replace("per_agent: true", f"per_agent: true, {fields}")
    with pytest.raises(BadInput) as error:
        NetworkSpec.from_yaml(text)
    assert sentence in str(error.value)


def test_settings_are_not_for_defaults_and_recipes_there_are_for_ppo() -> None:
    with pytest.raises(BadInput, match="unknown key 'settings' of the defaults"):
        NetworkSpec.from_yaml(TEXT + "defaults: {settings: {n_step: 3}}\n")
    text = TEXT.replace("boss: {}", "boss: {learner: method:isac}") + "defaults: {clip: 0.1, learning_rate: 0.01}\n"
    boss, motor = NetworkSpec.from_yaml(text).vertices
    assert (boss.recipe.clip, motor.recipe.clip) == (None, 0.1)
    assert boss.recipe.learning_rate == motor.recipe.learning_rate == 0.01


def _boss(motor: dict[str, Any] | None = None, edge: dict[str, Any] | None = None, **fields: Any) -> Network:
    net = Network("refused").vertex("boss", **{"action": continuous(2), "learner": "method:isac", **fields})
    return net.motors("motor", **(motor or {})).edge("boss", "motor", **(edge or {}))


def _under(top: dict[str, Any], edge: dict[str, Any] | None = None) -> Network:
    return _boss().vertex("top", action=continuous(2), **top).edge("top", "boss", **(edge or {}))


PLANNED: list[tuple[Network, str, str]] = [
    (_boss(learner="method:iqll"), SPREAD, "vertex 'boss': `learner: method:iqll`: unknown method 'iqll'"),
    (_boss(learner="method:mappo"), SPREAD, "expected a method that learns from a replay (iddpg, iql, isac, maddpg, "
     "masac, qmix, vdn), found one that does not; PPO at a vertex is `learner: ppo`."),
    (_boss(learner="method:iql"), SPREAD, "`learner: method:iql`: iql needs discrete actions, and"),
    (_boss({"learner": "method:iql"}), SMOOTH, "vertex 'motor': `learner: method:iql`: iql needs discrete actions"),
    (_boss({"learner": "method:iddpg"}), SPREAD, "vertex 'motor': `learner: method:iddpg`: iddpg needs continuous "
     "actions"),
    (_boss(action={"discrete": 3, "per_subordinate": True}), SPREAD, "a method chooses one option; expected one for "
     "all subordinates, found 3 (`per_subordinate: true`)."),
    (_boss(edge={"carry": "messages"}).vertex("top").edge("top", "boss", carry="messages").edge("top", "motor"), SPREAD,
     "it chooses nothing; expected an `action` that somebody receives."),
    (_boss(critic="global"), SPREAD, "`critic: global` is for vertices that learn by ppo; expected local."),
    (_boss(delivers="constant"), SPREAD, "`delivers: constant` is for vertices that learn by ppo; expected own or "
     "shuffled."),
    (_boss(message=learned_message(2)).vertex("top", action=continuous(2)).edge("top", "boss"), SPREAD,
     "`message: learned` is for vertices that learn by ppo; expected identity, mean or none."),
    (_boss({"learner": "method:isac", "reward": "superior_advantage"}), SPREAD,
     "`reward: superior_advantage` is for vertices that learn by ppo; expected mean, sum or team."),
    (_boss({"reward": "superior_advantage"}), SPREAD, "needs the critic of 'boss', which must learn by ppo"),
    (_boss({"advantage": "superiors"}), SPREAD, "needs the critic of 'boss', which must learn by ppo"),
    (_boss(learner="method:iql", action={"discrete": 3}, memory="gru", period=2), SPREAD,
     "`memory: gru` learns from successive steps; expected period 1, found 2."),
    (_boss(memory="gru"), SPREAD, "vertex 'boss': isac: memory: input should be 'none', found 'gru'."),
    (_under({"gradient": "through"}), SPREAD, "it learns from a replay, through which no gradient reaches 'top' "
     "(`gradient: through`)."),
    (_boss({"message": learned_message(2), "gradient": "through"}), SPREAD, "no gradient reaches 'motor[0]'"),
    (_under({}, {"weight": "sparse"}), SPREAD, "expected fixed weights of the edges from above, found `weight: "
     "sparse`."),
    (Network("refused").motors("motor", learner="method:isac", instruction=continuous(2)).edge("motor", "motor",
     deal="order"), SPREAD, "expected `instruction: action`, found an instruction beside it."),
    (Network("refused").motors("motor", learner="method:qmix").edge("motor", "motor", deal="chain"), SPREAD,
     "the method learns for all of a declaration together, and 'motor[1]' stands on another level or has other widths"),
    (_boss(settings={"rollout_steps": 7}), SPREAD, "expected `rollout_steps` that divide the network's, 50, found 7."),
    (_boss(settings={"buffer_size": 300}, period=10), SPREAD, "expected a `buffer_size` of at least 640 frames (2 "
     "decisions of 10 steps in 32 environments), found 300."),
    (_boss({"learner": "method:iql", "memory": "gru", "settings": {"sequence_length": 60}}, learner="ppo"), LBF,
     "have 50 steps; expected no longer sequences, found burn_in 4 + sequence_length 60 = 64."),
]  # fmt: skip


@pytest.mark.parametrize(("network", "task", "sentence"), PLANNED)
def test_refused_when_planned(network: Network, task: str, sentence: str) -> None:
    method = method_from_json(network.build().to_json())
    with pytest.raises((BadInput, ImpossibleCell)) as error:
        check_possible(method, task_card(task), method.configure({}))
    assert sentence in str(error.value) and "vertex '" in str(error.value)


SUITE = (
    f"name: s\ntasks: [{SPREAD}]\nseeds: 1\nbudget: {{frames: 10000}}\nmethods:\n  - network: zoo/tag-mixed\n    set:\n"
)


@pytest.mark.parametrize(
    ("lines", "line", "sentence"),
    [
        (["motor.settings: {n_stp: 3}"], 8, "vertex 'motor': isac: unknown key 'n_stp'. Did you mean 'n_step'?"),
        (["clip: 0.1", "motor.settings.gamma: 2"], 9, "isac: gamma: input should be less than or equal to 1, found 2."),
        (["motor.settings.n_step: 3", "motor.learner: ppo"], 7, "expected `learner: method:NAME`, found learner"),
        (["motor.learner: method:iql", "motor.settings: {double_q: 1}"], 9, "iql: double_q: input should be a valid"),
        (["motor.settings.inner.gamma: 1"], 8, "names no vertex or edge"),
    ],
)  # fmt: skip
def test_refused_where_a_suite_says_it(lines: list[str], line: int, sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_suite(load(SUITE + "".join(f"      {x}\n" for x in lines), "s.yaml"))
    assert sentence in str(error.value) and f"s.yaml:{line}: " in str(error.value)


def test_a_file_is_named_with_its_line_when_planned(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nvertices:\n  boss: {}\n  motor: {per_agent: true, learner: method:vdn}\nedges:\n"
                    "  - boss -> motor\n")  # fmt: skip
    method, _ = network_method(str(file))
    with pytest.raises(ImpossibleCell) as error:
        check_possible(method, task_card(SMOOTH), method.configure({}))
    assert f"{file}:4: vertex 'motor': `learner: method:vdn`: vdn needs discrete actions" in str(error.value)


def test_check_says_what_planning_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nvertices:\n  motor: {per_agent: true, learner: method:iql}\n")
    check(str(file), SPREAD)
    assert "cannot be trained" not in capsys.readouterr().out
    check(str(file), SMOOTH)
    out = capsys.readouterr().out
    assert "It cannot be trained there as it stands: " in out and ":3: vertex 'motor': `learner: method:iql`" in out
