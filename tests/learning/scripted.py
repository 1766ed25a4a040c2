"""A scripted team task of two agents: rewards, endings and observations are written down in advance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv

CARD = TaskCard(
    id="test/scripted-v1", family="test", faithful_to="nothing", description="", constructor={},
    agents=("a", "b"), horizon=100, action_kind="discrete", action_sizes=(2, 2), observation_sizes=(1, 1),
    state_size=2, state="concat", reward_scale="as written", shared_reward=False, success_metric="none",
    floor=-1.0, can_terminate=True,
)  # fmt: skip


class Scripted(VectorEnv):
    """Plays a script; what agents do changes nothing. Observation = state = what the script says.

    Args:
        rewards: [T][N] reward of each step.
        seen: T + 1 numbers: what every agent sees before each step and after the last.
        ends: per step "" (goes on), "terminated" or "truncated".
        finals: what was seen at the end of an episode, per step (read where it ends).
    """

    def __init__(
        self, rewards: list[list[float]], seen: list[float], ends: list[str], finals: list[float], num_envs: int = 1,
        card: TaskCard = CARD,
    ) -> None:  # fmt: skip
        self.card = replace(card, agents=tuple("abcdefgh"[: len(rewards[0])])) if len(rewards[0]) != 2 else card
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.rewards, self.seen, self.ends, self.finals = rewards, seen, ends, finals
        self.t = 0

    def _view(self, value: float) -> tuple[Tensor, Tensor]:
        n = self.card.num_agents
        return torch.full((self.num_envs, n, 1), value), torch.full((self.num_envs, self.card.state_size), value)

    def reset(self, seeds: Tensor) -> Reset:
        self.t = 0
        return Reset(*self._view(self.seen[0]), None, None)

    def current(self) -> Reset:
        return Reset(*self._view(self.seen[self.t]), None, None)

    def step(self, actions: Tensor) -> Transition:
        t, b = self.t, self.num_envs
        self.t += 1
        observation, state = self._view(self.seen[self.t])
        final_observation, final_state = (observation, state) if not self.ends[t] else self._view(self.finals[t])
        flag = {kind: torch.full((b,), self.ends[t] == kind) for kind in ("terminated", "truncated")}
        reward = torch.tensor(self.rewards[t]).expand(b, -1).clone()
        return Transition(
            observation, state, reward, flag["terminated"], flag["truncated"],
            flag["terminated"][:, None].expand(b, self.card.num_agents), None, None,
            final_observation, final_state, None, None, torch.zeros(b),
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = state["t"]

    def scene(self, index: int) -> Scene:
        return Scene((0, 0, 1, 1), ())
