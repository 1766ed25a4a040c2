"""Edges that round or lose what goes over them, while training and when evaluated."""

from __future__ import annotations

import pytest
import torch
from tiny import LBF, SMOOTH, SPREAD, differing, learner, trained, weights

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.networks.build import Network, continuous, learned, load_network
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.method import changed, method_from_json
from rlnet_bench.networks.refuse import unsupported
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.checkpoint import flatten, unflatten


def two(**edge: object) -> NetworkSpec:
    """A director that hears learned messages and instructs the motors."""
    net = Network("two").vertex("boss", action=continuous(3)).motors("motor", message=learned(2))
    return net.edge("boss", "motor", **edge).build()


def test_the_language() -> None:
    spec = two(bits=4, drop=0.25)
    assert spec.edges[0].bits == 4 and spec.edges[0].drop == 0.25
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec
    for options, words in {
        "bits: 0": "`bits`: expected a whole number from 1 to 16, found 0",
        "drop: 1": "`drop`: expected a number from 0 to 0.99, found 1",
        "dorp: 0.5": "Did you mean 'drop'?",
    }.items():
        text = f"name: x\nvertices:\n  a: {{}}\n  m: {{per_agent: true}}\nedges:\n  - a -> m: {{{options}}}\n"
        with pytest.raises(BadInput, match="<text>:6: ") as error:
            NetworkSpec.from_yaml(text)
        assert words in str(error.value)


def test_bits_are_counted() -> None:
    wide, narrow = (expand(two(**x), task_card(SPREAD)) for x in ({}, {"bits": 4}))
    assert narrow.bits_up == wide.bits_up / 8 and narrow.bits_down == wide.bits_down / 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"director -> motor.bits": 2}, "sends up `message: identity`"),
        ({"director -> motor.drop": 0.5, "director.gradient": "through"}, "do not go together yet"),
        ({"director -> motor.drop": 0.5, "director.message": "mean"}, "`message: mean`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_edge(change: dict[str, object], words: str) -> None:
    reason = unsupported(expand(changed(load_network("zoo/tag-2ppo"), change), task_card(SPREAD)))
    assert reason is not None and words in reason and "edge director -> motor[0]" in reason


def test_what_is_read_is_rounded() -> None:
    made = learner(two(bits=2), seeds=(0,))
    made.collect()
    boss, motors = (b.features[0, 0] for b in made.rollout.stacks)
    levels = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    for heard in (boss, motors[..., -3:]):
        assert bool(torch.isin(heard, levels).all()) and len(heard.unique()) > 1
    sent = torch.tanh(made.rollout.stacks[0].own[0, 0])
    assert float((motors[..., -3:] - sent).abs().max()) <= 0.25 + 1e-6
    assert not bool(torch.isin(motors[..., :18], levels).all())


def test_edges_lose_what_they_carry_step_by_step() -> None:
    made = learner(two(drop=0.4), seeds=(0, 1), num_envs=64, rollout_steps=40)
    made.collect()
    boss, motors = made.rollout.stacks
    lost = (motors.features[:-1, ..., -3:] == 0).all(dim=-1)  # [T, R, B, K]
    assert 0.37 < float(lost.float().mean()) < 0.43
    assert bool((lost == (motors.features[:-1, ..., -3:] == 0).any(dim=-1)).all())  # all of it or nothing
    assert not bool((lost[..., 0] == lost[..., 1]).all())  # each edge for itself
    heard = boss.features[:-1].unflatten(-1, (3, 2))[..., 0, :, :] if boss.features.shape[3] == 1 else None
    assert heard is not None
    up = (heard == 0).all(dim=-1)
    assert torch.equal(up, lost)  # an edge is down in both directions
    again = learner(two(drop=0.4), seeds=(1,), num_envs=64, rollout_steps=40)
    again.collect()
    other = (again.rollout.stacks[1].features[:-1, ..., -3:] == 0).all(dim=-1)
    assert torch.equal(other[:, 0], lost[:, 1])  # by counter: a replica alone loses the same


def test_a_way_of_two_edges_loses_more() -> None:
    spec = changed(load_network("zoo/tag-3ppo"), {"director -> manager.drop": 0.5, "manager -> motor.drop": 0.5})
    made = learner(spec, seeds=(0,), num_envs=64, rollout_steps=40)
    made.collect()
    director = made.rollout.stacks[0]
    read = director.features[:-1][director.due[:-1]].unflatten(-1, (3, 18))  # where it decides
    lost = (read == 0).all(dim=-1).float().mean()
    assert 0.7 < float(lost) < 0.8


def test_evaluation_loses_too_and_repeats() -> None:
    policy = learner(two(drop=0.5), SMOOTH).policy()
    for tensor in policy.state_dict().values():
        tensor.mul_(10)
    observation = torch.randn(8, 3, 18)
    state = policy.initial_state(8)
    first, second = (policy.act(observation, state._replace(step=state.step + k))[0] for k in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, policy.act(observation, state)[0])


@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_training_continues_to_the_bit_and_each_key_matters(task: str) -> None:
    spec = two(drop=0.3, bits=3)
    one, other = trained(2, spec, task), learner(spec, task)
    other.load_state_dict(unflatten(*flatten(one.state_dict())))
    for made in (one, other):
        made.iterate()
    assert differing(weights(one), weights(other)) == []
    for less in (two(drop=0.3), two(bits=3)):
        assert differing(weights(trained(2, less, task)), weights(trained(2, spec, task)))
    method = method_from_json(spec.to_json())
    assert method.impossible(task_card(task), method.configure({})) is None
