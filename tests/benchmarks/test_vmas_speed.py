"""What the VMAS adapter costs, in turns with the package's own ``env.step`` in one run (`-s` shows the figures).

Goals: at most 5 % on steps on which no episode ends (below 1 the adapter is the faster one: it leaves numpy's
random stream where it is), and one merged reset at the price of about one full reset, however many episodes
end. Nothing is asserted about time. Times are of the processor, so that a busy machine slows both sides alike.
``VMAS_SPEED_TASKS`` (ids, comma separated) and ``VMAS_SPEED_ENVS`` measure others.
"""

import dataclasses
import os
import statistics
import time

import pytest
import torch

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.envs.vmas import state as vmas_state

vmas = pytest.importorskip("vmas", reason="vmas is not installed")

NAMES = ("wheel", "transport", "give_way", "navigation-shared")  # they do not end before the horizon
TASKS = os.environ.get("VMAS_SPEED_TASKS", ",".join(f"vmas/{n}-continuous-v1" for n in NAMES)).split(",")
ENVS = [int(n) for n in os.environ.get("VMAS_SPEED_ENVS", "64,600").split(",")]
ROUNDS, STEPS = 40, 4


def timed(call) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("count", ENVS)
def test_steps_without_ended_episodes(task, count):
    card = dataclasses.replace(task_card(task), horizon=10**6)
    arguments = dict(card.constructor)
    plain = vmas.make_env(
        arguments.pop("scenario"), num_envs=count, max_steps=card.horizon, terminated_truncated=True, seed=0,
        continuous_actions=card.action_kind == "continuous", **arguments,
    )  # fmt: skip
    ours = make_env(card, count)
    plain.step(plain.get_random_actions())
    ours.reset(torch.arange(count))
    ours.step(torch.zeros(count, card.num_agents, card.action_size))
    # What a step costs depends on who touches whom: both worlds must be the same.
    vmas_state.restore(plain, vmas_state.capture(ours.env), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    theirs_s, ours_s = [], []
    for _ in range(ROUNDS):
        shape = (STEPS, count, card.num_agents, card.action_size)
        rows = (torch.rand(shape, generator=generator) * 2 - 1) * card.action_high
        lists = [[row[:, i] for i in range(card.num_agents)] for row in rows]
        theirs_s.append(timed(lambda lists=lists: [plain.step(parts) for parts in lists]))
        ours_s.append(timed(lambda rows=rows: [ours.step(row) for row in rows]))
    ratio = statistics.median(a / b for a, b in zip(ours_s, theirs_s))
    print(
        f"\n{task} B={count}: vmas {1e3 * statistics.median(theirs_s) / STEPS:.2f} ms a step, "
        f"adapter {ratio - 1:+.1%} (best round {min(ours_s) / min(theirs_s) - 1:+.1%})"
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", [f"vmas/{n}-continuous-v1" for n in ("balance", "transport", "joint_passage")])
def test_ended_episodes_cost_one_reset(task):
    card, count = dataclasses.replace(task_card(task), can_terminate=False), 600
    ours = make_env(card, count)
    ours.reset(torch.arange(count))
    idle = torch.zeros(count, card.num_agents, card.action_size)
    ours.step(idle)
    moment, full = ours.state_dict(), []
    for _ in range(10):
        with ours.stream:
            full.append(timed(lambda: ours._reset(ours.env)))
    spent = {}
    for ended in (0, 1, 60, 599):
        rounds = []
        for _ in range(6):
            ours.load_state_dict(moment)
            ours.env.steps[:ended] = card.horizon - 1
            rounds.append(timed(lambda: ours.step(idle)))
        spent[ended] = min(rounds)
    extra = ", ".join(f"{n}: {1e3 * (s - spent[0]):+.2f} ms" for n, s in spent.items() if n)
    print(f"\n{task} B={count}: a full reset {1e3 * min(full):.2f} ms; a step on which so many episodes end {extra}")
