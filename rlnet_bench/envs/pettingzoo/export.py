"""The door out: our tasks as PettingZoo ``ParallelEnv``.

>>> env = parallel_env("mpe/simple_spread-discrete-v1", seed=0)
>>> observations, infos = env.reset()
>>> env.agents, env.action_space("agent_0"), observations["agent_0"].shape
(['agent_0', 'agent_1', 'agent_2'], Discrete(5), (18,))
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import Scene
from rlnet_bench.envs.drawing import draw
from rlnet_bench.envs.registry import make_env
from rlnet_bench.errors import BadInput, MissingExtra
from rlnet_bench.trust import typed

try:
    from gymnasium.spaces import Box, Discrete, Space
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise MissingExtra("pettingzoo", "pettingzoo", "a task as a PettingZoo ParallelEnv") from error


def parallel_env(
    task_id: str, seed: int | None = None, render_mode: str | None = None, device: str = "cpu"
) -> TaskParallelEnv:
    """One environment of a task as a ``ParallelEnv``.

    Args:
        task_id: a task id.
        seed: of the first episodes; drawn from the operating system where neither this nor ``reset``'s
            is given.
        render_mode: None or "rgb_array".
        device: where the task itself runs; everything handed out is numpy.

    Raises:
        UnknownName: no such task.
        BadInput: an unknown render mode.
    """
    return TaskParallelEnv(task_id, seed, render_mode, device)


class TaskParallelEnv(ParallelEnv[str, NDArray[np.float32], Any]):
    """A batch of one behind PettingZoo's interface: own sizes per agent, no padding.

    Every agent is told the task's success metric at the end (``info["success"]``) and, where actions can
    be illegal, which are legal now (``info["action_mask"]``, int8). After the last step ``state()`` and
    ``render()`` show how the episode ended.
    """

    def __init__(self, task_id: str, seed: int | None, render_mode: str | None, device: str) -> None:
        if render_mode not in (None, "rgb_array"):
            raise BadInput(f"render_mode: expected None or 'rgb_array', found {render_mode!r}.")
        typed(task_id)
        self._env = make_env(task_id, 1, device)
        card = self.card = self._env.card
        self.metadata = {
            "name": task_id,
            "render_modes": ["rgb_array"],
            "is_parallelizable": True,
            "render_fps": 10,
        }
        self.render_mode = render_mode
        self.max_cycles = card.horizon
        self.possible_agents = list(card.agents)
        self.agents: list[str] = []
        self.observation_spaces: dict[str, Space[Any]] = {
            a: Box(-np.inf, np.inf, (size,), np.float32) for a, size in zip(card.agents, card.observation_sizes)
        }
        self.action_spaces: dict[str, Space[Any]] = {a: self._actions(i) for i, a in enumerate(card.agents)}
        self.state_space = Box(-np.inf, np.inf, (card.state_size,), np.float32)
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._resets = 0
        self._state: NDArray[np.float32] | None = None
        self._scene: Scene | None = None  # how an episode ended
        if render_mode is not None:
            self._env.at_end = self._keep_scene

    def _keep_scene(self) -> None:
        self._scene = self._env.scene(0)

    def _actions(self, i: int) -> Space[Any]:
        card, size = self.card, self.card.action_sizes[i]
        if card.action_kind == "discrete":
            return Discrete(size)
        low = card.action_lows[i] if card.action_lows else (card.action_low,) * size
        high = card.action_highs[i] if card.action_highs else (card.action_high,) * size
        return Box(np.array(low[:size], np.float32), np.array(high[:size], np.float32), dtype=np.float32)

    def observation_space(self, agent: str) -> Space[Any]:
        """The agent's own space, without padding."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """``Discrete`` or ``Box`` in the task's own units."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Start an episode: a function of the seed, or of the last seed and the resets since."""
        if seed is not None:
            self._seed, self._resets = int(seed), 0
        key = rng.fold_int(self._seed, int(rng.Stream.USER), self._resets)
        self._resets += 1
        start = self._env.reset(torch.tensor([key], device=self._env.device))
        self.agents = self._alive(start.alive_mask, self.possible_agents)
        self._state = start.state[0].cpu().numpy()
        self._scene = None
        return self._split(start.observation, self.agents), self._infos(self.agents, start.action_mask)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One step with an action of every live agent; five empty dicts when none is left.

        Raises:
            BadInput: a live agent has no action.
        """
        if self._state is None:
            raise RuntimeError("call reset() before step()")
        live = self.agents
        if not live:
            return {}, {}, {}, {}, {}
        if missing := [a for a in live if a not in actions]:
            raise BadInput(f"step: expected an action of every live agent, found none of {', '.join(missing)}.")
        self._scene = None
        out = self._env.step(self._row(actions))
        ended = bool(out.terminated[0] | out.truncated[0])
        observation = out.final_observation if ended else out.observation
        mask = out.final_action_mask if ended else out.action_mask
        self._state = (out.final_state if ended else out.state)[0].cpu().numpy()
        index = {a: i for i, a in enumerate(self.possible_agents)}
        died = {a: bool(out.agent_terminated[0, index[a]]) or bool(out.terminated[0]) for a in live}
        cut = {a: bool(out.truncated[0]) and not died[a] for a in live}
        infos = self._infos(live, mask)
        if ended:
            for info in infos.values():
                info["success"] = float(out.success[0])
        self.agents = [] if ended else [a for a in self._alive(out.alive_mask, live) if not died[a]]
        rewards = {a: float(out.reward[0, index[a]]) for a in live}
        return self._split(observation, live), rewards, died, cut, infos

    def state(self) -> NDArray[np.float32]:
        """The task's state, float32 [S]."""
        if self._state is None:
            raise RuntimeError("call reset() before state()")
        return self._state

    def render(self) -> NDArray[np.uint8] | None:
        """The picture as uint8 [height, width, 3], or None without a render mode."""
        if self.render_mode is None:
            return None
        return np.asarray(draw(self._scene or self._env.scene(0)))

    def close(self) -> None:
        """Release what the task holds."""
        self._env.close()

    def _alive(self, mask: Tensor | None, agents: list[str]) -> list[str]:
        if mask is None:
            return list(agents)
        return [a for a in agents if bool(mask[0, self.possible_agents.index(a)])]

    def _split(self, observation: Tensor, agents: list[str]) -> dict[str, NDArray[np.float32]]:
        rows = observation[0].cpu().numpy().copy()
        sizes = self.card.observation_sizes
        return {a: rows[i, : sizes[i]] for i, a in enumerate(self.possible_agents) if a in agents}

    def _infos(self, agents: list[str], mask: Tensor | None) -> dict[str, dict[str, Any]]:
        if mask is None:
            return {a: {} for a in agents}
        rows = mask[0].cpu().numpy().astype(np.int8)
        sizes = self.card.action_sizes
        return {a: {"action_mask": rows[i, : sizes[i]]} for i, a in enumerate(self.possible_agents) if a in agents}

    def _row(self, actions: dict[str, Any]) -> Tensor:
        card = self.card
        if card.action_kind == "discrete":
            row = np.zeros((1, card.num_agents), np.int64)
        else:
            row = np.zeros((1, card.num_agents, card.action_size), np.float32)
        for i, a in enumerate(self.possible_agents):
            if a not in self.agents:
                continue
            if card.action_kind == "discrete":
                row[0, i] = int(actions[a])
            else:
                row[0, i, : card.action_sizes[i]] = actions[a]
        return torch.from_numpy(row).to(self._env.device)
