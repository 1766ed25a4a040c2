"""simple_spread in batched torch: N agents with soft contacts cover N landmarks (see :mod:`rlnet_bench.envs.mpe`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.mpe.env import COVER_RADIUS, DAMPING, DT, MpeEnv, World, norm, square

CONTACT_FORCE, CONTACT_MARGIN = 100.0, 1e-3


class SpreadEnv(MpeEnv):
    """simple_spread: N agents with soft contacts cover N landmarks."""

    agent_radius = 0.15

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> None:
        n = self.num_landmarks = card.num_agents
        self.local_ratio = float(card.constructor["local_ratio"])
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        self.pairs = pairs
        self.first = torch.tensor([i for i, _ in pairs], device=device)
        self.second = torch.tensor([j for _, j in pairs], device=device)
        others = [[j for j in range(n) if j != i] for i in range(n)]
        self.others = torch.tensor(others, device=device).flatten()
        self.touching = _square_limit(2 * self.agent_radius)
        super().__init__(card, num_envs, device, compile)

    def _dynamics(self, world: World, actions: Tensor) -> tuple[World, Tensor, Tensor]:
        force = list(self._force(actions.movedim(0, -1)).unbind(0))
        delta, distance = self._separation(world.position)
        overlap = (distance - 2 * self.agent_radius) / -CONTACT_MARGIN
        # logaddexp(0, x) from operations that round alike for every batch size.
        penetration = (overlap.clamp(min=0.0) + torch.log1p(torch.exp(-overlap.abs()))) * CONTACT_MARGIN
        contact = (CONTACT_FORCE * delta) / distance.clamp(min=1e-300)[:, None] * penetration[:, None]
        # Partners are added in ascending index, as the original's double loop does: order rounds.
        for p, (i, j) in enumerate(self.pairs):
            force[i] = force[i] + contact[p]
            force[j] = force[j] - contact[p]
        position = world.position + world.velocity * DT
        velocity = world.velocity * (1 - DAMPING) + torch.stack(force) * DT
        world = world._replace(position=position, velocity=velocity)

        relative = self._relative(world)
        # The root of the least square is the least of the roots to the bit: rounding is monotonic.
        nearest = torch.sqrt(square(relative).amin(dim=0))  # [L, B]
        shared = -nearest[0]
        for k in range(1, self.num_landmarks):
            shared = shared - nearest[k]
        apart = square(position[self.first] - position[self.second])
        hit = (apart < self.touching).to(torch.float64)
        hits = [torch.zeros_like(shared)] * self.n
        for p, (i, j) in enumerate(self.pairs):
            hits[i] = hits[i] + hit[p]
            hits[j] = hits[j] + hit[p]
        reward = (shared * (1 - self.local_ratio))[None] - torch.stack(hits) * self.local_ratio
        return world, reward.to(torch.float32), self._compose(world, relative)

    def _separation(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Difference [P, 2, B] and distance [P, B] of every pair i < j."""
        delta = position[self.first] - position[self.second]
        return delta, norm(delta)

    def _relative(self, world: World) -> Tensor:
        return world.landmark[None] - world.position[:, None]  # [N, L, 2, B]

    def _observe(self, world: World) -> Tensor:
        return self._compose(world, self._relative(world))

    def _compose(self, world: World, relative: Tensor) -> Tensor:
        n, b = self.n, self.num_envs
        other = world.position[self.others].view(n, n - 1, 2, b) - world.position[:, None]
        parts = (world.velocity, world.position, relative.flatten(1, 2), other.flatten(1, 2))
        silence = world.position.new_zeros(n, 2 * (n - 1), b)
        return torch.cat((*parts, silence), dim=1).to(torch.float32)

    def _success(self, world: World) -> Tensor:
        nearest = norm(self._relative(world)).amin(dim=0)
        return (nearest < COVER_RADIUS).to(torch.float32).mean(dim=0)

    def _landmark_colour(self, k: int) -> tuple[int, int, int]:
        return (64, 64, 64)


def _square_limit(limit: float) -> float:
    """The double t for which ``x < t`` says exactly what ``sqrt(x) < limit`` says, without the root."""
    t = limit * limit
    while math.sqrt(t) >= limit:
        t = math.nextafter(t, 0.0)
    while math.sqrt(t) < limit:
        t = math.nextafter(t, math.inf)
    return t
