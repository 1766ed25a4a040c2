"""lbforaging's environment as a PettingZoo ``ParallelEnv``, its time limit told apart from its end."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.lbf.original import original
from rlnet_bench.errors import MissingExtra

try:
    from pettingzoo import ParallelEnv
except ImportError:  # the class below then says what to install
    ParallelEnv = object


class LbfParallel(ParallelEnv):
    """One field of lbforaging.

    lbforaging reports its time limit as ``terminated``; here an episode that ends with food left on the
    field is truncated. A new object is built for every episode, since a seeded reset of a used one
    depends on where its players stood.
    """

    metadata = {"name": "lbforaging"}  # noqa: RUF012 (PettingZoo's convention)

    def __init__(self, card: TaskCard) -> None:
        if ParallelEnv is object:
            raise MissingExtra("pettingzoo", "lbf", f"the original of {card.id}")
        self.card = card
        self.env = original(card)
        self.possible_agents = list(card.agents)
        self.agents: list[str] = []
        self.max_steps = card.horizon

    def observation_space(self, agent: str) -> Any:
        """The original's."""
        return self.env.observation_space[self.possible_agents.index(agent)]

    def action_space(self, agent: str) -> Any:
        """The original's."""
        return self.env.action_space[self.possible_agents.index(agent)]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        """A fresh field."""
        self.env = original(self.card)
        observations, _ = self.env.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return dict(zip(self.agents, map(_flat, observations))), {a: {} for a in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        """One step of everybody."""
        observations, rewards, over, _, _ = self.env.step([int(actions[a]) for a in self.possible_agents])
        left = float(self.env.field.sum())
        ended, cut = over and left == 0, over and left > 0
        agents, names = self.agents, self.possible_agents
        spawned = float(self.env._food_spawned)
        info = {"success": 1.0 - left / spawned if spawned else 0.0} if over else {}
        if over:
            self.agents = []
        return (
            dict(zip(names, map(_flat, observations))),
            {a: float(r) for a, r in zip(names, rewards)},
            dict.fromkeys(agents, bool(ended)),
            dict.fromkeys(agents, bool(cut)),
            {a: dict(info) for a in agents},
        )

    def render(self) -> None:
        """Not offered: our own drawing needs no OpenGL."""

    def close(self) -> None:
        """Nothing to release."""


def _flat(observation: Any) -> np.ndarray:
    return np.asarray(observation, dtype=np.float32)
