"""Small ParallelEnvs that somebody else might have written; named by path in test_pettingzoo.py."""

import os
import signal
import sys
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Sequence
from pettingzoo import AECEnv, ParallelEnv


class Fading(ParallelEnv):
    """Three unlike agents that leave one by one: c dies at step 2, b is cut at step 3, a decides the end.

    Agent a ends the episode by choosing action 1 from step 4 on; otherwise max_cycles cuts it.
    """

    metadata: ClassVar = {"name": "fading"}

    def __init__(self, max_cycles=6):
        self.max_cycles = max_cycles
        self.possible_agents = ["a", "b", "c"]
        self.agents = []
        self._observations = {
            "a": Box(-9, 9, (2, 2), np.float32),
            "b": Discrete(3),
            "c": Dict({"observation": Box(-9, 9, (2,), np.float64), "action_mask": MultiBinary(2)}),
        }
        self._actions = {"a": Discrete(4), "b": Discrete(3, start=1), "c": Discrete(2)}

    def observation_space(self, agent):
        return self._observations[agent]

    def action_space(self, agent):
        return self._actions[agent]

    def state(self):
        return np.array([self.x, self.t])

    def _see(self, agent):
        if agent == "a":
            return np.array([[self.x, self.t], [self.t, self.x]], np.float32)
        if agent == "b":
            return self.t % 3
        return {"observation": np.array([self.t, self.x]), "action_mask": np.array([1, self.t % 2], np.int8)}

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.x, self.t, self.agents = float(self.random.random()), 0, list(self.possible_agents)
        return {a: self._see(a) for a in self.agents}, {a: {} for a in self.agents}

    def step(self, actions):
        live = self.agents
        assert set(actions) == set(live), (actions, live)
        assert all(self._actions[a].contains(v) for a, v in actions.items()), actions
        self.t += 1
        self.x += 0.1 * sum(actions.values())
        over = self.t >= self.max_cycles
        done = {
            "a": self.t >= 4 and actions["a"] == 1 and not over,
            "b": False,
            "c": self.t >= 2,
        }
        cut = {"a": over, "b": self.t >= 3, "c": False}
        self.agents = [a for a in live if not (done[a] or cut[a])]
        seen, rewards = {a: self._see(a) for a in live}, dict.fromkeys(live, self.x)
        infos = {a: {"success": 0.5} if a == "a" else {} for a in live}
        return seen, rewards, {a: done[a] for a in live}, {a: cut[a] for a in live}, infos


class Helpless(Fading):
    """Agent c may do nothing, not even nothing."""

    def _see(self, agent):
        seen = super()._see(agent)
        return {**seen, "action_mask": np.zeros(2, np.int8)} if agent == "c" else seen


class Pushing(ParallelEnv):
    """Two agents with boxes of different shapes and bounds; says nothing about its time limit."""

    metadata: ClassVar = {"name": "pushing"}
    observation = Box(-99, 99, (2,), np.float32)
    spaces: ClassVar = {
        "p": Box(-1, 1, (2,), np.float32),
        "q": Box(np.array([[0.0]]), np.array([[5.0]]), dtype=np.float64),
    }

    def __init__(self, **unlike):
        self.possible_agents, self.agents, self.unlike = ["p", "q"], [], unlike

    def observation_space(self, agent):
        return self.unlike.get("observe", self.observation)

    def action_space(self, agent):
        return self.unlike.get(agent, self.spaces[agent])

    def _see(self):
        return {a: np.array([self.x, self.t], np.float32) for a in self.agents}

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.x, self.t, self.agents = float(self.random.random()), 0, list(self.possible_agents)
        return self._see(), {a: {} for a in self.agents}

    def step(self, actions):
        assert actions["q"].shape == (1, 1) and actions["q"].dtype == np.float64
        assert all(self.spaces[a].contains(v) for a, v in actions.items()), actions
        self.t += 1
        self.x += float(actions["p"].sum() + actions["q"].sum())
        self.misbehave()
        nothing = dict.fromkeys(self.agents, False)
        return self._see(), dict.fromkeys(self.agents, self.x), nothing, dict(nothing), {a: {} for a in self.agents}

    def misbehave(self):
        """For heirs."""


class Raising(Pushing):
    def misbehave(self):
        if self.t == 3:
            raise ValueError("the spring broke")


class Dying(Pushing):
    def misbehave(self):
        if self.t == 3:
            os.kill(os.getpid(), signal.SIGKILL)


class Stuck(Pushing):
    """A step that never ends."""

    def misbehave(self):
        while True:
            signal.pause()


class Haunted(Fading):
    """Agents that are over stay where they are."""

    def step(self, actions):
        told = super().step(actions)
        self.agents = list(self.possible_agents)
        return told


class Absent(Pushing):
    step = ParallelEnv.step


class Spaceless(Pushing):
    observation_space, action_space = ParallelEnv.observation_space, ParallelEnv.action_space


class Kept(Spaceless):
    """Spaces in dictionaries only, of which PettingZoo's base class warns at every call."""

    observation_spaces: ClassVar = {"p": Pushing.observation, "q": Pushing.observation}
    action_spaces: ClassVar = Pushing.spaces


class OldReset(Pushing):
    def reset(self, seed=None, options=None):
        return super().reset(seed)[0]


class OldStep(Pushing):
    def step(self, actions):
        return super().step(actions)[:4]


class Narrow(Pushing):
    def _see(self):
        return {a: np.zeros(1, np.float32) for a in self.agents}


class Wordless(Pushing):
    def reset(self, seed=None, options=None):
        raise NotImplementedError


def needs_no_torch():
    assert "torch" not in sys.modules, "torch was imported in a worker"
    return Pushing()


def turn_based():
    return AECEnv()


def something_else():
    return 3


def unbounded():
    return Pushing(q=Box(-np.inf, np.inf, (1,), np.float32))


def mixed():
    return Pushing(q=Discrete(3))


def binary():
    return Pushing(q=MultiBinary(3))


def growing():
    return Pushing(observe=Sequence(Discrete(2)))


not_callable = 3
