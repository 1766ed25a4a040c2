"""How much faster simple_spread steps here than in mpe2, side by side in one run (`-s` shows the figures).

Goals, per environment step at 4,096 environments on one thread: 300 times mpe2 without compilation, 1,200
with. Nothing is asserted about time. Rates are per second of this process's own time (it has one thread), best
of several rounds taken in turns, so that a busy machine slows both sides alike.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.mpe.policies import uniform_actions
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
mpe2 = pytest.importorskip("mpe2.simple_spread_v3", reason="mpe2 is not installed")

BATCH, ROUNDS = 4096, 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ours(task: str, compile: bool, batch: int = BATCH) -> Callable[[], tuple[int, float]]:
    """A round of 10 episodes, resets included: (environment steps, seconds)."""
    card = task_card(task)
    keys = rng.env_keys([0], rng.Stream.USER, batch)
    env = make_env(card, batch, compile=compile)
    env.reset(keys)
    actions = [uniform_actions(rng.fold(keys, step), card) for step in range(card.horizon)]

    def round_() -> tuple[int, float]:
        start = time.process_time()
        for _ in range(10):
            for action in actions:
                env.step(action)
        return 10 * card.horizon * batch, time.process_time() - start

    return round_


def original(task: str) -> Callable[[], tuple[int, float]]:
    """A round of 60 episodes of mpe2's parallel environment, actions drawn beforehand."""
    card = task_card(task)
    env: Any = mpe2.parallel_env(N=card.num_agents, continuous_actions=card.action_kind == "continuous")
    drawn = uniform_actions(rng.env_keys([0], rng.Stream.USER, card.horizon), card).numpy()
    actions = [
        {name: int(a) if card.action_kind == "discrete" else a for name, a in zip(card.agents, row)} for row in drawn
    ]

    def round_() -> tuple[int, float]:
        start = time.process_time()
        for _ in range(60):
            env.reset()
            for action in actions:
                env.step(action)
        return 60 * card.horizon, time.process_time() - start

    return round_


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_spread_stepping_against_mpe2(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = f"mpe/simple_spread-{kind}-v1"
    sides = {"mpe2": original(task), "eager": ours(task, False), "compiled": ours(task, True)}
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
        print(f"\n{task}, {BATCH} environments, one thread, environment steps per CPU second:")
        print(f"  mpe2      {best['mpe2']:>12,.0f}")
        for name, goal in (("eager", 300), ("compiled", 1200)):
            if name not in best:
                continue
            ratio = best[name] / best["mpe2"]
            print(f"  {name:<9} {best[name]:>12,.0f}  {ratio:>7,.0f} x mpe2 (goal {goal:,})")


def test_spread_stepping_in_small_batches_and_with_many_agents(capsys: pytest.CaptureFixture[str]) -> None:
    """What a small batch costs is calls, not arithmetic; what twenty agents cost is their pairs."""
    task = "mpe/simple_spread{}-discrete-v1".format
    sides = {
        "3 agents, 16 environments": ours(task(""), False, 16),
        "3 agents, 16 environments, compiled": ours(task(""), True, 16),
        **{f"{n} agents, {b} environments": ours(task(f"-n{n}"), False, b) for b in (16, 256) for n in (10, 20)},
    }
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
        print("\nsimple_spread, one thread, environment steps per CPU second:")
        for name, rate in best.items():
            print(f"  {name:<37} {rate:>10,.0f}")
        for b in (16, 256):
            ratio = best[f"10 agents, {b} environments"] / best[f"20 agents, {b} environments"]
            print(f"  20 agents take {ratio:.1f}x the time of 10 at {b} environments (goal 3)")
