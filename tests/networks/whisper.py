"""A task of telling: agent 0 sees one of two words for three steps, agent 1 sees nothing and is to say the word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv

STEPS = 3
CARD = TaskCard(
    id="test/whisper-v1", family="test", faithful_to="", description="", constructor={}, agents=("teller", "hearer"),
    horizon=STEPS, action_kind="discrete", action_sizes=(2, 2), observation_sizes=(2, 2), state_size=2, state="full",
    reward_scale="1 where the hearer says the word", shared_reward=True, success_metric="", floor=0.0,
)  # fmt: skip


class Whisper(VectorEnv):
    """Every step pays 1 to both where the hearer's action is the word; a new word after three steps, by the clock.

    ``masked``: in every step each agent has one or two legal options, and no other is accepted.
    """

    def __init__(self, num_envs: int, masked: bool = False) -> None:
        self.card, self.num_envs, self.device, self.time = CARD, num_envs, torch.device("cpu"), 0
        if masked:
            self.card = replace(CARD, masked=True)

    def reset(self, seeds: Tensor) -> Reset:
        self.keys, self.time = seeds, 0
        return self.current()

    def current(self) -> Reset:
        word = rng.integers(rng.fold(self.keys, self.time // STEPS), 2)
        seen = torch.nn.functional.one_hot(word, 2).float()
        return Reset(torch.stack((seen, torch.zeros_like(seen)), dim=1), seen, self._legal(), None)

    def _legal(self) -> Tensor | None:
        if not self.card.masked:
            return None
        key = rng.fold(rng.fold(self.keys, 7 + self.time)[:, None], torch.arange(2))
        only = rng.integers(key, 3)  # 0 or 1 alone, or both
        return torch.stack((only != 1, only != 0), dim=-1)

    def step(self, actions: Tensor) -> Transition:
        before = self.current()
        if before.action_mask is not None:
            assert bool(before.action_mask.gather(2, actions[..., None]).all()), "an illegal option"
        paid = before.state.gather(1, actions[:, 1:]).expand(-1, 2)
        self.time += 1
        now, over = self.current(), torch.full((self.num_envs,), self.time % STEPS == 0)
        never = torch.zeros_like(over)
        return Transition(
            now.observation, now.state, paid, never, over, never[:, None].expand(-1, 2), now.action_mask, None,
            before.observation, before.state, now.action_mask, None, paid[:, 0],
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "time": self.time}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.keys, self.time = state["keys"], state["time"]

    def scene(self, index: int) -> Scene:
        return Scene((0, 0, 1, 1), ())
