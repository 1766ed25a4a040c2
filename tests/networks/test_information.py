"""The execution class that the graph tells is the one that probing the policy finds."""

from __future__ import annotations

import pytest
import torch
from tiny import SMOOTH, learner

from rlnet_bench.learning.information import class_of, information_flow
from rlnet_bench.networks.build import Network, continuous, zoo_ids

CLASSES = {
    "flat": "D0", "lead-critic": "D0", "noise-director": "D0", "shuffled-director": "D0", "leader-follower": "D1",
    "bayes-net": "D1", "control-noise": "D0", "control-shuffled": "D0", "control-constant": "D0", "control-self": "D0",
}  # fmt: skip


@pytest.mark.parametrize("name", zoo_ids())
def test_structure_agrees_with_intervention(name: str) -> None:
    made = learner(name, SMOOTH, (0,))
    policy, graph = made.policy(), made.graph
    assert policy.execution_floor == graph.execution_class == CLASSES.get(name.removeprefix("zoo/"), "C")
    if name in ("zoo/shuffled-director", "zoo/control-shuffled"):
        return  # its agents depend on another environment's observations, which tell nothing about their own
    for key, tensor in policy.state_dict().items():  # so that nothing is too small to be seen
        if "weight" in key and "message" not in key and tensor.abs().max() < 0.1:
            tensor.mul_(100)
    probed = information_flow(policy, graph.card)
    known = torch.eye(3, dtype=torch.bool)
    acted = torch.eye(3, dtype=torch.bool)
    for x in graph.information:
        known[x.agent, list(x.observations)] = True
        acted[x.agent, list(x.actions)] = True
    if not any(x.actions for x in policy.graph.information):
        assert torch.equal(probed, known)
        assert class_of(probed) == graph.execution_class
    else:  # an action that is read tells of what it was chosen from
        for _ in range(3):
            acted = (acted.float() @ acted.float()) > 0
        assert bool((probed <= ((acted.float() @ known.float()) > 0)).all())
        assert bool((probed >= known).all())
    assert any(x.actions for x in graph.information) == (
        name in ("zoo/leader-follower", "zoo/bayes-net", "zoo/action-graph", "zoo/learned-graph")
    )


def test_observations_in_part_are_d2() -> None:
    spec = (
        Network("pairs")
        .vertex("boss", action=continuous(2))
        .motors("seen", agents=[0, 1])
        .motors("alone", agents=[2])
        .edge("boss", "seen")
        .build()
    )
    policy = learner(spec, SMOOTH, (0,)).policy()
    assert policy.execution_floor == class_of(information_flow(policy, policy.graph.card)) == "D2"
