"""A three-level network of 7 vertices against its motors alone, side by side in one run (`-s` shows the figures).

Goal: at most twice the time of flat IPPO with separate parameters and the same motors, at 1,024 environments, one
thread. Nothing is asserted about time; seconds are this process's own, best of several rounds taken in turns.
"""

import time
from collections.abc import Iterator

import pytest
import torch

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import find_method
from rlnet_bench.networks.method import network_method

TASK, ENVS, STEPS, ROUNDS = "mpe/simple_spread-n4-discrete-v1", 1024, 25, 3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_three_levels_against_flat_ippo() -> None:
    methods = {"ippo": find_method("ippo"), "flat": network_method("zoo/flat")[0]}
    methods["tag-3ppo"] = network_method("zoo/tag-3ppo")[0]
    learners = {}
    for name, method in methods.items():
        settings = {"num_envs": ENVS, "rollout_steps": STEPS, "share_parameters": False}
        learners[name] = method.learner(
            task_card(TASK), method.configure(settings), (0,), total_frames=10**7, training_reward="team_mean"
        )
    best = dict.fromkeys(learners, float("inf"))
    for _ in range(ROUNDS):
        for name, learner in learners.items():
            start = time.process_time()
            learner.iterate()
            best[name] = min(best[name], time.process_time() - start)
    frames = ENVS * STEPS
    for name, seconds in best.items():
        print(f"\n{name:9s} {frames / seconds:9,.0f} frames/s  {seconds / best['ippo']:.2f} x the time of ippo", end="")
    print()
    assert len(learners["tag-3ppo"].graph.nodes) == 7  # type: ignore[attr-defined]
