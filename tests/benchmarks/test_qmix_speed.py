"""QMIX on LBF 8x8-2p-2f-coop against a plain serial loop over lbforaging, side by side in one run (`-s` shows it).

Goal: 8 times the plain loop. Both have the same batch, replay ratio, widths, double Q and optimiser, on one thread; the
plain loop has one environment and one seed, as published code has, ours the seeds of a group side by side. Nothing is
asserted about time; rates are per second of processor time, best of several rounds taken in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlnet_bench.envs.lbf import original as lbf_original
from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import find_method

pytest.importorskip("lbforaging", reason="lbforaging is not installed")

TASK, SEEDS, ROUNDS, SECONDS = "lbf/8x8-2p-2f-coop-v1", (0, 1, 2, 3, 4), 4, 2.0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(observations: Any) -> Tensor:
    """What lbforaging's agents see, [N, O]."""
    return torch.from_numpy(np.stack(observations)).float()


class Mixer(nn.Module):
    """QMIX's mixing network, plainly."""

    def __init__(self, agents: int, state: int, units: int, hyper: int) -> None:
        super().__init__()
        self.shape = agents, units
        self.w1 = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, agents * units))
        self.b1 = nn.Linear(state, units)
        self.w2 = nn.Sequential(nn.Linear(state, hyper), nn.ReLU(), nn.Linear(hyper, units))
        self.b2 = nn.Sequential(nn.Linear(state, units), nn.ReLU(), nn.Linear(units, 1))

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        w1 = self.w1(state).abs().view(-1, *self.shape)
        hidden = nn.functional.elu((q[:, None] @ w1).squeeze(1) + self.b1(state))
        return (hidden * self.w2(state).abs()).sum(-1, keepdim=True) + self.b2(state)


def plain(config: Any) -> Callable[[], tuple[int, float]]:
    """A round of the plain loop: (frames, seconds of processor time)."""
    card, env = task_card(TASK), lbf_original.original(task_card(TASK))
    n, o, a = card.num_agents, card.observation_size, card.action_size
    widths = (o + n, *config.hidden)
    layers: list[nn.Module] = []
    for i, j in zip(widths[:-1], widths[1:]):
        layers += [nn.Linear(i, j), nn.ReLU()]

    def networks() -> nn.ModuleList:
        q = nn.Sequential(*(type(x)(x.in_features, x.out_features) if isinstance(x, nn.Linear) else x for x in layers),
                          nn.Linear(widths[-1], a))  # fmt: skip
        return nn.ModuleList([q, Mixer(n, n * o, config.mixer_hidden, config.hyper_hidden)])

    online, target = networks(), networks()
    target.load_state_dict(online.state_dict())
    adam = torch.optim.Adam(online.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)
    size = config.buffer_size
    seen, after, acted = torch.zeros(size, n, o), torch.zeros(size, n, o), torch.zeros(size, n, dtype=torch.int64)
    reward, going = torch.zeros(size, 1), torch.zeros(size, 1)
    ids, each = torch.eye(n), config.iteration_frames // config.updates_per_iteration
    count, now = 0, read(env.reset(seed=0)[0])

    def learn() -> None:
        rows = torch.randint(0, min(count, size), (config.batch_size,))
        x, then = seen[rows], after[rows]
        wide = ids.expand(len(rows), n, n)
        value = online[0](torch.cat((x, wide), -1)).gather(-1, acted[rows][..., None]).squeeze(-1)
        with torch.no_grad():
            next_x = torch.cat((then, wide), -1)
            best = online[0](next_x).argmax(-1, keepdim=True)
            following = target[0](next_x).gather(-1, best).squeeze(-1)
            y = reward[rows] + config.gamma * going[rows] * target[1](following, then.flatten(1))
        loss = (online[1](value, x.flatten(1)) - y).square().mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(online.parameters(), config.max_grad_norm)
        adam.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters()):
                slow.lerp_(fast, config.target_tau)

    def round_() -> tuple[int, float]:
        nonlocal count, now
        start, before = time.process_time(), count
        while time.process_time() - start < SECONDS:
            if torch.rand(()) < 0.05:
                action = torch.randint(0, a, (n,))
            else:
                with torch.no_grad():
                    action = online[0](torch.cat((now, ids), -1)).argmax(-1)
            found, rewards, terminated, truncated, _ = env.step(action.tolist())
            then = read(found)
            place = count % size
            seen[place], acted[place], after[place] = now, action, then
            reward[place], going[place] = sum(rewards) / n, float(not terminated)
            now = read(env.reset()[0]) if terminated or truncated else then
            count += 1
            if count % each == 0:
                learn()
        return count - before, time.process_time() - start

    return round_


def ours(config: Any) -> Callable[[], tuple[int, float]]:
    """A round of the learner of a whole group."""
    method = find_method("qmix")
    learner = method.learner(task_card(TASK), config, SEEDS, total_frames=10**9, training_reward="team_mean")
    while not learner.updates:
        learner.iterate()

    def round_() -> tuple[int, float]:
        start, before = time.process_time(), learner.frames
        while time.process_time() - start < SECONDS:
            learner.iterate()
        return (learner.frames - before) * len(SEEDS), time.process_time() - start

    return round_


@pytest.mark.parametrize("batch", [32, 64, 128])
def test_against_a_plain_serial_loop(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    config = find_method("qmix").configure({"batch_size": batch, "n_step": 1})
    sides = {"plain": plain(config), "ours": ours(config)}
    best = dict.fromkeys(sides, 0.0)
    for _ in range(ROUNDS):
        for name, side in sides.items():
            frames, seconds = side()
            best[name] = max(best[name], frames / seconds)
    with capsys.disabled():
        each = f"{batch} rows, an update every {config.iteration_frames // config.updates_per_iteration} frames"
        print(f"\nQMIX on {TASK}, {each}, {len(SEEDS)} seeds against one, one thread, frames per second:")
        print(f"  plain serial loop {best['plain']:>10,.0f}")
        print(f"  ours              {best['ours']:>10,.0f}  {best['ours'] / best['plain']:>6.1f} x (goal 8)")
