"""The original packages behind our success metric: what the reference referee plays on.

The originals are wrapped as PettingZoo ``ParallelEnv`` objects and vectorised over worker processes by
the same door that serves any foreign environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlnet_bench.envs.card import TaskCard, has_original
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, MissingExtra

COVER_RADIUS = 0.1


def parallel_env(task: str) -> Any:
    """The original of one of our tasks as a ``ParallelEnv`` that reports our success metric.

    Raises:
        BadInput: when the task has no original to play on.
        MissingExtra: when the original package is not installed.
    """
    card = task_card(task)
    if card.family == "mpe":
        return _mpe(card)
    if card.family == "lbf":
        return _lbf(card)
    raise BadInput(f"{task}: the reference referee plays mpe and lbf tasks; {card.family} is its own original.")


def original_stepper(card: TaskCard) -> Callable[[], Any] | None:
    """A function that steps one original environment with random actions, or None where there is none."""
    if not has_original(card):
        return None
    try:
        env = parallel_env(card.id)
    except MissingExtra:
        return None
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    sizes = dict(zip(env.possible_agents, card.action_sizes))

    def step() -> None:
        if not env.agents:
            env.reset()
        if card.action_kind == "discrete":
            env.step({a: int(rng.integers(sizes[a])) for a in env.agents})
        else:
            env.step({a: rng.random(sizes[a], dtype=np.float32) for a in env.agents})

    return step


def _mpe(card: TaskCard) -> Any:
    try:
        from mpe2 import simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3
    except ImportError:
        raise MissingExtra("mpe2", "mpe", f"the original of {card.id}") from None
    modules = {
        "simple_spread": simple_spread_v3,
        "simple_speaker_listener": simple_speaker_listener_v4,
        "simple_reference": simple_reference_v3,
    }
    arguments = {k: v for k, v in card.constructor.items() if k != "scenario"}
    arguments["max_cycles"] = card.horizon
    env = modules[card.constructor["scenario"]].parallel_env(
        continuous_actions=card.action_kind == "continuous", **arguments
    )
    return _scored(env, _mpe_success)


def _mpe_success(env: Any) -> float:
    """Our success metric, read off mpe2's world."""
    world = env.unwrapped.world
    goals = [a for a in world.agents if getattr(a, "_goal_b", None) is not None]  # goal_b raises where there is none
    if goals:
        apart = [np.linalg.norm(a.goal_a.state.p_pos - a.goal_b.state.p_pos) for a in goals]
    else:
        apart = [min(np.linalg.norm(a.state.p_pos - m.state.p_pos) for a in world.agents) for m in world.landmarks]
    return float(np.mean([d < COVER_RADIUS for d in apart]))


def _scored(env: Any, success: Callable[[Any], float]) -> Any:
    """The same ParallelEnv, with ``info["success"]`` when an episode ends."""
    from pettingzoo.utils.wrappers import BaseParallelWrapper

    class Scored(BaseParallelWrapper):
        def step(self, actions: dict[str, Any]) -> Any:
            observations, rewards, terminations, truncations, infos = self.env.step(actions)
            if not self.env.agents:
                found = success(self.env)
                infos = {agent: {**info, "success": found} for agent, info in infos.items()}
            return observations, rewards, terminations, truncations, infos

    return Scored(env)


def _lbf(card: TaskCard) -> Any:
    from rlnet_bench.envs.lbf.parallel import LbfParallel

    return LbfParallel(card)
