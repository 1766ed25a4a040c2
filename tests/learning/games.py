"""Matrix games of two agents, the two-step game of the QMIX paper among them, as a vector environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from scripted import CARD
from torch import Tensor

from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))  # Claus and Boutilier 1998
EASY = ((4.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 1.0))


class Game(VectorEnv):
    """States are seen as one-hot numbers by everybody. Every step pays ``payoff[state][u1][u2]`` to each agent.

    Args:
        payoffs: by state.
        follows: by state, what agent 1's action leads to; None ends the task.
        num_envs: batch size.
    """

    def __init__(
        self,
        payoffs: tuple[tuple[tuple[float, ...], ...], ...],
        follows: tuple[tuple[int, ...] | None, ...],
        num_envs: int,
    ) -> None:
        self.payoff = torch.tensor(payoffs)  # [S, A, A]
        states, actions = self.payoff.shape[:2]
        ends = torch.tensor([f is None for f in follows])
        self.ends, self.follows = ends, torch.tensor([f or (0,) * actions for f in follows])
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.card = replace(
            CARD, id="test/game-v1", horizon=10, action_sizes=(actions, actions), observation_sizes=(states, states),
            state_size=states, state="full", shared_reward=True,
        )  # fmt: skip
        self.at = torch.zeros(num_envs, dtype=torch.int64)

    def current(self) -> Reset:
        return self._see(self.at)

    def _see(self, at: Tensor) -> Reset:
        state = torch.eye(len(self.payoff))[at]
        return Reset(state[:, None].expand(-1, 2, -1).clone(), state, None, None)

    def reset(self, seeds: Tensor) -> Reset:
        self.at = torch.zeros(self.num_envs, dtype=torch.int64)
        return self.current()

    def step(self, actions: Tensor) -> Transition:
        reward = self.payoff[self.at, actions[:, 0], actions[:, 1]]
        over = self.ends[self.at]
        after = self.follows[self.at, actions[:, 0]]
        self.at = torch.where(over, 0, after)
        now, never = self.current(), torch.zeros_like(over)
        return Transition(
            now.observation, now.state, reward[:, None].expand(-1, 2).clone(), over, never,
            over[:, None].expand(-1, 2), now.action_mask, None, now.observation, now.state, now.action_mask, None,
            torch.zeros(len(over)),
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]

    def scene(self, index: int) -> Scene:
        return Scene((0, 0, 1, 1), ())


def matrix(payoff: tuple[tuple[float, ...], ...], num_envs: int) -> Game:
    """One state, one step."""
    return Game((payoff,), (None,), num_envs)


def two_step(num_envs: int) -> Game:
    """Rashid et al. 2018, section 5.1: agent 1 chooses between a game that pays 7 and one that pays up to 8."""
    first, seven, eight = ((0.0, 0.0), (0.0, 0.0)), ((7.0, 7.0), (7.0, 7.0)), ((0.0, 1.0), (1.0, 8.0))
    return Game((first, seven, eight), ((1, 2), None, None), num_envs)
