"""The two MPE tasks about learning to signal: speaker-listener and reference (see :mod:`rlnet_bench.envs.mpe.env`)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench.envs.mpe.env import COVER_RADIUS, DAMPING, DT, LANDMARK_COLOURS, MpeEnv, Step, World, norm


class SpeakerListenerEnv(MpeEnv):
    """simple_speaker_listener: agent 0 speaks and never moves, agent 1 moves and never speaks."""

    num_goals = 1
    message_size = 3
    agent_radius = 0.075
    landmark_radius = 0.04

    def _dynamics(self, world: World, between: tuple[Tensor, ...], actions: Tensor) -> Step:
        actions = actions.movedim(0, -1)  # [N, B] or [N, A, B]
        position = world.position + world.velocity * DT
        velocity = world.velocity * (1 - DAMPING)
        velocity = torch.stack((velocity[0], velocity[1] + self._force(actions[1:])[0] * DT))
        spoken = _message(actions[0], 3, self.card.action_kind)
        message = torch.stack((spoken, torch.zeros_like(spoken)))
        world = world._replace(position=position, velocity=velocity, message=message)
        offset = position[1] - _pick(world.landmark, world.goal[0])
        reward = -(offset[0].square() + offset[1].square())
        return world, (), reward.to(torch.float32)[None].expand(2, -1), self._observe(world, ())

    def _observe(self, world: World, between: tuple[Tensor, ...]) -> Tensor:
        goal = _one_hot(world.goal[0], 3) * 0.5 + 0.15
        speaker = torch.cat((goal, goal.new_zeros(8, self.num_envs)))
        relative = (world.landmark - world.position[1][None]).flatten(0, 1)
        listener = torch.cat((world.velocity[1], relative)).to(torch.float32)
        return torch.stack((speaker, torch.cat((listener, world.message[0]))))

    def _success(self, world: World) -> Tensor:
        offset = world.position[1] - _pick(world.landmark, world.goal[0])
        return (norm(offset[None])[0] < COVER_RADIUS).to(torch.float32)

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return (64, 64, 64) if i == 0 else LANDMARK_COLOURS[int(world.goal[0])]


class ReferenceEnv(MpeEnv):
    """simple_reference: agent i sees, and is scored on, the landmark that the *other* must reach."""

    num_goals = 2
    message_size = 10
    agent_radius = 0.05
    landmark_kind = "ring"  # agents and landmarks have the same size and colours

    def _dynamics(self, world: World, between: tuple[Tensor, ...], actions: Tensor) -> Step:
        actions = actions.movedim(0, -1)
        if self.card.action_kind == "discrete":
            legal = (actions >= 0) & (actions < 50)  # -1 % 5 and 51 % 5 would be moves
            move, word = torch.where(legal, actions % 5, 0), actions.div(5, rounding_mode="floor")
        else:
            move, word = actions[:, :5], actions[:, 5:]
        position = world.position + world.velocity * DT
        velocity = world.velocity * (1 - DAMPING) + self._force(move) * DT
        spoken = [_message(word[i], 10, self.card.action_kind) for i in range(2)]
        world = world._replace(position=position, velocity=velocity, message=torch.stack(spoken))
        own = -self._distance(world)
        mean = (own[0] + own[1]) / 2
        ratio = float(self.card.constructor["local_ratio"])
        reward = (mean * (1 - ratio))[None] + own * ratio
        return world, (), reward.to(torch.float32), self._observe(world, ())

    def _distance(self, world: World) -> Tensor:
        """[2, B]: how far the other agent is from the landmark that agent i knows."""
        return torch.stack(
            [norm((world.position[1 - i] - _pick(world.landmark, world.goal[i]))[None])[0] for i in range(2)]
        )

    def _observe(self, world: World, between: tuple[Tensor, ...]) -> Tensor:
        relative = (world.landmark[None] - world.position[:, None]).flatten(1, 2)
        body = torch.cat((world.velocity, relative), dim=1).to(torch.float32)
        goal = torch.stack([_one_hot(world.goal[i], 3) for i in range(2)]) * 0.5 + 0.25
        return torch.cat((body, goal, world.message.flip(0)), dim=1)

    def _success(self, world: World) -> Tensor:
        return (self._distance(world) < COVER_RADIUS).to(torch.float32).mean(dim=0)

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return LANDMARK_COLOURS[int(world.goal[1 - i])]


def _one_hot(index: Tensor, size: int) -> Tensor:
    """[B] int64 -> [size, B] float32."""
    return (index[None] == torch.arange(size, device=index.device)[:, None]).to(torch.float32)


def _pick(landmark: Tensor, goal: Tensor) -> Tensor:
    """[L, 2, B] at index [B] -> [2, B]."""
    return landmark.gather(0, goal[None, None].expand(1, 2, -1))[0]


def _message(action: Tensor, size: int, kind: str) -> Tensor:
    """[B] int64 or [>=size, B] float32 -> the message [size, B] float32."""
    return _one_hot(action, size) if kind == "discrete" else action[:size].clamp(0.0, 1.0)
