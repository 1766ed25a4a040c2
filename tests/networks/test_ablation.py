"""Cutting edges, delaying them, sending fewer bits; random motors; the verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import SMOOTH, SPREAD, TINY, learner
from typer.testing import CliRunner

from rlnet_bench.cli.main import app
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import RlnetError
from rlnet_bench.learning import probe
from rlnet_bench.learning.information import information_flow
from rlnet_bench.networks import ablation
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.runs.ablations import read_ablations
from rlnet_bench.runs.loop import run_group
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.suite import Suite


def loud(name: str, task: str = SMOOTH) -> NetworkPolicy:
    """A network whose instructions are not too small to be seen."""
    policy: NetworkPolicy = learner(name, task, (0,)).policy()
    for net in policy.nets:
        for key, tensor in net.state_dict().items():
            if key.startswith("weight") and tensor.abs().max() < 0.1:
                tensor.mul_(100)
    return policy


def test_cutting_every_edge_between_places_leaves_d0() -> None:
    policy, card = loud("zoo/tag-3ppo-comm"), task_card(SMOOTH)
    usual = ablation.habits(policy, card)
    assert bool(information_flow(policy, card).all())
    ablation.cut_links(policy, ablation.crossing(policy.graph), usual)
    assert torch.equal(information_flow(policy, card), torch.eye(3, dtype=torch.bool))
    ablation.cut_links(policy, (), usual)
    assert bool(information_flow(policy, card).all())


def test_a_cut_edge_hides_what_comes_over_it_alone() -> None:
    policy = loud("zoo/tag-3ppo")
    graph = policy.graph
    names = {(graph.nodes[k.superior].name, graph.nodes[k.subordinate].name): k.index for k in graph.links}
    masks = ablation.carried(policy, (names["manager[1]", "motor[2]"],))
    stack = {i: (n.stack.number, k) for n in policy.nets for k, i in enumerate(n.stack.members)}

    def hidden(name: str) -> list[bool]:
        number, k = stack[graph.node(name).index]
        return masks[number, "reads"][k].tolist() if (number, "reads") in masks else []

    assert hidden("director") == [False] * 36 + [True] * 18
    assert hidden("manager[1]") == [True] * 18 + [False] * 8
    assert hidden("motor[2]") == [False] * 18 + [True] * 8
    assert not any(hidden("manager[0]") + hidden("motor[0]"))
    bridged = loud("zoo/multi-parent")
    first = next(k.index for k in bridged.graph.links if k.superior == 0)
    kept = ablation.carried(bridged, (first,))
    assert kept[bridged.nets[0].stack.number, "reads"][1].sum() == 0  # the other manager still hears everybody


def test_one_step_late_and_coarse() -> None:
    policy = loud("zoo/tag-2ppo")
    between = ablation.crossing(policy.graph)
    ablation.delay_links(policy, between)
    state = policy.initial_state(4)
    observation = torch.randn(4, 3, 18)
    memory, notes = state.memory, []
    for _ in range(2):
        draws = policy.executor.draws(state.keys, state.step[None], sampled=False)[0]
        _, memory, taken = policy.executor.step(observation, None, memory, draws, record=True)
        notes.append(taken)
    assert torch.equal(notes[0][0].features, torch.zeros(1, 4, 1, 54))
    assert torch.equal(notes[1][0].features[0, :, 0], observation.flatten(1))
    assert torch.equal(notes[1][1].features[0, :, 0, -8:], torch.tanh(notes[0][0].own)[0, :, 0])
    usual = ablation.habits(policy, task_card(SMOOTH))
    ablation.quantise_links(policy, between, 1, usual)
    draws = policy.executor.draws(state.keys, state.step[None], sampled=False)[0]
    _, _, taken = policy.executor.step(torch.randn(64, 3, 18), None, {}, draws, record=True)
    coarse = taken[1].features
    assert coarse is not None
    assert all(len(coarse[..., f].unique()) <= 2 for f in range(18, 26))
    assert len(coarse[..., 0].unique()) == 64 * 3


def test_the_verb_writes_a_table_and_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PERMUTATIONS", 19)
    suite = {
        "name": "small", "tasks": [SPREAD], "seeds": 2, "budget": {"frames": 96},
        "methods": [{"network": "zoo/bridged-3ppo", "set": {**TINY, "hidden": [8], "critic_hidden": [8]}}],
        "evaluation": {"every": 96, "episodes": 2, "absolute_episodes": 2},
    }  # fmt: skip
    config = make_plan(Suite.model_validate(suite)).groups[0].config
    run_group(tmp_path, config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = CliRunner().invoke(app, ["ablate", str(tmp_path), "--episodes", "2", "--json", "--without", str(tmp_path)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    rows = told["parts"]
    changes = [x["change"] for x in rows]
    assert changes.count("edge") == 2 + 3 + 3 and changes.count("motor") == 3 and changes.count("whole") == 1
    assert rows[0]["drop"] == 0
    assert told["channel"] == "edges between places" and told["protocol"]["of"] == 2
    assert (tmp_path / "ablation.svg").read_text().startswith("<svg")
    assert "<svg" in (tmp_path / "ablation-channel.svg").read_text()
    lines = read_ablations(tmp_path)  # chained to the record
    assert {x["seed"] for x in lines} == {0, 1} and "information" in {x["kind"] for x in lines}
    assert {(x["name"], x["trains"], x["noise"] > 0) for x in told["signals"]} == {
        ("director", True, True), ("manager", True, True), ("director", False, False), ("manager", False, False),
    }  # fmt: skip
    assert told["benefit"]["mean"] == 0 and told["benefit"]["low"] < 0 < told["benefit"]["high"]
    record = (tmp_path / "evals.jsonl").read_text()
    (tmp_path / "evals.jsonl").write_text("".join(record.splitlines(keepends=True)[:-1]))
    with pytest.raises(RlnetError, match="chain digest"):
        read_ablations(tmp_path)


def test_agents_that_hear_nobody_have_no_channel(tmp_path: Path) -> None:
    with pytest.raises(RlnetError, match=r"expected a run directory, .* found a folder without config\.json"):
        CliRunner().invoke(app, ["ablate", str(tmp_path)], catch_exceptions=False)
    suite = {
        "name": "small",
        "tasks": [SPREAD],
        "methods": ["ippo"],
        "seeds": 1,
        "budget": {"frames": 1600},
        "evaluation": {"every": 1600, "episodes": 2, "absolute_episodes": 2},
    }
    config = make_plan(Suite.model_validate(suite)).groups[0].config
    (tmp_path / "config.json").write_text(json.dumps(config))
    run_group(tmp_path, config)
    with pytest.raises(RlnetError, match="expected agents that hear each other, found ippo"):
        CliRunner().invoke(app, ["ablate", str(tmp_path)], catch_exceptions=False)
