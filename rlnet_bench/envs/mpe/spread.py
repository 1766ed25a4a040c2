"""simple_spread in batched torch: N agents with soft contacts cover N landmarks (see :mod:`rlnet_bench.envs.mpe`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.mpe.env import COVER_RADIUS, DAMPING, DT, MpeEnv, Step, World, square

CONTACT_FORCE, CONTACT_MARGIN = 100.0, 1e-3


class SpreadEnv(MpeEnv):
    """simple_spread: N agents with soft contacts cover N landmarks."""

    agent_radius = 0.15

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> None:
        n = self.num_landmarks = card.num_agents
        self.local_ratio = float(card.constructor["local_ratio"])
        others = [i * n + j for i in range(n) for j in range(n) if j != i]
        self.others = torch.tensor(others, device=device)  # rows of [N * N, ...]
        self.silence = torch.zeros(n, 2 * (n - 1), num_envs, dtype=torch.float64, device=device)
        self.touching = _square_limit(2 * self.agent_radius)
        super().__init__(card, num_envs, device, compile)

    def _dynamics(self, world: World, between: tuple[Tensor, ...], actions: Tensor) -> Step:
        force = self._force(actions.movedim(0, -1))
        # Partners are added in ascending index, as the original's double loop does: order rounds. An agent's contact
        # with itself is zero, and adding zero to a force changes no bit.
        for contact in self._contacts(*between[:2]).unbind(1):
            force -= contact
        position = world.position + world.velocity * DT
        velocity = (world.velocity * (1 - DAMPING)).add_(force.mul_(DT))
        world = world._replace(position=position, velocity=velocity)

        between = self._relate(world)
        _, apart, _, away = between
        # The root of the least square is the least of the roots to the bit: rounding is monotonic.
        nearest = torch.sqrt(away.amin(dim=0)).unbind(0)  # L of [B]
        shared = -nearest[0]
        for distance in nearest[1:]:
            shared -= distance
        hits = (apart < self.touching).sum(dim=1, dtype=torch.float64).sub_(1)  # every agent touches itself
        reward = shared.mul_(1 - self.local_ratio) - hits.mul_(self.local_ratio)
        return world, between, reward.to(torch.float32), self._observe(world, between)

    def _contacts(self, way: Tensor, apart: Tensor) -> Tensor:
        """Force [i, j, 2, B] with which agent i pushes agent j, from the way i -> j and its square."""
        distance = torch.sqrt(apart)
        overlap = (distance - 2 * self.agent_radius).div_(-CONTACT_MARGIN)
        # logaddexp(0, x) from operations that round alike for every batch size.
        penetration = overlap.abs().neg_().exp_().log1p_().add_(overlap.clamp_(min=0.0)).mul_(CONTACT_MARGIN)
        return (CONTACT_FORCE * way).div_(distance.clamp_(min=1e-300)[:, :, None]).mul_(penetration[:, :, None])

    def _relate(self, world: World) -> tuple[Tensor, ...]:
        """Ways from agent i to agent j [N, N, 2, B] and their squares [N, N, B]; the same to landmarks [N, L, ...]."""
        here = world.position[:, None]
        agents, landmarks = world.position - here, world.landmark - here
        return agents, square(agents), landmarks, square(landmarks)

    def _observe(self, world: World, between: tuple[Tensor, ...]) -> Tensor:
        n, b = self.n, self.num_envs
        agents, _, landmarks, _ = between
        others = agents.view(n * n, 2, b).index_select(0, self.others).view(n, -1, b)
        parts = (world.velocity, world.position, landmarks.view(n, -1, b), others, self.silence)
        return torch.cat(parts, dim=1).to(torch.float32)

    def _success(self, world: World) -> Tensor:
        nearest = torch.sqrt(self._relate(world)[3].amin(dim=0))
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
