"""The MPE family in batched torch: spread, speaker-listener, reference, faithful to mpe2 1.1.1.

State is float64 and kept batch-last ([..., B]), so that every elementwise operation runs over contiguous
memory and rounds exactly as the original's numpy does. mpe2's order within one step: forces from the
positions before the move, then ``position += velocity * dt`` with the *old* velocity, then the velocity
update. Action t therefore first changes reward t + 1.

All episodes last exactly 25 steps, so the step and episode counters are plain integers shared by the
batch: resets cost nothing on the other 24 steps and no tensor is ever looked at from Python.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Shape, Transition, VectorEnv

DT, DAMPING, SENSITIVITY = 0.1, 0.25, 5.0
CONTACT_FORCE, CONTACT_MARGIN = 100.0, 1e-3
COVER_RADIUS = 0.1  # mpe2's benchmark_data counts a landmark as occupied below this distance
# Purposes of reset draws: part of every published number, append only.
_AGENT_POSITION, _LANDMARK_POSITION, _GOAL = 1, 2, 3
_AGENT_COLOUR = (89, 89, 217)
_LANDMARK_COLOURS = ((191, 64, 64), (64, 191, 64), (64, 64, 191))


def make(card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> VectorEnv:
    """Build ``num_envs`` environments of an MPE task.

    Args:
        card: from :mod:`rlnet_bench.envs.cards.mpe`.
        num_envs: B.
        device: torch device.
        compile: run the physics through ``torch.compile`` (falls back to eager with one warning).
            Compiled kernels may round transcendental functions differently in the last bit.
    """
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
        self.keys: Tensor | None = None
        self.steps = self.episode = 0
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._always = ~self._never
        self._no_agent = self._never[:, None].expand(-1, self.n)
        self._no_success = torch.zeros(num_envs, device=self.device)
        # Resets stay eager: torch 2.13 compiles their int64 arithmetic for the CPU into code that can crash.
        self._advance = _compiled(self._dynamics) if compile else self._dynamics

    # -- contract ------------------------------------------------------------------------------------

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 with one int64 seed per environment [B]."""
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds: expected shape ({self.num_envs},), found {tuple(seeds.shape)}")
        self.keys = seeds.to(self.device, copy=True)
        self.steps = self.episode = 0
        self.world, observation = self._start(rng.fold(self.keys, self.episode))
        return Reset(*self._views(observation), None, None)

    def current(self) -> Reset:
        """What a policy sees now."""
        return Reset(*self._views(self._observe(self._world)), None, None)

    def step(self, actions: Tensor) -> Transition:
        """One step; discrete actions outside their range do nothing."""
        self.world, reward, observation = self._advance(self._world, actions)
        self.steps += 1
        final_observation, final_state = self._views(observation)
        if self.steps < self.card.horizon:
            return Transition(
                final_observation, final_state, reward.t(), self._never, self._never, self._no_agent, None,
                None, final_observation, final_state, None, None, self._no_success,
            )  # fmt: skip
        success = self._success(self.world)
        self.steps = 0
        self.episode += 1
        self.world, observation = self._start(rng.fold(self._keys, self.episode))
        return Transition(
            *self._views(observation), reward.t(), self._never, self._always, self._no_agent,
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

    def scene(self, index: int) -> Scene:
        """Landmarks and agents of environment ``index``; the message of a speaker as its caption."""
        world = World(*(x[..., index].cpu() for x in self._world))
        shapes = [
            Shape(self.landmark_kind, float(p[0]), float(p[1]), self.landmark_radius, colour=self._landmark_colour(k))
            for k, p in enumerate(world.landmark)
        ]
        shapes += [
            Shape("circle", float(p[0]), float(p[1]), self.agent_radius, colour=self._agent_colour(i, world))
            for i, p in enumerate(world.position)
        ]
        words = [str(int(m.argmax())) if bool(m.any()) else "-" for m in world.message] if self.message_size else []
        caption = f"step {self.steps}" + (f"  message {' '.join(words)}" if words else "")
        return Scene((-1.4, -1.4, 1.4, 1.4), tuple(shapes), caption)

    # -- what a task defines ---------------------------------------------------------------------------

    def _dynamics(self, world: World, actions: Tensor) -> tuple[World, Tensor, Tensor]:
        """(next world, reward [N, B] float32, observation [N, O, B] float32); pure."""
        raise NotImplementedError

    def _observe(self, world: World) -> Tensor:
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

    def _start(self, key: Tensor) -> tuple[World, Tensor]:
        """World and observation at the start of an episode with one key per environment [B]; pure.

        Positions uniform in [-1, 1)^2, everything else at rest: agents, then landmarks, then goals.
        """
        n, k, b = self.n, self.num_landmarks, self.num_envs

        def positions(purpose: int, count: int) -> Tensor:
            entity = torch.arange(count, device=self.device)[:, None, None]
            axis = torch.arange(2, device=self.device)[None, :, None]
            return rng.uniform(rng.fold(rng.fold(key, purpose)[None, None], entity, axis)) * 2.0 - 1.0

        goal_index = torch.arange(self.num_goals, device=self.device)[:, None]
        world = World(
            position=positions(_AGENT_POSITION, n),
            velocity=torch.zeros(n, 2, b, dtype=torch.float64, device=self.device),
            landmark=positions(_LANDMARK_POSITION, k),
            goal=rng.integers(rng.fold(rng.fold(key, _GOAL)[None], goal_index), k),
            message=torch.zeros(n, self.message_size, b, device=self.device),
        )
        return world, self._observe(world)

    def _force(self, actions: Tensor) -> Tensor:
        """Motor force [M, 2, B] float64 of moving agents from int64 [M, B] or float32 [M, 5, B]."""
        if self.card.action_kind == "discrete":
            x = (actions == 2).to(torch.float64) - (actions == 1).to(torch.float64)
            y = (actions == 4).to(torch.float64) - (actions == 3).to(torch.float64)
            return torch.stack((x, y), dim=1) * SENSITIVITY
        actions = actions.clamp(0.0, 1.0)
        # The difference is taken in the action's float32, as the original does, then widened.
        return (actions[:, 2:5:2] - actions[:, 1:4:2]).to(torch.float64) * SENSITIVITY

    def _landmark_colour(self, k: int) -> tuple[int, int, int]:
        return _LANDMARK_COLOURS[k % 3]

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return _AGENT_COLOUR


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
        nearest = torch.sqrt(_square(relative).amin(dim=0))  # [L, B]
        shared = -nearest[0]
        for k in range(1, self.num_landmarks):
            shared = shared - nearest[k]
        apart = _square(position[self.first] - position[self.second])
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
        return delta, _norm(delta)

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
        nearest = _norm(self._relative(world)).amin(dim=0)
        return (nearest < COVER_RADIUS).to(torch.float32).mean(dim=0)

    def _landmark_colour(self, k: int) -> tuple[int, int, int]:
        return (64, 64, 64)


class SpeakerListenerEnv(MpeEnv):
    """simple_speaker_listener: agent 0 speaks and never moves, agent 1 moves and never speaks."""

    num_goals = 1
    message_size = 3
    agent_radius = 0.075
    landmark_radius = 0.04

    def _dynamics(self, world: World, actions: Tensor) -> tuple[World, Tensor, Tensor]:
        actions = actions.movedim(0, -1)  # [N, B] or [N, A, B]
        position = world.position + world.velocity * DT
        velocity = world.velocity * (1 - DAMPING)
        velocity = torch.stack((velocity[0], velocity[1] + self._force(actions[1:])[0] * DT))
        spoken = _message(actions[0], 3, self.card.action_kind)
        message = torch.stack((spoken, torch.zeros_like(spoken)))
        world = world._replace(position=position, velocity=velocity, message=message)
        offset = position[1] - _pick(world.landmark, world.goal[0])
        reward = -(offset[0].square() + offset[1].square())
        return world, reward.to(torch.float32)[None].expand(2, -1), self._observe(world)

    def _observe(self, world: World) -> Tensor:
        goal = _one_hot(world.goal[0], 3) * 0.5 + 0.15
        speaker = torch.cat((goal, goal.new_zeros(8, self.num_envs)))
        relative = (world.landmark - world.position[1][None]).flatten(0, 1)
        listener = torch.cat((world.velocity[1], relative)).to(torch.float32)
        return torch.stack((speaker, torch.cat((listener, world.message[0]))))

    def _success(self, world: World) -> Tensor:
        offset = world.position[1] - _pick(world.landmark, world.goal[0])
        return (_norm(offset[None])[0] < COVER_RADIUS).to(torch.float32)

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return (64, 64, 64) if i == 0 else _LANDMARK_COLOURS[int(world.goal[0])]


class ReferenceEnv(MpeEnv):
    """simple_reference: agent i sees, and is scored on, the landmark that the *other* must reach."""

    num_goals = 2
    message_size = 10
    agent_radius = 0.05
    landmark_kind = "ring"  # agents and landmarks have the same size and colours

    def _dynamics(self, world: World, actions: Tensor) -> tuple[World, Tensor, Tensor]:
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
        return world, reward.to(torch.float32), self._observe(world)

    def _distance(self, world: World) -> Tensor:
        """[2, B]: how far the other agent is from the landmark that agent i knows."""
        return torch.stack(
            [_norm((world.position[1 - i] - _pick(world.landmark, world.goal[i]))[None])[0] for i in range(2)]
        )

    def _observe(self, world: World) -> Tensor:
        relative = (world.landmark[None] - world.position[:, None]).flatten(1, 2)
        body = torch.cat((world.velocity, relative), dim=1).to(torch.float32)
        goal = torch.stack([_one_hot(world.goal[i], 3) for i in range(2)]) * 0.5 + 0.25
        return torch.cat((body, goal, world.message.flip(0)), dim=1)

    def _success(self, world: World) -> Tensor:
        return (self._distance(world) < COVER_RADIUS).to(torch.float32).mean(dim=0)

    def _agent_colour(self, i: int, world: World) -> tuple[int, int, int]:
        return _LANDMARK_COLOURS[int(world.goal[1 - i])]


def _square(vector: Tensor) -> Tensor:
    """Squared length over the second-to-last axis: [..., 2, B] -> [..., B]."""
    return vector[..., 0, :].square() + vector[..., 1, :].square()


def _norm(vector: Tensor) -> Tensor:
    """Euclidean length over the second-to-last axis: [..., 2, B] -> [..., B]."""
    return torch.sqrt(_square(vector))


def _square_limit(limit: float) -> float:
    """The double t for which ``x < t`` says exactly what ``sqrt(x) < limit`` says, without the root."""
    t = limit * limit
    while math.sqrt(t) >= limit:
        t = math.nextafter(t, 0.0)
    while math.sqrt(t) < limit:
        t = math.nextafter(t, math.inf)
    return t


def _one_hot(index: Tensor, size: int) -> Tensor:
    """[B] int64 -> [size, B] float32."""
    return (index[None] == torch.arange(size, device=index.device)[:, None]).to(torch.float32)


def _pick(landmark: Tensor, goal: Tensor) -> Tensor:
    """[L, 2, B] at index [B] -> [2, B]."""
    return landmark.gather(0, goal[None, None].expand(1, 2, -1))[0]


def _message(action: Tensor, size: int, kind: str) -> Tensor:
    """[B] int64 or [>=size, B] float32 -> the message [size, B] float32."""
    return _one_hot(action, size) if kind == "discrete" else action[:size].clamp(0.0, 1.0)


def _compiled(function: Any) -> Any:
    """``torch.compile`` with one warning and eager execution where no compiler works."""
    fast = torch.compile(function, dynamic=False)
    working: list[Any] = []

    def call(*args: Any) -> Any:
        if not working:
            try:
                # After 8 shapes of one function in a process the default is to go on eagerly, which would
                # make a cell's speed and last bits depend on the cells that ran before it.
                with torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=8192):
                    result = fast(*args)
                working.append(fast)
                return result
            except Exception as error:  # whatever the compiler raises, stepping must go on
                reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else repr(error)
                warnings.warn(f"torch.compile is not usable here, running eagerly: {reason}", stacklevel=2)
                working.append(function)
        return working[0](*args)

    return call
