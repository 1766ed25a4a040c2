"""The door in: any PettingZoo ``ParallelEnv`` as a task, vectorised over worker processes.

Ids and their options are described in :mod:`rlnet_bench.envs.pettingzoo.door`. Agents that die leave the
``alive_mask``; their observations and rewards are zero from the next step on, and their actions are ignored.
An agent that is truncated while others go on leaves the mask without ``agent_terminated``, and the
observation of that step is its last.

Resuming replays the running episodes (seed, then the actions since the reset), so it continues to the bit
whenever an episode is a function of its seed and its actions.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.envs.pettingzoo.workers import LocalCrew, ProcessCrew
from rlnet_bench.errors import BadInput


def make(card: TaskCard, num_envs: int, device: str = "cpu", workers: int | None = None) -> VectorEnv:
    """Build ``num_envs`` copies of a ParallelEnv.

    Args:
        card: from :mod:`rlnet_bench.envs.cards.pettingzoo`.
        num_envs: B.
        device: where the tensors are put; the environments themselves run on the host.
        workers: processes that share the environments; one per available core by default, 0 for none
            (everything in this process).

    Raises:
        BadInput: the environment cannot be built, or ``workers`` is negative.
        WorkFailed: a worker process could not be started.
    """
    return PettingZooEnv(card, num_envs, device, workers)


class PettingZooEnv(VectorEnv):
    """A batch of ParallelEnvs."""

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu", workers: int | None = None) -> None:
        if workers is None:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if workers < 0:
            raise BadInput(f"workers: expected 0 or more, found {workers}.")
        self.card, self.num_envs, self.device = card, num_envs, torch.device(device)
        workers = min(workers, num_envs)
        self._crew = ProcessCrew(card, num_envs, workers) if workers else LocalCrew(card, num_envs)
        self._close = weakref.finalize(self, self._crew.close)
        self._board = self._crew.board
        self._keys: Tensor | None = None
        self._episode = torch.zeros(num_envs, dtype=torch.int64)
        self._time = np.zeros(num_envs, dtype=np.int64)
        # What was done since each episode began, to replay it: [B, T, N] or [B, T, N, A].
        shape = (num_envs, card.horizon, *self._board["actions"].shape[1:])
        self._history = np.zeros(shape, self._board["actions"].dtype)

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 with one int64 seed per environment [B]; episode e is seeded with fold(seed, e)."""
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds: expected shape ({self.num_envs},), found {tuple(seeds.shape)}")
        self._keys = seeds.detach().cpu().clone()
        self._episode.zero_()
        self._time[:] = 0
        self._crew.call("reset", self._seeds(0))
        return self.current()

    def step(self, actions: Tensor) -> Transition:
        """One step; continuous actions are clipped to their bounds.

        Raises:
            WorkFailed: an environment raised (for instance on a discrete action out of range), or its
                worker process died.
        """
        if self._keys is None:
            raise RuntimeError("call reset(seeds) or load_state_dict(state) before stepping")
        board = self._board
        if tuple(actions.shape) != board["actions"].shape:
            raise ValueError(f"actions: expected shape {board['actions'].shape}, found {tuple(actions.shape)}")
        board["actions"][...] = actions.detach().cpu().numpy()
        board["next_seed"][...] = self._seeds(1)
        self._history[np.arange(self.num_envs), self._time] = board["actions"]
        self._crew.call("step")
        ended = board["terminated"] | board["truncated"]
        self._time = np.where(ended, 0, self._time + 1)
        self._episode += torch.from_numpy(ended)
        start = self.current()
        return Transition(
            observation=start.observation,
            state=start.state,
            reward=self._tensor("reward"),
            terminated=self._tensor("terminated"),
            truncated=self._tensor("truncated"),
            agent_terminated=self._tensor("agent_terminated"),
            action_mask=start.action_mask,
            alive_mask=start.alive_mask,
            final_observation=self._tensor("final_observation"),
            final_state=self._tensor("final_state"),
            final_action_mask=self._tensor("final_action_mask") if self.card.masked else None,
            final_alive_mask=self._tensor("final_alive_mask"),
            success=self._tensor("success"),
        )

    def current(self) -> Reset:
        """What a policy sees now; agents may die, so there always is an alive mask."""
        mask = self._tensor("action_mask") if self.card.masked else None
        return Reset(self._tensor("observation"), self._tensor("state"), mask, self._tensor("alive_mask"))

    def state_dict(self) -> dict[str, Any]:
        """Seeds, episode numbers, and the actions of the running episodes up to the longest of them."""
        if self._keys is None:
            raise RuntimeError("call reset(seeds) before state_dict()")
        return {
            "keys": self._keys.clone(),
            "episode": self._episode.clone(),
            "time": torch.from_numpy(self._time.copy()),
            "actions": torch.from_numpy(self._history[:, : int(self._time.max())].copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replay the running episodes to where they stood."""
        self._keys = state["keys"].cpu().clone()
        self._episode = state["episode"].cpu().clone()
        self._time = state["time"].cpu().numpy().copy()
        actions = state["actions"].cpu().numpy()
        self._history[:, : actions.shape[1]] = actions
        played = [actions[i, :t].copy() for i, t in enumerate(self._time)]
        self._crew.call("replay", self._seeds(0), played)

    def scene(self, index: int) -> Scene:
        """Not offered: a foreign environment says nothing about what it looks like."""
        raise NotImplementedError("a wrapped ParallelEnv has no scene")

    def close(self) -> None:
        """End the worker processes."""
        self._close()

    def _seeds(self, ahead: int) -> list[int]:
        """Gymnasium seeds (31 bits) of the running episodes, or of those that follow."""
        assert self._keys is not None
        return (rng.fold(self._keys, self._episode + ahead) & 0x7FFFFFFF).tolist()

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self._board[name].copy()).to(self.device)
