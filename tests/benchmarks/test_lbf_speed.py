"""How much faster LBF steps here than in lbforaging, side by side in one run (`-s` shows the figures).

Goals for 8x8-2p-2f-coop, per environment step at 4,096 environments on one thread, resets included: 100 times
lbforaging without compilation, 270 with. Nothing is asserted about time. Rates are per second of processor time,
the best of several rounds taken in turns, so that a busy machine slows both sides alike.
``LBF_SPEED_TASKS`` (ids, comma separated) measures other tasks.
"""

import os
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.lbf import original as lbf_original
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput

pytest.importorskip("lbforaging", reason="lbforaging is not installed")

BATCH, ROUNDS, HORIZON = 4096, 5, 50
TASKS = os.environ.get("LBF_SPEED_TASKS", "lbf/8x8-2p-2f-coop-v1").split(",")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ours(task: str, compile: bool) -> Callable[[], tuple[int, float]]:
    """A round of 100 steps of everyone with uniform actions: (environment steps, seconds)."""
    card = task_card(task)
    keys = rng.env_keys([0], rng.Stream.USER, BATCH)
    env = make_env(card, BATCH, compile=compile)
    env.reset(keys)
    agent = torch.arange(card.num_agents)
    actions = [rng.integers(rng.fold(keys[:, None], step, agent), 6) for step in range(HORIZON)]

    def round_() -> tuple[int, float]:
        start = time.process_time()
        for _ in range(2):
            for action in actions:
                env.step(action)
        return 2 * HORIZON * BATCH, time.process_time() - start

    return round_


def original(task: str) -> Callable[[], tuple[int, float]]:
    """A round of 20 episodes of lbforaging, actions drawn beforehand."""
    card = task_card(task)
    env = lbf_original.original(card)
    keys, agent = rng.env_keys([0], rng.Stream.USER, HORIZON), torch.arange(card.num_agents)
    actions = rng.integers(rng.fold(keys[:, None], agent), 6).tolist()

    def round_() -> tuple[int, float]:
        count, start = 0, time.process_time()
        for _ in range(20):
            env.reset()
            for action in actions:
                count += 1
                if env.step(action)[2]:
                    break
        return count, time.process_time() - start

    return round_


@pytest.mark.parametrize("task", TASKS)
def test_stepping_against_lbforaging(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"lbforaging": original(task), "eager": ours(task, False), "compiled": ours(task, True)}
    for name, side in list(sides.items()):
        try:
            side()  # warm up; compiles
        except BadInput:  # no compiler here
            del sides[name]
    best = dict.fromkeys(sides, 0.0)
    for _ in range(ROUNDS):
        for name, side in sides.items():
            steps, seconds = side()
            best[name] = max(best[name], steps / seconds)
    with capsys.disabled():
        print(f"\n{task}, {BATCH} environments, one thread, environment steps per second:")
        print(f"  lbforaging {best['lbforaging']:>12,.0f}")
        for name, goal in (("eager", 100), ("compiled", 270)):
            if name not in best:
                continue
            ratio = best[name] / best["lbforaging"]
            print(f"  {name:<10} {best[name]:>12,.0f}  {ratio:>7,.0f} x lbforaging (goal {goal:,})")
