"""How fast a replay is read, against plain index_select of the same rows, side by side in one run (`-s` shows it).

Goal: 0.8 of the plain rate. Both gather every field that a learner reads of a step and of what came after it, for
five replicas and the eight updates of an iteration, into new tensors; the plain side is given its row numbers, the
replay draws them, and finds what came after an episode's end. Nothing is asserted about time; rates are per second
of processor time, best of several rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.replay import Replay

SEEDS, ENVS, CAPACITY, ROUNDS, CALLS, UPDATES = (0, 1, 2, 3, 4), 16, 3000, 7, 10, 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def filled(task: str) -> Replay:
    """A ring full of uniform play."""
    card = task_card(task)
    env = make_env(card, len(SEEDS) * ENVS)
    keys = rng.env_keys(SEEDS, rng.Stream.USER, ENVS)
    now, replay = env.reset(keys), Replay(card, SEEDS, ENVS, CAPACITY, state=True)
    agents = torch.arange(card.num_agents)
    for step in range(CAPACITY):
        action = rng.integers(rng.fold(keys[:, None], step, agents), card.action_size)
        replay.begin(now, action)
        after = env.step(action)
        replay.end(after)
        now = after  # type: ignore[assignment]
    return replay


def plain(replay: Replay, rows: int) -> Callable[[int], None]:
    """The same fields of random rows and of random others."""
    fields = {name: replay.flat[name] for name in ("action", "reward", "next")}
    twice = {name: replay.flat[name] for name in replay.seen}
    before, after = torch.randint(0, CAPACITY * len(SEEDS) * ENVS, (2, CALLS, UPDATES * len(SEEDS) * rows))

    def read(call: int) -> None:
        kept: list[Tensor] = [field.index_select(0, before[call]) for field in (*fields.values(), *twice.values())]
        kept += [field.index_select(0, after[call]) for field in twice.values()]

    return read


@pytest.mark.parametrize("rows", [64, 1024])
@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-v1", "mpe/simple_spread-discrete-v1"])
def test_reading_against_index_select(task: str, rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    replay = filled(task)
    sides = {
        "index_select": plain(replay, rows),
        "replay": lambda call: replay.transitions(range(call, call + UPDATES), rows, gamma=0.99) and None,
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(ROUNDS):
        for name, side in sides.items():
            start = time.process_time()
            for call in range(CALLS):
                side(call)
            best[name] = min(best[name], (time.process_time() - start) / CALLS)
    with capsys.disabled():
        print(f"\n{task}, {rows} rows x {len(SEEDS)} seeds, one thread:")
        for name, seconds in best.items():
            rate = UPDATES * rows * len(SEEDS) / seconds
            print(f"  {name:<13} {rate:>12,.0f} rows/s  {best['index_select'] / seconds:>5.2f} (goal 0.80)")
