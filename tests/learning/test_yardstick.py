"""Arithmetic per frame, counted by hand and by torch's own counter."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.stacked import StackedMLP, copy_keys
from rlnet_bench.learning.yardstick import gemm_rate, mlp_flop, ppo_flop, products_per_frame
from rlnet_bench.methods import find_method


def test_equals_what_torch_counts() -> None:
    sizes, rows = (7, 16, 12, 5), 11
    net = StackedMLP(sizes, copy_keys((0,), 1, 0))
    with FlopCounterMode(display=False) as counter:
        out = net(torch.randn(1, rows, 7))
    forward, both = mlp_flop(sizes)
    assert counter.get_total_flops() == forward * rows
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == (both - forward) * rows


def test_a_frame_of_ppo() -> None:
    # One hidden layer of 2: 2 (3 * 2 + 2 * 4) = 28 forward; 28 * 3 less the 12 of the first layer's input.
    assert mlp_flop((3, 2, 4)) == (28, 72)
    assert mlp_flop((5, 1)) == (10, 20)
    assert ppo_flop((3, 2, 4), (5, 1), agents=3, epochs=2) == 3 * (28 + 144) + 3 * (10 + 40)
    assert ppo_flop((3, 2, 4), (5, 1), agents=3, epochs=2, values=1) == 3 * (28 + 144) + 50


def test_an_iteration_makes_the_products_that_ppo_needs() -> None:
    card = task_card("mpe/simple_spread-discrete-v1")
    method = find_method("ippo")
    config = method.configure({"num_envs": 8, "rollout_steps": 100, "epochs": 2})
    learner = method.learner(card, config, (0, 1), total_frames=10**6, training_reward="team_mean")
    needed = ppo_flop((21, 64, 64, 5), (21, 64, 64, 1), agents=3, epochs=2)
    assert needed < products_per_frame(learner) < 1.05 * needed  # and the values of what follows a rollout


def test_the_machine_multiplies() -> None:
    assert gemm_rate(64, 0.01) > 0
