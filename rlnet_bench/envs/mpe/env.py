"""The MPE family in batched torch: spread, speaker-listener, reference, faithful to mpe2 1.1.1.

State is float64 and kept batch-last ([..., B]), so that every elementwise operation runs over contiguous
memory and rounds exactly as the original's numpy does. mpe2's order within one step: forces from the
positions before the move, then ``position += velocity * dt`` with the *old* velocity, then the velocity
update. Action t therefore first changes reward t + 1.

All episodes last exactly 25 steps, so the step and episode counters are plain integers shared by the
batch: resets cost nothing on the other 24 steps and no tensor is ever looked at from Python.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.compiling import compiled
from rlnet_bench.envs.contract import Reset, Scene, Shape, Transition, VectorEnv

DT, DAMPING, SENSITIVITY = 0.1, 0.25, 5.0
COVER_RADIUS = 0.1  # mpe2's benchmark_data counts a landmark as occupied below this distance
# Purposes of reset draws: part of every published number, append only.
_AGENT_POSITION, _LANDMARK_POSITION, _GOAL = 1, 2, 3
_AGENT_COLOUR = (89, 89, 217)
LANDMARK_COLOURS = ((191, 64, 64), (64, 191, 64), (64, 64, 191))


def make(card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> VectorEnv:
    """Build ``num_envs`` environments of an MPE task.

    Args:
        card: from :mod:`rlnet_bench.envs.cards.mpe`.
        num_envs: B.
        device: torch device.
        compile: run the physics through ``torch.compile`` (refused at the first step where that does not work).
            Compiled kernels may round transcendental functions differently in the last bit.
    """
    # Here, because the tasks build on this module.
    from rlnet_bench.envs.mpe.channel import ReferenceEnv, SpeakerListenerEnv
    from rlnet_bench.envs.mpe.spread import SpreadEnv

    scenario = {
        "simple_spread": SpreadEnv,
        "simple_speaker_listener": SpeakerListenerEnv,
        "simple_reference": ReferenceEnv,
    }[card.constructor["scenario"]]
    return scenario(card, num_envs, device, compile)


class World(NamedTuple):
    """The whole state of a batch; all tensors batch-last."""

    position: Tensor  # [N, 2, B] float64
    velocity: Tensor  # [N, 2, B] float64
    landmark: Tensor  # [L, 2, B] float64
    goal: Tensor  # [G, B] int64, landmark indices
    message: Tensor  # [N, C, B] float32


# next world, what is between its entities, reward [N, B] float32, observation [N, O, B] float32
Step = tuple[World, tuple[Tensor, ...], Tensor, Tensor]


class MpeEnv(VectorEnv):
    """What the three tasks share: integration, resets, the horizon."""

    num_landmarks = 3
    num_goals = 0
    message_size = 0
    agent_radius = 0.05
    landmark_radius = 0.05
    landmark_kind: Literal["circle", "ring"] = "circle"

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> None:
        self.card, self.num_envs, self.device = card, num_envs, torch.device(device)
        self.n = card.num_agents
        self.world: World | None = None
        self.between: tuple[Tensor, ...] = ()  # what the last step worked out about this world, for the next one
        self.keys: Tensor | None = None
        self.steps = self.episode = 0
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._always = ~self._never
        self._no_agent = self._never[:, None].expand(-1, self.n)
        self._no_success = torch.zeros(num_envs, device=self.device)
        # Resets stay eager: torch 2.13 compiles their int64 arithmetic for the CPU into code that can crash.
        self._advance = compiled(self._dynamics) if compile else self._dynamics
        push = torch.zeros(2, 7, dtype=torch.float64)  # [axis, option + 1]: what is no option does nothing
        push[0, 2], push[0, 3], push[1, 4], push[1, 5] = -SENSITIVITY, SENSITIVITY, -SENSITIVITY, SENSITIVITY
        self._push = push.to(self.device)
        self._push_row = torch.tensor([[1], [8]], device=self.device)  # of each axis in the table, flat

    # -- contract ------------------------------------------------------------------------------------

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 with one int64 seed per environment [B]."""
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds: expected shape ({self.num_envs},), found {tuple(seeds.shape)}")
        self.keys = seeds.to(self.device, copy=True)
        self.steps = self.episode = 0
        return Reset(*self._views(self._begin()), None, None)

    def current(self) -> Reset:
        """What a policy sees now."""
        return Reset(*self._views(self._observe(self._world, self.between)), None, None)

    def step(self, actions: Tensor) -> Transition:
        """One step; discrete actions outside their range do nothing."""
        self.world, self.between, reward, observation = self._advance(self._world, self.between, actions)
        self.steps += 1
        final_observation, final_state = self._views(observation)
        if self.steps < self.card.horizon:
            return Transition(
                final_observation, final_state, reward.t(), self._never, self._never, self._no_agent, None,
                None, final_observation, final_state, None, None, self._no_success,
            )  # fmt: skip
        success = self._success(self.world)
        if self.at_end is not None:
            self.at_end()
        self.steps = 0
        self.episode += 1
        return Transition(
            *self._views(self._begin()), reward.t(), self._never, self._always, self._no_agent,
            None, None, final_observation, final_state, None, None, success,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The world, the seeds and the two counters."""
        return {
            "world": {k: v.clone() for k, v in self._world._asdict().items()},
            "keys": self.keys,
            "steps": self.steps,
            "episode": self.episode,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        self.world = World(**{k: v.clone().to(self.device) for k, v in state["world"].items()})
        self.keys = state["keys"].to(self.device)
        self.steps, self.episode = int(state["steps"]), int(state["episode"])
        self.between = self._relate(self.world)

    def scene(self, index: int) -> Scene:
        """Landmarks and agents of environment ``index``, the larger behind, so that no agent hides the landmark that it
        stands on; the message of a speaker as its caption."""
        world = World(*(x[..., index].cpu() for x in self._world))
        shapes = [
            Shape(self.landmark_kind, float(p[0]), float(p[1]), self.landmark_radius, colour=self._landmark_colour(k))
            for k, p in enumerate(world.landmark)
        ]
        shapes += [
            Shape("circle", float(p[0]), float(p[1]), self.agent_radius, colour=self._agent_colour(i, world))
            for i, p in enumerate(world.position)
        ]
        shapes.sort(key=lambda shape: -shape.size)
        words = [str(int(m.argmax())) if bool(m.any()) else "-" for m in world.message] if self.message_size else []
        caption = f"step {self.steps}" + (f"  message {' '.join(words)}" if words else "")
        return Scene((-1.4, -1.4, 1.4, 1.4), tuple(shapes), caption)

    # -- what a task defines ---------------------------------------------------------------------------

    def _dynamics(self, world: World, between: tuple[Tensor, ...], actions: Tensor) -> Step:
        """One step from a world and what :meth:`_relate` says of it; pure."""
        raise NotImplementedError

    def _relate(self, world: World) -> tuple[Tensor, ...]:
        """What rewards and observations of this world and the forces of the next step share; pure."""
        return ()

    def _observe(self, world: World, between: tuple[Tensor, ...]) -> Tensor:
        """[N, O, B] float32, narrow agents zero-padded."""
        raise NotImplementedError

    def _success(self, world: World) -> Tensor:
        """[B] float32 in [0, 1]."""
        raise NotImplementedError

    # -- shared pieces -----------------------------------------------------------------------------------

    @property
    def _world(self) -> World:
        if self.world is None:
            raise RuntimeError("call reset(seeds) or load_state_dict(state) before stepping")
        return self.world

    @property
    def _keys(self) -> Tensor:
        assert self.keys is not None  # set whenever the world is
        return self.keys

    def _views(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """([B, N, O], [B, S]) views of a batch-last observation; the state leaves the padding out."""
        sizes = self.card.observation_sizes
        if self.card.homogeneous:
            state = observation.flatten(0, 1)
        else:
            state = torch.cat([observation[i, :size] for i, size in enumerate(sizes)])
        return observation.permute(2, 0, 1), state.t()

    def _begin(self) -> Tensor:
        """Start the episode that is on; its first observation."""
        self.world = self._start(rng.fold(self._keys, self.episode))
        self.between = self._relate(self.world)
        return self._observe(self.world, self.between)

    def _start(self, key: Tensor) -> World:
        """The world at the start of an episode with one key per environment [B]; pure.

        Positions uniform in [-1, 1)^2, everything else at rest: agents, then landmarks, then goals.
        """
        n, k, b = self.n, self.num_landmarks, self.num_envs

        def positions(purpose: int, count: int) -> Tensor:
            entity = torch.arange(count, device=self.device)[:, None, None]
            axis = torch.arange(2, device=self.device)[None, :, None]
            return rng.uniform(rng.fold(rng.fold(key, purpose)[None, None], entity, axis)) * 2.0 - 1.0

        goal_index = torch.arange(self.num_goals, device=self.device)[:, None]
        return World(
            position=positions(_AGENT_POSITION, n),
            velocity=torch.zeros(n, 2, b, dtype=torch.float64, device=self.device),
            landmark=positions(_LANDMARK_POSITION, k),
            goal=rng.integers(rng.fold(rng.fold(key, _GOAL)[None], goal_index), k),
            message=torch.zeros(n, self.message_size, b, device=self.device),
        )

    def _force(self, actions: Tensor) -> Tensor:
        """Motor force [M, 2, B] float64 of moving agents from int64 [M, B] or float32 [M, 5, B]."""
        if self.card.action_kind == "discrete":
            return torch.take(self._push, actions.clamp(-1, 5)[:, None] + self._push_row)
        actions = actions.clamp(0.0, 1.0)
        # The difference is taken in the action's float32, as the original does, then widened.
        return (actions[:, 2:5:2] - actions[:, 1:4:2]).to(torch.float64) * SENSITIVITY

    def _landmark_colour(self, k: int) -> tuple[int, int, int]:
        return LANDMARK_COLOURS[k % 3]

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return _AGENT_COLOUR


def square(vector: Tensor) -> Tensor:
    """Squared length over the second-to-last axis: [..., 2, B] -> [..., B]."""
    x, y = (vector * vector).unbind(-2)
    return x + y


def norm(vector: Tensor) -> Tensor:
    """Euclidean length over the second-to-last axis: [..., 2, B] -> [..., B]."""
    return torch.sqrt(square(vector))
