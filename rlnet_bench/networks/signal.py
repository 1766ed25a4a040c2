"""How much of an instruction tells something about the environment, and how much of it is noise; by intervention.

Every situation of a random walk is put to the network many times, with other noise and among other neighbours each
time. What stays the same is *signal*, the rest is *noise* (another environment's instruction is noise, too).

Axes: **R** replicas, **M** repetitions, **B** situations, **K** vertices of a stack, **D** numbers of an instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.information import SITUATIONS, situations
from rlnet_bench.networks.policy import NetworkPolicy

REPETITIONS = 32


@dataclass(frozen=True)
class Signal:
    """Of the instructions of a stack: standard deviations, averaged (as variances) over replicas, members and numbers.

    ``trains``: while it trains, actions sampled; else as it is evaluated, with the most likely actions.
    """

    name: str
    trains: bool
    signal: float
    noise: float

    @property
    def ratio(self) -> float:
        """Signal to noise, of variances; inf without noise, 0 without signal."""
        if self.signal == 0.0:
            return 0.0
        return (self.signal / self.noise) ** 2 if self.noise else float("inf")

    @property
    def words(self) -> str:
        """The ratio as it is printed."""
        return "no noise" if self.ratio == float("inf") else f"{self.ratio:.2g}"


@torch.no_grad()
def signals(policy: NetworkPolicy, card: TaskCard, device: str = "cpu") -> list[Signal]:
    """The signal and the noise of every stack's instructions, in training and in evaluation.

    The parts are those of a two-way analysis of variance, as all situations of a repetition share their noise: noise is
    the mean variance within situations, signal the variance of their means less 1 / M of what neither the situation nor
    the repetition explains (0 where that leaves nothing beyond chance).
    """
    r = policy.replicas
    observation, mask = situations(card, r, device)
    found = []
    for trains in (True, False):
        before, policy.executor.evaluates = policy.executor.evaluates, not trains
        said: dict[int, list[Tensor]] = {}
        for m in range(REPETITIONS):
            order = _order(m, device)
            rows = (torch.arange(r, device=device)[:, None] * SITUATIONS + order).flatten()
            keys = rng.env_keys((m,), rng.Stream.USER, 1, device).expand(len(rows))
            draws = policy.executor.draws(keys, torch.zeros(1, 1, dtype=torch.int64, device=device), sampled=trains)[0]
            step = policy.executor.begin(
                observation[rows], None, policy.executor.initial_memory(len(rows)), draws,
                None if mask is None else mask[rows],
            )  # fmt: skip
            policy.executor.finish(step)
            for net in policy.nets:
                s = net.stack
                if s.own_instruction:
                    width = s.size_k * s.heads * s.size
                    said.setdefault(s.number, []).append(step.bus[..., s.start : s.start + width][:, order.argsort()])
        policy.executor.evaluates = before
        found += [_parts(policy.nets[n].stack.name, trains, torch.stack(x).double()) for n, x in said.items()]
    return found


def _order(m: int, device: str) -> Tensor:
    """An order of the situations, another one for every repetition."""
    keys = rng.env_keys((m,), rng.Stream.USER, SITUATIONS, device)
    return keys.argsort()


def _parts(name: str, trains: bool, said: Tensor) -> Signal:
    """From what was said [M, R, B, K * D]."""
    m = len(said)
    noise = float(said.var(dim=0).mean())
    rest = said - said.mean(dim=0) - said.mean(dim=2, keepdim=True) + said.mean(dim=(0, 2), keepdim=True)
    unexplained = float(rest.square().mean()) * m / (m - 1)
    signal = float(said.mean(dim=0).var(dim=1).mean()) - unexplained / m
    is_there = signal > max(3e-2 * unexplained / m, 1e-12)
    return Signal(name, trains, signal**0.5 if is_there else 0.0, noise**0.5 if noise > 1e-12 else 0.0)
