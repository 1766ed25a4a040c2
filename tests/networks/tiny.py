"""Small learners that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import Method, find_method
from rlnet_bench.networks.build import Network, load_network
from rlnet_bench.networks.learner import NetworkLearner
from rlnet_bench.networks.method import method_from_json
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.vocabulary import TrainingReward

SPREAD = "mpe/simple_spread-discrete-v1"
SMOOTH = "mpe/simple_spread-continuous-v1"
MIXED = "mpe/simple_speaker_listener-continuous-v1"
WORDS = "mpe/simple_speaker_listener-discrete-v1"
LBF = "lbf/8x8-2p-2f-coop-v1"
TINY: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 12, "epochs": 2, "minibatches": 2, "hidden": (8,), "critic_hidden": (8,),
}  # fmt: skip
SMALL: dict[str, Any] = {"learning_starts": 48, "batch_size": 16, "buffer_size": 200}  # of methods at vertices


def learner(
    network: str | NetworkSpec,
    task: str = SPREAD,
    seeds: tuple[int, ...] = (0, 1),
    training_reward: TrainingReward = "team_mean",
    **settings: Any,
) -> Any:
    """A fresh learner of a network, every motor with parameters of its own (but CMAT), or, by id, of a baseline."""
    method: type[Method]
    if isinstance(network, str) and "/" not in network:
        method = find_method(network)
    else:
        spec = network if isinstance(network, NetworkSpec) else load_network(network)
        method = method_from_json(spec.to_json())
        small = {f"{v.name}.settings": SMALL for v in spec.vertices if v.method is not None and not v.settings.items}
        settings = {"share_parameters": spec.model == "cmat", **small, **settings}
    config = method.configure({**TINY, **settings})
    return method.learner(task_card(task), config, seeds, total_frames=100_000, training_reward=training_reward)


def trained(iterations: int, *arguments: Any, **settings: Any) -> Any:
    """A learner after a few iterations."""
    made = learner(*arguments, **settings)
    for _ in range(iterations):
        made.iterate()
    return made


def weights(made: Any) -> dict[str, Tensor]:
    """A copy of the acting weights."""
    return {k: v.clone() for k, v in made.policy().state_dict().items()}


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Names whose bits differ."""
    return sorted(k for k in a.keys() | b.keys() if k not in a or k not in b or not torch.equal(a[k], b[k]))


def random_network(seed: int, size: int = 12) -> NetworkSpec:
    """Any DAG: vertices in a line, each over some of the later ones, the last over every motor."""
    generator = torch.Generator().manual_seed(seed)
    net = Network(f"random-{seed}", hidden=[4])
    names = [f"v{i}" for i in range(size)]
    for name in names:
        net.vertex(name, action={"continuous": 2})
    net.motors("motor", message={"learned": 3})
    for i, name in enumerate(names):
        later = [n for n in names[i + 1 :] if torch.rand(1, generator=generator) < 0.4]
        for other in later or ["motor"]:
            net.edge(name, other)
        if later and torch.rand(1, generator=generator) < 0.2:
            net.edge(name, "motor")
    return net.build()


__all__ = ["NetworkLearner", "differing", "learner", "random_network", "trained", "weights"]
