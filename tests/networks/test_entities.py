"""Vertices that read entities: what is what, in any order, in any number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlnet_bench.envs.layout import layout_of
from rlnet_bench.envs.registry import resized, task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.networks.build import Network, continuous, learned
from rlnet_bench.networks.entities import vertex_layout
from rlnet_bench.networks.flow import Part
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.method import method_from_json, network_method
from rlnet_bench.runs.policies import rebuild_policy

SPREAD, REFERENCE = task_card("mpe/simple_spread-discrete-v1"), task_card("mpe/simple_reference-discrete-v1")
SMALL = {"num_envs": 4, "rollout_steps": 10, "epochs": 1, "minibatches": 1, "hidden": [8], "critic_hidden": [8]}


def policy(name: str, card=SPREAD, **settings):
    method, _ = network_method(name)
    config = method.configure({**SMALL, **settings})
    learner = method.learner(card, config, (0, 1), total_frames=400, training_reward="team_mean")
    learner.iterate()
    return method, learner.policy()


def test_a_director_reads_its_agents_with_their_entities_and_its_motors_their_own():
    graph = expand(network_method("zoo/tag-2ppo")[0].spec, SPREAD)
    task = layout_of(SPREAD)
    director, motor = graph.nodes[0], graph.nodes[graph.motors[1]]
    of_director = vertex_layout(director.below, director.above, False, task)
    assert of_director.own == ()
    assert {k.name: (len(k.slots), k.width) for k in of_director.kinds} == {
        "agent": (3, 4), "agent.landmark": (9, 6), "agent.other": (6, 8),
    }  # fmt: skip
    second = 18 + 4 + 2  # agent 1's second landmark
    assert of_director.kinds[1].slots[4] == (18, 19, 20, 21, second, second + 1)
    of_motor = vertex_layout(motor.below, motor.above, True, task)
    assert of_motor.own == (0, 1, 2, 3, *range(18, 18 + 8))  # then the instruction
    assert of_motor.kinds == task.kinds


def test_messages_of_one_width_are_entities_of_a_kind():
    parts = (Part("learned", 4, 3), Part("learned", 5, 3), Part("mean", 6, 2))
    layout = vertex_layout(parts, (Part("instruction", 0, 2),), False, None)
    assert layout.own == (8, 9)
    assert [(k.name, k.slots) for k in layout.kinds] == [
        ("message.3", ((0, 1, 2), (3, 4, 5))), ("message.2", ((6, 7),)),
    ]  # fmt: skip
    assert vertex_layout((Part("observation", 0, 18),), (), True, None) is None


@pytest.mark.parametrize("name", ["zoo/flat", "zoo/tag-2ppo"])
def test_the_same_weights_play_with_any_number_of_agents(name):
    method, trained = policy(name, encoder="entities")
    for agents in (2, 5):
        card = resized(SPREAD, agents)
        moved = rebuild_policy(method, trained.spec(), trained.state_dict(), (0, 1), card)
        assert all(torch.equal(a, b) for a, b in zip(moved.state_dict().values(), trained.state_dict().values()))
        observation = torch.randn(2 * 3, agents, card.observation_size)
        action, _ = moved.act(observation, moved.initial_state(6))
        assert action.shape == (6, agents)


def test_a_director_and_motors_do_not_mind_the_order_of_agents():
    """The same agents in another order do the same, each in its new place."""
    _, trained = policy("zoo/tag-2ppo", encoder="entities")
    env = torch.randn(6, 3, 18, generator=torch.Generator().manual_seed(0))
    order = [2, 0, 1]
    executor, turned = trained.executor, env[:, order]
    out = []
    for observation in (env, turned):
        draws = executor.draws(torch.arange(6), torch.zeros(1, 1, dtype=torch.int64), sampled=False)[0]
        executor.step(observation, None, executor.initial_memory(6), draws, None)
        out.append(trained.act(observation, trained.initial_state(6))[0])
    assert torch.equal(out[1], out[0][:, order])


def test_plain_vertices_and_chains_are_tied():
    for name, settings in {
        "zoo/tag-2ppo": {"motor.encoder": "entities"}, "zoo/leader-follower": {"encoder": "entities"},
    }.items():  # fmt: skip
        method, trained = policy(name, **settings)
        with pytest.raises(BadInput, match="weights that do not fit"):
            rebuild_policy(method, trained.spec(), trained.state_dict(), (0, 1), resized(SPREAD, 4))


def test_learned_messages_are_heard_by_any_director():
    spec = (
        Network("told")
        .vertex("director", action=continuous(4))
        .motors("motor", message=learned(3))
        .edge("director", "motor")
        .build()
    )
    method = method_from_json(spec.to_json())
    config = method.configure({**SMALL, "encoder": "entities"})
    learner = method.learner(SPREAD, config, (0,), total_frames=400, training_reward="team_mean")
    learner.iterate()
    trained = learner.policy()
    moved = rebuild_policy(method, trained.spec(), trained.state_dict(), (0,), resized(SPREAD, 6))
    assert moved.act(torch.randn(2, 6, 36), moved.initial_state(2))[0].shape == (2, 6)


def test_instructions_can_begin_as_if_there_were_none():
    method, _ = network_method("zoo/tag-2ppo")
    config = method.configure({**SMALL, "encoder": "entities", "motor.instruction_gain": 0})
    learner = method.learner(SPREAD, config, (0,), total_frames=400, training_reward="team_mean")
    motor = learner.nets[-1]
    x = torch.randn(1, 5, 3, motor.reads.width)
    changed = x.clone()
    changed[..., 18:] += 1.0
    assert torch.equal(motor.policy(x), motor.policy(changed))
    changed[..., 0] += 1.0
    assert not torch.equal(motor.policy(x), motor.policy(changed))


def test_refusals_name_the_vertex():
    method, _ = network_method("zoo/tag-2ppo")
    assert "does not declare it" in method.impossible(REFERENCE, method.configure({"encoder": "entities"}))
    reason = method.impossible(REFERENCE, method.configure({"director.encoder": "entities"}))
    assert "vertex 'director'" in reason and "does not declare it" in reason
    both = method.configure({"motor.encoder": "entities", "normalise_observation": "running"})
    assert "expected normalise_observation: none, found running" in method.impossible(SPREAD, both)
    with pytest.raises(BadInput, match="one of plain, entities"):
        method.configure({"motor.encoder": "entity"})


def test_a_recipe_that_says_nothing_is_no_part_of_a_network():
    spec = network_method("zoo/tag-2ppo")[0].spec
    said = replace(spec.vertices[0], recipe=replace(spec.vertices[0].recipe, encoder="entities"))
    assert "encoder" not in spec.vertices[0].to_data() and said.to_data()["encoder"] == "entities"
