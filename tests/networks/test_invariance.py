"""Names change no bit of training, and the order of declarations nothing beyond rounding."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny import LBF, SPREAD, differing, learner, random_network, weights
from torch import Tensor

from rlnet_bench.learning.play import evaluate
from rlnet_bench.networks.build import Network, continuous, load_network
from rlnet_bench.networks.build import learned as learned_message
from rlnet_bench.networks.spec import NetworkSpec


def crew() -> NetworkSpec:
    """Several declarations on every level, motors too; two of them differ in nothing but whom they lead."""
    return (
        Network("crew", hidden=[8])
        .vertex("head", action=continuous(3), period=2)
        .vertex("north", action=continuous(2), message=learned_message(2))
        .vertex("south", action=continuous(2), message=learned_message(2))
        .vertex("bird", action=continuous(2), message="none", critic="subtree")
        .motors("first", [0], message=learned_message(3))
        .motors("others", "rest", message=learned_message(3))
        .edge("head", "north")
        .edge("head", "south", weight="learned")
        .edge("north", "first")
        .edge("south", "others")
        .edge("north", "others")
        .edge("bird", "others", delay=1)
        .edge("first", "others", carry="instructions")
        .build()
    )


NETWORKS = {
    **{n: load_network(f"zoo/{n}") for n in ("tag-3ppo", "bridged-3ppo", "multi-parent", "messenger", "diamond")},
    "crew": crew(),
    "random": random_network(3, 6),
}


def renamed(spec: NetworkSpec) -> NetworkSpec:
    """The same network whose names sort the other way round."""
    new = {v.name: f"n{len(spec.vertices) - i:02d}" for i, v in enumerate(spec.vertices)}
    vertices = tuple(dataclasses.replace(v, name=new[v.name]) for v in spec.vertices)
    edges = tuple(dataclasses.replace(e, superior=new[e.superior], subordinate=new[e.subordinate]) for e in spec.edges)
    return NetworkSpec.from_yaml(dataclasses.replace(spec, name="other", vertices=vertices, edges=edges).to_yaml())


def reordered(spec: NetworkSpec) -> NetworkSpec:
    """The same network declared from its end to its beginning."""
    return NetworkSpec.from_yaml(
        dataclasses.replace(spec, vertices=spec.vertices[::-1], edges=spec.edges[::-1]).to_yaml()
    )


def story(spec: NetworkSpec, task: str) -> dict[str, Tensor]:
    """Metrics of three iterations, weights after each and returns at the end, named by canonical place."""
    made: Any = learner(spec, task)
    out: dict[str, Tensor] = {}
    for i in range(3):
        out |= {f"{i} metric {n}": x.clone() for n, x in enumerate(made.iterate().values())}
        out |= {f"{i} {name}": x for name, x in weights(made).items()}
        out |= {f"{i} parameter {n}": p.detach().clone() for n, p in enumerate(made.optimiser.parameters)}
    played = evaluate(made.policy(), made.env.card, (0, 1), 3, mode="sampled")
    return {**out, "returns": torch.from_numpy(played.returns)}


@pytest.mark.parametrize("task", [SPREAD, LBF])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_depends_on_no_name_and_no_order(name: str, task: str) -> None:
    plain = story(NETWORKS[name], task)
    assert differing(plain, story(renamed(NETWORKS[name]), task)) == []
    other = story(reordered(NETWORKS[name]), task)
    assert plain.keys() == other.keys()
    assert [k for k in plain if not torch.allclose(plain[k], other[k], rtol=1e-5, atol=1e-5)] == []
