"""A change of a method's numbers needs a new version: losses after two updates against stored ones.

When this fails because the numbers were meant to change, raise the method's `version` and run
`python tests/baselines/test_numbers.py` to print the new block.
"""

from __future__ import annotations

import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import Method, find_method
from rlnet_bench.networks.method import network_method

# Everything is pinned: another default is another run id already, and needs no new version.
SETTINGS = {
    "num_envs": 4, "rollout_steps": 30, "epochs": 4, "minibatches": 2, "learning_rate": 0.01, "anneal": True,
    "gamma": 0.95, "gae_lambda": 0.95, "clip": 0.2, "entropy_weight": 0.01, "value_weight": 1.0, "max_grad_norm": 0.5,
    "normalise_advantage": "replica", "normalise_value": True, "share_parameters": True, "observe": "own",
    "hidden": [8], "critic_hidden": [8], "activation": "tanh",
    "updates_per_iteration": 2, "batch_size": 16, "buffer_size": 200, "learning_starts": 100, "n_step": 2,
    "target_tau": 0.1, "target_every": 1, "sequence_length": 6, "burn_in": 3, "epsilon_start": 1.0, "epsilon_end": 0.1,
    "epsilon_share": 0.5, "double_q": True, "mixer_hidden": 8, "hyper_hidden": 8,
}  # fmt: skip
NAMES = ("ippo", "mappo", "ippo gru", "mappo gru", "zoo/tag-3ppo", "iql", "vdn", "qmix", "qmix gru")
TASKS = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1")
DISCRETE = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-discrete-v1")
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
        "value_loss": [0.507022, 0.680414],
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
        "value_loss": [0.541004, 0.800522],
        "entropy": [3.70967, 3.529444],
        "clip_fraction": [0.105208, 0.066667],
        "gradient_norm": [0.528335, 0.474714],
    },
    ("ippo gru", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.009507, -0.007803],
        "value_loss": [0.569903, 0.495547],
        "entropy": [1.576399, 1.592694],
        "clip_fraction": [0.084028, 0.002778],
        "gradient_norm": [0.131298, 0.132103],
    },
    ("ippo gru", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.013562, -0.009657],
        "value_loss": [0.629828, 0.867577],
        "entropy": [3.683626, 3.506189],
        "clip_fraction": [0.11875, 0.070833],
        "gradient_norm": [0.418514, 0.401196],
    },
    ("mappo gru", 2, "mpe/simple_spread-discrete-v1"): {
        "policy_loss": [-0.008222, -0.009672],
        "value_loss": [0.7049, 0.595605],
        "entropy": [1.579353, 1.59324],
        "clip_fraction": [0.055556, 0.006944],
        "gradient_norm": [0.134123, 0.1353],
    },
    ("mappo gru", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "policy_loss": [-0.012841, -0.0105],
        "value_loss": [0.597902, 0.754482],
        "entropy": [3.677794, 3.50562],
        "clip_fraction": [0.115625, 0.059375],
        "gradient_norm": [0.438395, 0.398838],
    },
    ("zoo/tag-3ppo", 2, "mpe/simple_spread-discrete-v1"): {
        "director.policy_loss": [-0.03842, -0.05109],
        "director.value_loss": [0.52823, 0.605973],
        "director.entropy": [7.299341, 7.650504],
        "director.clip_fraction": [0.231106, 0.287642],
        "director.gradient_norm": [1.368658, 1.17393],
        "manager#1.policy_loss": [-0.030313, -0.03765],
        "manager#1.value_loss": [0.654124, 0.560949],
        "manager#1.entropy": [7.402278, 7.463474],
        "manager#1.clip_fraction": [0.160417, 0.145833],
        "manager#1.gradient_norm": [1.054231, 1.024282],
        "manager#2.policy_loss": [-0.040622, -0.048765],
        "manager#2.value_loss": [0.622597, 0.706868],
        "manager#2.entropy": [7.428756, 7.512844],
        "manager#2.clip_fraction": [0.197917, 0.177083],
        "manager#2.gradient_norm": [0.94172, 1.023266],
        "policy_loss": [-0.007124, -0.00796],
        "value_loss": [0.708443, 0.549917],
        "entropy": [1.594037, 1.599405],
        "clip_fraction": [0.002083, 0.003472],
        "gradient_norm": [0.150513, 0.15605],
    },
    ("zoo/tag-3ppo", 2, "mpe/simple_speaker_listener-continuous-v1"): {
        "director.policy_loss": [-0.04648, -0.037106],
        "director.value_loss": [0.549053, 0.861105],
        "director.entropy": [7.398328, 7.126712],
        "director.clip_fraction": [0.287081, 0.251904],
        "director.gradient_norm": [1.385424, 1.288648],
        "manager#1.policy_loss": [-0.036022, -0.035407],
        "manager#1.value_loss": [0.568268, 0.925409],
        "manager#1.entropy": [7.43891, 7.495817],
        "manager#1.clip_fraction": [0.15625, 0.10625],
        "manager#1.gradient_norm": [0.783234, 0.8926],
        "manager#2.policy_loss": [-0.029745, -0.037084],
        "manager#2.value_loss": [0.59013, 0.953516],
        "manager#2.entropy": [7.402432, 7.469338],
        "manager#2.clip_fraction": [0.208333, 0.1375],
        "manager#2.gradient_norm": [1.030736, 0.966014],
        "policy_loss": [-0.019105, -0.01112],
        "value_loss": [0.548768, 0.709],
        "entropy": [3.735803, 3.555513],
        "clip_fraction": [0.11875, 0.040625],
        "gradient_norm": [0.510515, 0.490269],
    },
    ("iql", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [9.897147, 4.513309],
        "value": [-0.05038, -0.041395],
        "gradient_norm": [4.249485, 2.476189],
    },
    ("iql", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [39.131702, 10.109731],
        "value": [-0.055357, -0.063854],
        "gradient_norm": [7.89151, 3.370948],
    },
    ("vdn", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [9.370127, 4.131497],
        "value": [-0.050197, -0.040732],
        "gradient_norm": [12.344042, 7.005731],
    },
    ("vdn", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [38.574245, 9.876017],
        "value": [-0.055332, -0.063846],
        "gradient_norm": [15.644436, 6.591217],
    },
    ("qmix", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [9.926113, 3.538208],
        "value": [-0.035751, -0.035413],
        "gradient_norm": [13.849319, 7.264931],
    },
    ("qmix", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [36.348728, 9.78546],
        "value": [-0.055014, -0.061065],
        "gradient_norm": [23.929279, 8.504018],
    },
    ("qmix gru", 1, "mpe/simple_spread-discrete-v1"): {
        "loss": [5.938422, 3.55831],
        "value": [-0.041028, -0.037488],
        "gradient_norm": [9.958811, 7.629747],
    },
    ("qmix gru", 1, "mpe/simple_speaker_listener-discrete-v1"): {
        "loss": [28.637987, 5.289132],
        "value": [-0.046941, -0.07985],
        "gradient_norm": [20.226986, 5.749212],
    },
}


def method_of(name: str) -> type[Method]:
    """A baseline, or a network of the zoo."""
    return network_method(name)[0] if name.startswith("zoo/") else find_method(name)


def tasks_of(name: str) -> tuple[str, ...]:
    """Two tasks that it can run on."""
    return TASKS if method_of(name.split()[0]).capabilities.continuous else DISCRETE


def numbers(name: str, task: str) -> dict[str, list[float]]:
    """Metrics of seeds 0 and 1 in the second iteration; ``NAME gru`` remembers."""
    method, _, memory = name.partition(" ")
    found = method_of(method)
    settings = {k: v for k, v in SETTINGS.items() if k in found.Config.model_fields}
    config = found.configure(settings | ({"memory": memory} if memory else {}))
    learner = found.learner(task_card(task), config, (0, 1), total_frames=1200, training_reward="team_mean")
    learner.iterate()
    return {name: value.tolist() for name, value in learner.iterate().items()}


@pytest.mark.parametrize("key", list(STORED), ids=lambda key: f"{key[0]}-v{key[1]}-{key[2]}")
def test_numbers_are_those_of_this_version(key: tuple[str, int, str]) -> None:
    name, version, task = key
    assert method_of(name.split()[0]).version == version, "a new version: store its numbers here (see above)"
    found = numbers(name, task)
    assert found.keys() == STORED[key].keys()
    for metric, expected in STORED[key].items():
        assert found[metric] == pytest.approx(expected, rel=1e-4, abs=1e-4), metric


@pytest.mark.parametrize("name", NAMES)
def test_every_task_of_the_fingerprint_is_stored(name: str) -> None:
    assert {k[2] for k in STORED if k[0] == name} == set(tasks_of(name))


if __name__ == "__main__":
    for n in NAMES:
        for t in tasks_of(n):
            rounded = {k: [round(x, 6) for x in v] for k, v in numbers(n, t).items()}
            print(f"    {(n, method_of(n.split()[0]).version, t)}: {rounded},")
