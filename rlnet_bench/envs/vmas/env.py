"""The VMAS family: an adapter for the scenarios of the optional package ``vmas``.

What the adapter adds to the package, whose code runs unchanged: a random stream per batch, auto-reset by
mask, final observations, flags that are never both set, success metrics, a state that continues to the bit,
pictures without OpenGL.

VMAS draws for the whole batch from one stream. ``reset(seeds)`` therefore folds all seeds into one, and an
environment depends on the batch it is in (``card.batch_invariant`` is False). The same seeds in the same
order give the same episodes.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards.vmas import ONCE_PER_BATCH
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.envs.vmas import state as vmas_state
from rlnet_bench.envs.vmas.merge import Before
from rlnet_bench.envs.vmas.scenario import build, draws_from_torch_only
from rlnet_bench.envs.vmas.scene import draw
from rlnet_bench.envs.vmas.stream import Stream
from rlnet_bench.envs.vmas.success import AT_END, PER_STEP
from rlnet_bench.errors import BadInput


def make(card: TaskCard, num_envs: int, device: str = "cpu") -> VectorEnv:
    """Build ``num_envs`` environments of a VMAS task.

    Raises:
        MissingExtra: when vmas is not installed.
        BadInput: for scenario arguments that the scenario does not know.
    """
    return VmasEnv(card, num_envs, device)


class VmasEnv(VectorEnv):
    """A batch of a VMAS scenario behind the contract."""

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu") -> None:
        self.card, self.num_envs, self.device = card, num_envs, torch.device(device)
        self.stream = Stream(self.device, draws_from_torch_only(card))
        with self.stream:
            self.env = build(card, num_envs, device)
        # The package's methods swap its process-wide stream in and out around themselves; ours is in place.
        self._step = inspect.unwrap(type(self.env).step)
        self._reset = inspect.unwrap(type(self.env).reset)
        self._reset_at = inspect.unwrap(type(self.env).reset_at)
        self._observe = inspect.unwrap(type(self.env).get_from_scenario)
        self._own_draws = card.constructor["scenario"] in ONCE_PER_BATCH
        self._at_end, self._per_step = AT_END.get(card.success_metric), PER_STEP.get(card.success_metric)
        self._tally = torch.zeros(num_envs, device=self.device)
        self._no_success = torch.zeros(num_envs, device=self.device)
        self._observation: Tensor | None = None
        if card.action_kind == "continuous":
            self._low, self._high = self._bounds()

    # -- contract ------------------------------------------------------------------------------------------

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 with one int64 seed per environment [B]."""
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds: expected shape ({self.num_envs},), found {tuple(seeds.shape)}")
        host = seeds.tolist()
        with self.stream, torch.inference_mode(False), torch.no_grad():
            self.stream.seed(rng.fold_int(len(host), *host))
            observations = self._reset(self.env)
            if self._own_draws:
                observations = self._draw_one_by_one(host)
        self._tally = torch.zeros_like(self._tally)
        self._observation = self._stack(observations)
        return self.current()

    def current(self) -> Reset:
        """What a policy sees now."""
        observation = self._seen
        return Reset(observation, self._state(observation), None, None)

    def step(self, actions: Tensor) -> Transition:
        """One step; continuous actions are clamped to the card's bounds.

        Raises:
            ValueError: actions of another shape.
            AssertionError: from VMAS, for NaN and for discrete actions out of range.
        """
        if self._observation is None:
            raise RuntimeError("call reset(seeds) or load_state_dict(state) before stepping")
        parts = self._split(actions)
        with self.stream, torch.inference_mode(False), torch.no_grad():
            observations, rewards, terminated, truncated, _ = self._step(self.env, parts)
            observation = final = self._stack(observations)
            reward = self._rewards(rewards)
            if self._per_step is not None:
                self._tally = self._tally + self._per_step(self.env.scenario)
            success, done = self._no_success, terminated | truncated
            if bool(done.any()):
                truncated = truncated & ~terminated
                success = self._success()
                if self.at_end is not None:
                    self.at_end()
                observation = self._renew(done, final)
        self._observation = observation
        state = self._state(observation)
        return Transition(
            observation,
            state,
            reward if reward.dtype == torch.float32 else reward.to(torch.float32),
            terminated,
            truncated,
            terminated[:, None].expand(-1, self.card.num_agents),
            None,
            None,
            final,
            state if final is observation else self._state(final),
            None,
            None,
            success,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything reachable from the VMAS environment, and the random stream."""
        return {
            "scenario": vmas_state.capture(self.env),
            "stream": self.stream.state_dict(),
            "observation": self._seen.clone(),
            "tally": self._tally.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        with self.stream, torch.inference_mode(False), torch.no_grad():
            # Scenarios create attributes at their first steps; afterwards all places to fill are there.
            self._reset(self.env)
            self._step(self.env, self._split(self._idle()))
            vmas_state.restore(self.env, state["scenario"], self.device)
        self.stream.load_state_dict(state["stream"])
        self._observation = state["observation"].to(self.device, copy=True)
        self._tally = state["tally"].to(self.device, copy=True)

    def scene(self, index: int) -> Scene:
        """The entities of environment ``index``."""
        return draw(self.env, index)

    # -- pieces ----------------------------------------------------------------------------------------------

    @property
    def _seen(self) -> Tensor:
        if self._observation is None:
            raise RuntimeError("call reset(seeds) or load_state_dict(state) before looking at the environment")
        return self._observation

    def _draw_one_by_one(self, seeds: list[int]) -> list[Tensor]:
        """Start every environment alone, each from its own seed; leaves the stream where it was."""
        own = self.stream.position()
        for i, seed in enumerate(seeds):
            self.stream.seed(seed)
            self._reset_at(self.env, i, return_observations=False)
        self.stream.move_to(own)
        return self._observe(self.env, get_observations=True, get_rewards=False, get_infos=False, get_dones=False)[0]

    def _renew(self, done: Tensor, final: Tensor) -> Tensor:
        """Start the next episode where one is done: one full reset, merged by mask."""
        before = None if bool(done.all()) else Before(self.env)
        observation = self._stack(self._reset(self.env))
        if before is not None:
            before.merge(done)
            observation = torch.where(done[:, None, None], observation, final)
        if self._per_step is not None:
            self._tally = torch.where(done, 0.0, self._tally)
        return observation

    def _success(self) -> Tensor:
        if self._per_step is not None:
            return self._tally / self.env.steps
        assert self._at_end is not None
        return self._at_end(self.env.scenario).to(torch.float32)

    def _split(self, actions: Tensor) -> list[Tensor]:
        """The list that VMAS takes; it copies before it writes, so views of the caller's tensor do."""
        card = self.card
        shape: tuple[int, ...] = (self.num_envs, card.num_agents)
        if card.action_kind == "continuous":
            shape += (card.action_size,)
        if actions.shape != shape:
            raise ValueError(f"actions: expected shape {shape}, found {tuple(actions.shape)}")
        if card.action_kind == "discrete":
            return [actions[:, i : i + 1] for i in range(card.num_agents)]
        actions = actions.clamp(self._low, self._high)
        return [actions[:, i, :size] for i, size in enumerate(card.action_sizes)]

    def _idle(self) -> Tensor:
        card, b = self.card, self.num_envs
        if card.action_kind == "discrete":
            return torch.zeros(b, card.num_agents, dtype=torch.int64, device=self.device)
        return torch.zeros(b, card.num_agents, card.action_size, device=self.device)

    def _stack(self, observations: list[Tensor]) -> Tensor:
        """[B, N, O], narrow agents zero-padded."""
        if self.card.homogeneous:
            stacked = torch.stack(observations, dim=1)
        else:
            width = self.card.observation_size
            padded = [torch.nn.functional.pad(o, (0, width - o.shape[1])) for o in observations]
            stacked = torch.stack(padded, dim=1)
        return stacked if stacked.dtype == torch.float32 else stacked.to(torch.float32)

    def _rewards(self, rewards: list[Tensor]) -> Tensor:
        """[B, N], from [B] or (the scenario wheel) [B, 1] per agent."""
        for agent, reward in zip(self.card.agents, rewards):
            if reward.shape not in ((self.num_envs,), (self.num_envs, 1)):
                raise BadInput(
                    f"{self.card.id}: reward of {agent}: expected a tensor [B], a number per environment, found "
                    f"{tuple(reward.shape)} where B = {self.num_envs}."
                )
        return torch.stack(rewards, dim=1).view(self.num_envs, -1)

    def _state(self, observation: Tensor) -> Tensor:
        """[B, S]: the observations side by side, without the padding."""
        if self.card.homogeneous:
            return observation.flatten(1)
        sizes = self.card.observation_sizes
        return torch.cat([observation[:, i, :size] for i, size in enumerate(sizes)], dim=1)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest action, float32 [N, A]."""
        card, shape = self.card, (self.card.num_agents, self.card.action_size)
        low, high = torch.full(shape, card.action_low), torch.full(shape, card.action_high)
        if card.action_lows is not None and card.action_highs is not None:
            for i, (lows, highs) in enumerate(zip(card.action_lows, card.action_highs)):
                low[i, : len(lows)], high[i, : len(highs)] = torch.tensor(lows), torch.tensor(highs)
        return low.to(self.device), high.to(self.device)
