"""IPPO end to end against the PPO update alone, on spread, measured in one run (evaluation off).

128 steps, 4 epochs x 4 minibatches, 64-64 tanh, one replica. Goals: end to end at least 0.65 of the speed of
the update alone with 256 environments, 0.40 with 16. For orientation, JaxMARL's IPPO on two quiet cores: 44,600
(256) and 47,700 (16) frames per second. Figures are per CPU second of this process, so that other processes
disturb them less; no test asserts seconds.
"""

from __future__ import annotations

import time

import pytest
import torch

from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.ppo import PpoLearner

JAXMARL = {256: 44_600, 16: 47_700}
GOAL = {256: 0.65, 16: 0.40}


@pytest.mark.slow
@pytest.mark.parametrize("environments", [256, 16])
def test_end_to_end_against_the_update_alone(environments: int, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    config = PpoConfig(num_envs=environments, rollout_steps=128)
    env = make_env("mpe/simple_spread-discrete-v1", environments)
    learner = PpoLearner(env, (0,), config, critic="observation", training_reward="team_mean", total_frames=10**9)
    learner.iterate()
    repeats = max(3, 1024 // environments)
    updating, started = 0.0, time.process_time()
    for _ in range(repeats):
        learner.collect()
        before = time.process_time()
        learner.update()
        updating += time.process_time() - before
        learner.frames += learner.frames_per_iteration
        learner.updates += 1
    total = time.process_time() - started
    frames = repeats * learner.frames_per_iteration
    with capsys.disabled():
        print(
            f"\nIPPO on spread, {environments} environments: {frames / total:,.0f} frames/s end to end, "
            f"{frames / updating:,.0f} updating alone: {updating / total:.2f} (goal {GOAL[environments]:.2f}); "
            f"JaxMARL on two cores: {JAXMARL[environments]:,}"
        )
    assert 0 < updating < total
