"""A game that nobody wins without being told something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.networks.build import nominal_card

CUES = 4
CARD: TaskCard = replace(nominal_card(2, CUES, CUES), id="test/cue-v1", can_terminate=True)


class Cue(VectorEnv):
    """One agent sees which of four options pays, the other must choose it: 1 to both, else 0; a step is an episode.

    Who sees it is agent 0. Blind play pays 1/4 on average, whatever is done.
    """

    def __init__(self, num_envs: int) -> None:
        self.card, self.num_envs, self.device = CARD, num_envs, torch.device("cpu")
        self.keys = torch.zeros(num_envs, dtype=torch.int64)
        self.episode = torch.zeros(num_envs, dtype=torch.int64)

    @property
    def cue(self) -> Tensor:
        return (rng.uniform32(rng.fold(self.keys, self.episode)) * CUES).long()

    def current(self) -> Reset:
        seen = torch.nn.functional.one_hot(self.cue, CUES).float()
        observation = torch.stack((seen, torch.zeros_like(seen)), dim=1)
        return Reset(observation, observation.flatten(1), None, None)

    def reset(self, seeds: Tensor) -> Reset:
        self.keys, self.episode = seeds.clone(), torch.zeros_like(seeds)
        return self.current()

    def step(self, actions: Tensor) -> Transition:
        reward = (actions[:, 1] == self.cue).float()[:, None].expand(-1, 2).clone()
        before = self.current()
        self.episode = self.episode + 1
        now, ended = self.current(), torch.ones(self.num_envs, dtype=torch.bool)
        return Transition(
            now.observation, now.state, reward, ended, ~ended, ended[:, None].expand(-1, 2), None, None,
            before.observation, before.state, None, None, reward[:, 0],
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "episode": self.episode}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.keys, self.episode = state["keys"], state["episode"]

    def scene(self, index: int) -> Scene:
        return Scene((0, 0, 1, 1), ())


@torch.no_grad()
def won(policy: Any, episodes: int = 256, *, sampled: bool = False) -> float:
    """The share of games that the first replica's policy wins, played deterministically unless ``sampled``."""
    r = policy.replicas
    env = Cue(r * episodes)
    keys = rng.env_keys((7,), rng.Stream.USER, r * episodes, "cpu")
    now = env.reset(keys)
    actions, _ = policy.act(now.observation, policy.initial_state(r * episodes, keys), None, None, not sampled)
    return float(env.step(actions).reward[:episodes, 0].mean())
