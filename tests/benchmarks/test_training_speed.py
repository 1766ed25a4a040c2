"""IPPO end to end against its own PPO update, side by side in one run (`-s` shows the figures).

The update alone is what JaxMARL's settings cost whatever the environment: 128 steps, 4 epochs x 4 minibatches,
64-64 tanh. Goals on one thread: end to end at least 0.65 of its speed with 256 environments, 0.40 with 16.
Nothing is asserted about time. Rates are the best of several rounds taken in turns and in seconds of this
process's CPU, so that a busy machine slows both sides alike.

The absolute yardstick is arithmetic efficiency: frames/s x operations per frame over the rate of matrix products.
Against JaxMARL and BenchMARL themselves: ``make peers``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.learning.yardstick import gemm_rate, products_per_frame
from rlnet_bench.methods import find_method

TASK, STEPS, ROUNDS = "mpe/simple_spread-discrete-v1", 128, 5
GOALS, EFFICIENCY = {256: 0.65, 16: 0.40}, 0.34


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learner(num_envs: int, replicas: int = 1) -> TeamLearner:
    config = PpoConfig(
        num_envs=num_envs, rollout_steps=STEPS, epochs=4, minibatches=4, hidden=(64, 64), critic_hidden=(64, 64),
        activation="tanh",
    )  # fmt: skip
    seeds = tuple(range(replicas))
    made: TeamLearner = find_method("ippo").learner_class()(
        make_env(TASK, replicas * num_envs), seeds, config, training_reward="team_mean", total_frames=10**9
    )
    return made


def rates(made: TeamLearner) -> dict[str, float]:
    """Frames per second of a rollout, of an update, and of both, all replicas together."""
    frames = made.frames_per_iteration * len(made.seeds)
    made.iterate()
    best = dict.fromkeys(("collect", "update", "iterate"), float("inf"))
    for _ in range(max(ROUNDS, 8192 // frames)):
        for name in best:
            start = time.process_time()
            getattr(made, name)()
            best[name] = min(best[name], time.process_time() - start)
    return {name: frames / seconds for name, seconds in best.items()}


@pytest.mark.parametrize("num_envs", GOALS)
def test_end_to_end_against_the_update_alone(num_envs: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = rates(learner(num_envs))
    with capsys.disabled():
        print(f"\nIPPO on {TASK}, {num_envs} environments, one thread, frames per second of CPU time:")
        print(f"  rollout alone {found['collect']:>10,.0f}")
        print(f"  update alone  {found['update']:>10,.0f}")
        ratio, goal = found["iterate"] / found["update"], GOALS[num_envs]
        print(f"  end to end    {found['iterate']:>10,.0f}  {ratio:.2f} of the update alone (goal {goal:.2f})")
        efficiency = found["iterate"] * products_per_frame(learner(num_envs)) / gemm_rate()
        print(f"  arithmetic efficiency {efficiency:.2f} of this machine's matrix products (goal {EFFICIENCY:.2f})")


def test_replicas_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """Five seeds in one learner against one, 16 environments each: what stacking them gains."""
    one, five = rates(learner(16)), rates(learner(16, 5))
    with capsys.disabled():
        print(f"\nIPPO on {TASK}, 16 environments per seed: {one['iterate']:,.0f} frames/s for one seed, "
              f"{five['iterate']:,.0f} for five side by side ({five['iterate'] / one['iterate']:.2f} x)")  # fmt: skip
