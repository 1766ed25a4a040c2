"""A change of a method's numbers needs a new version: losses after two updates against stored ones.

When this fails because the numbers were meant to change, raise the method's `version` and run
`python tests/baselines/test_numbers.py` to print the new block.
"""

from __future__ import annotations

import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import find_method

# Everything is pinned: another default is another run id already, and needs no new version.
SETTINGS = {
    "num_envs": 4, "rollout_steps": 30, "epochs": 4, "minibatches": 2, "learning_rate": 0.01, "anneal": True,
    "gamma": 0.95, "gae_lambda": 0.95, "clip": 0.2, "entropy_weight": 0.01, "value_weight": 1.0, "max_grad_norm": 0.5,
    "normalise_advantage": "replica", "normalise_value": True, "share_parameters": True, "observe": "own",
    "hidden": [8], "critic_hidden": [8], "activation": "tanh",
}  # fmt: skip
TASKS = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1")
# (method, version, task) -> metrics of two replicas in the second iteration.
STORED: dict[tuple[str, int, str], dict[str, list[float]]] = {
    ("ippo", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.007118, -0.005936],
        "value_loss": [0.576945, 0.511992],
        "entropy": [1.592959, 1.591592],
        "clip_fraction": [0.010417, 0.001389],
        "gradient_norm": [0.151649, 0.156387],
    },
    ("ippo", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.017255, -0.011391],
        "value_loss": [0.507022, 0.680413],
        "entropy": [3.724558, 3.551497],
        "clip_fraction": [0.115625, 0.076042],
        "gradient_norm": [0.530763, 0.470538],
    },
    ("mappo", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.006314, -0.006443],
        "value_loss": [0.707233, 0.475166],
        "entropy": [1.592817, 1.590936],
        "clip_fraction": [0.005556, 0.002778],
        "gradient_norm": [0.150051, 0.147432],
    },
    ("mappo", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.015105, -0.010246],
        "value_loss": [0.541003, 0.800522],
        "entropy": [3.70967, 3.529445],
        "clip_fraction": [0.105208, 0.066667],
        "gradient_norm": [0.528335, 0.474714],
    },
}


def numbers(method: str, task: str) -> dict[str, list[float]]:
    """Metrics of seeds 0 and 1 in the second iteration."""
    found = find_method(method)
    config = found.configure({k: v for k, v in SETTINGS.items() if k in found.Config.model_fields})
    learner = found.learner(task_card(task), config, (0, 1), total_frames=1200, training_reward="team_mean")
    learner.iterate()
    return {name: value.tolist() for name, value in learner.iterate().items()}


@pytest.mark.parametrize("key", list(STORED), ids=lambda key: f"{key[0]}-v{key[1]}-{key[2]}")
def test_numbers_are_those_of_this_version(key: tuple[str, int, str]) -> None:
    method, version, task = key
    assert find_method(method).version == version, "a new version: store its numbers here (see above)"
    found = numbers(method, task)
    for name, expected in STORED[key].items():
        assert found[name] == pytest.approx(expected, rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("method", ["ippo", "mappo"])
def test_every_task_of_the_fingerprint_is_stored(method: str) -> None:
    assert {k[2] for k in STORED if k[0] == method} == set(TASKS)


if __name__ == "__main__":
    for m in ("ippo", "mappo"):
        for t in TASKS:
            rounded = {k: [round(x, 6) for x in v] for k, v in numbers(m, t).items()}
            print(f"    {(m, find_method(m).version, t)}: {rounded},")
