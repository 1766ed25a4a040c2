"""Whether messages say anything: a probe from what an agent was told to what it cannot see.

Axes: **R** replicas, **B** environments, **T** moments, **N** agents, **F** features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.edits import Edit
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import PolicyState, Wrapped
from rlnet_bench.learning.protocol import Channel, heard_words
from rlnet_bench.vocabulary import Mode

PROBE_ENVS = 96  # environments per replica of the probe, half to fit it and half to judge it
MOMENTS = 8  # of an episode, at which messages are looked at
PERMUTATIONS = 199
RIDGE = 1.0  # of the probe, per row


@dataclass(frozen=True)
class Probe:
    """Of one seed: the share of what a receiver cannot see that its messages tell, held out and beyond chance."""

    r2: float
    p: float


def probes(channel: Channel, card: TaskCard, seeds: Sequence[int], mode: Mode, device: str = "cpu") -> list[Probe]:
    """What messages tell of others' observations beyond the receiver's own, one :class:`Probe` per seed.

    A ridge regression from message to what is left of the others' observations when a regression from the receiver's
    own is taken away, fitted on half of the environments and judged on the others (explained variance, 0 where it is
    negative), beyond chance c, (r - c) / (1 - c): the same with messages and environments joined anew.
    """
    read: dict[Any, list[Tensor]] = {place: [] for place in channel.masks}
    rows: list[Tensor] = []

    def keep(place: Any) -> Edit:
        def edit(x: Tensor, before: Tensor | None) -> Tensor:
            read[place].append(x.clone())
            return x

        return edit

    class Seen(Wrapped):
        """Keeps what all agents observe."""

        def act(self, observation: Tensor, *rest: Any) -> tuple[Tensor, PolicyState]:
            rows.append(observation.unflatten(0, (self.replicas, -1)).clone())
            return self.policy.act(observation, *rest)

    with channel.changed({place: keep(place) for place in channel.masks}, 0) as policy:
        evaluate(Seen(policy), card, seeds, PROBE_ENVS, stream=rng.Stream.USER, mode=mode, device=device)
    taken = sorted({len(rows) * k // MOMENTS for k in range(MOMENTS)})
    observation = torch.stack([rows[t] for t in taken], dim=2)  # [R, B, T, N, O]
    told: dict[int, Tensor] = {}
    for t in taken:
        for agent, x in channel.heard({place: x[t] for place, x in read.items() if len(x) == len(rows)}).items():
            told[agent] = torch.cat((told[agent], x[:, :, None]), dim=2) if agent in told else x[:, :, None]
    return [
        _probe(observation[k], {i: x[k] for i, x in told.items()}, words=heard_words(card)) for k in range(len(seeds))
    ]


def _probe(observation: Tensor, told: Mapping[int, Tensor], words: Mapping[int, slice]) -> Probe:
    """Of one seed: ``observation`` [B, T, N, O], ``told`` [B, T, F] by agent.

    Held out, the share of the target that messages explain beyond the agent's own observation.
    """
    found, chance = [], []
    keys = rng.env_keys((0,), rng.Stream.USER, PERMUTATIONS * len(observation)).view(PERMUTATIONS, -1)
    orders = [torch.arange(len(observation)), *keys.argsort(dim=1)]
    for agent, message in told.items():
        own = observation[:, :, agent].clone()
        if agent in words:
            own[..., words[agent]] = 0.0  # what it was told is not its own
        others = [j for j in range(observation.shape[2]) if j != agent]
        target = observation[:, :, others].flatten(2)
        target = target[..., target.flatten(0, 1).std(dim=0) > 1e-6]
        if target.shape[-1] == 0 or message.shape[-1] == 0:
            continue
        half = len(own) // 2
        left = float(_residual(own, target, half).square().sum().clamp(min=1e-12))
        joined = (torch.cat((own, message[order]), dim=-1) for order in orders)
        values = [1.0 - float(_residual(x, target, half).square().sum()) / left for x in joined]
        found.append(values[0])
        chance.append(values[1:])
    if not found:
        return Probe(0.0, 1.0)
    real = float(np.mean(found))
    null = np.mean(chance, axis=0)
    luck = float(null.mean())  # often below zero: what was fitted to noise fails on the other half
    beyond = max((real - luck) / max(1.0 - luck, 1e-12), 0.0)  # 1 where messages explain all, 0 at chance
    return Probe(beyond, float((1 + (null >= real).sum()) / (1 + len(null))))


def _residual(x: Tensor, y: Tensor, half: int) -> Tensor:
    """What a ridge regression, fitted on the first half of environments, leaves of the second."""
    spread = x.flatten(0, 1).std(dim=0).clamp(min=1e-6)
    x = ((x - x.flatten(0, 1).mean(dim=0)) / spread).double()
    y = ((y - y.flatten(0, 1).mean(dim=0)) / y.flatten(0, 1).std(dim=0)).double()
    fit_x, fit_y, test_x, test_y = (z.flatten(0, 1) for z in (x[:half], y[:half], x[half:], y[half:]))
    square = fit_x.T @ fit_x + RIDGE * torch.eye(fit_x.shape[1], dtype=torch.float64)
    return test_y - test_x @ torch.linalg.solve(square, fit_x.T @ fit_y)
