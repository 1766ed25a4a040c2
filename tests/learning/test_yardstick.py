"""Arithmetic per frame, counted by torch and by hand."""

from __future__ import annotations

from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.yardstick import gemm_rate, products_per_frame
from rlnet_bench.methods import find_method


def mlp(rows: int, epochs: int, *sizes: int) -> int:
    """A network once in the rollout, then forward and backward in every epoch, of which nothing needs the gradient of
    what the first layer reads."""
    products = [2 * a * b for a, b in zip(sizes[:-1], sizes[1:])]
    return rows * (sum(products) + epochs * (3 * sum(products) - products[0]))


def test_an_iteration_makes_the_products_that_ppo_needs() -> None:
    # One hidden layer of 2: 2 (3 * 2 + 2 * 4) = 28 forward; 28 * 3 less the 12 of the first layer's input.
    assert mlp(3, 2, 3, 2, 4) == 3 * (28 + 2 * 72)
    card = task_card("mpe/simple_spread-discrete-v1")
    method = find_method("ippo")
    config = method.configure({"num_envs": 8, "rollout_steps": 100, "epochs": 2})
    learner = method.learner(card, config, (0, 1), total_frames=10**6, training_reward="team_mean")
    needed = mlp(3, 2, 21, 64, 64, 5) + mlp(3, 2, 21, 64, 64, 1)
    assert needed < products_per_frame(learner) < 1.05 * needed  # and the values of what follows a rollout


def test_the_machine_multiplies() -> None:
    assert gemm_rate(64, 0.01) > 0
