"""What a PettingZoo ``ParallelEnv`` looks like from outside: agents, spaces, time limit. Imports without torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnet_bench.envs.pettingzoo.door import Door
from rlnet_bench.errors import BadInput, said, shown

_LIMITS = ("max_cycles", "max_episode_steps", "max_steps", "horizon")


@dataclass(frozen=True)
class Plan:
    """What a card needs to know about an environment."""

    agents: tuple[str, ...]
    action_kind: str
    action_sizes: tuple[int, ...]
    lows: tuple[tuple[float, ...], ...] | None
    highs: tuple[tuple[float, ...], ...] | None
    observation_sizes: tuple[int, ...]
    state_size: int
    horizon: int
    masked: bool


def spaces(env: Any) -> tuple[list[Any], list[Any]]:
    """(observation spaces, action spaces), an agent each.

    PettingZoo's base class warns whoever keeps them in dictionaries, at every call; it works, and is not said.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your environment should override", UserWarning)
        agents = env.possible_agents
        return [env.observation_space(a) for a in agents], [env.action_space(a) for a in agents]


def describe(door: Door, env: Any) -> Plan:
    """Sizes, bounds and horizon of a freshly built environment; resets it once with seed 0.

    Raises:
        BadInput: reset or a space is not what PettingZoo says, a space is not supported, kinds of actions are mixed,
            an agent has no legal action at the start, or the horizon is unknown.
    """
    agents = tuple(str(a) for a in env.possible_agents)
    seen, infos = _start(door, env)
    shown_spaces, chosen = _spaces_of(door, env)
    kinds = [_action_kind(door, agent, space) for agent, space in zip(agents, chosen)]
    if len(set(kinds)) > 1:
        pairs = ", ".join(f"{a}: {k}" for a, k in zip(agents, kinds))
        raise BadInput(f"task {door.task!r}: expected one kind of action for all agents, found {pairs}.")
    discrete = kinds[0] == "discrete"
    sizes = tuple(_observation_size(door, agent, inner_space(space)) for agent, space in zip(agents, shown_spaces))
    for agent, space, size in zip(env.possible_agents, shown_spaces, sizes):
        value, legal = seen_and_legal(space, seen.get(agent), infos.get(agent))
        if value is not None:
            _fits(door, agent, inner_space(space), value, size)
        if discrete and legal is not None and not np.any(legal):
            raise BadInput(
                f"task {door.task!r}: agent {agent}: expected at least one legal action at the start of an episode, "
                "found none; where an agent cannot act, its mask allows one that does nothing."
            )
    masked = discrete and (
        any(map(is_masked, shown_spaces)) or any("action_mask" in infos.get(a, {}) for a in env.possible_agents)
    )
    return Plan(
        agents=agents,
        action_kind=kinds[0],
        action_sizes=tuple(int(s.n) if discrete else int(np.prod(s.shape)) for s in chosen),
        lows=None if discrete else tuple(tuple(map(float, s.low.ravel())) for s in chosen),
        highs=None if discrete else tuple(tuple(map(float, s.high.ravel())) for s in chosen),
        observation_sizes=sizes,
        state_size=_state_size(door, env) if door.state == "full" else sum(sizes),
        horizon=door.horizon or _limit(door, env),
        masked=masked,
    )


def _start(door: Door, env: Any) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """(observations, infos) of the first reset."""
    try:
        begun = env.reset(seed=0)
    except Exception as error:
        raise BadInput(f"task {door.task!r}: the environment raised in reset: {said(error)}.") from error
    if not (isinstance(begun, tuple) and len(begun) == 2 and isinstance(begun[0], Mapping)):
        raise BadInput(
            f"task {door.task!r}: expected reset to return (observations, infos), a dictionary by agent each, "
            f"found {shown(begun)}."
        )
    return begun[0], begun[1] or {}


def _spaces_of(door: Door, env: Any) -> tuple[list[Any], list[Any]]:
    try:
        return spaces(env)
    except Exception as error:
        raise BadInput(
            f"task {door.task!r}: expected observation_space(agent) and action_space(agent) of every agent in "
            f"possible_agents, found that one raised {said(error)}."
        ) from error


def _fits(door: Door, agent: str, space: Any, value: Any, size: int) -> None:
    try:
        found = flat(space, value).size
    except Exception as error:
        raise BadInput(
            f"task {door.task!r}: agent {agent}: expected an observation of {space}, found {shown(value)} ({error})."
        ) from error
    if found != size:
        raise BadInput(
            f"task {door.task!r}: agent {agent}: expected an observation of {size} numbers, as its space says "
            f"({space}), found {found}."
        )


def flat(space: Any, value: Any) -> NDArray[Any]:
    """An observation as float32 numbers in a row."""
    if type(space).__name__ == "Box":
        return np.asarray(value, dtype=np.float32).ravel()
    from gymnasium.spaces.utils import flatten

    return np.asarray(flatten(space, value), dtype=np.float32).ravel()


def is_masked(space: Any) -> bool:
    """The convention of an observation dict that carries the action mask."""
    inner = getattr(space, "spaces", None)
    return isinstance(inner, Mapping) and set(inner) == {"observation", "action_mask"}


def seen_and_legal(space: Any, value: Any, info: Any) -> tuple[Any, Any]:
    """(observation, action mask or None) of an agent, by the convention of its space or else of its info."""
    if is_masked(space) and value is not None:
        return value["observation"], value["action_mask"]
    return value, (info or {}).get("action_mask")


def inner_space(space: Any) -> Any:
    """The observation's space without the action mask."""
    return space["observation"] if is_masked(space) else space


def _action_kind(door: Door, agent: str, space: Any) -> str:
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete):
        return "discrete"
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise BadInput(f"task {door.task!r}: agent {agent}: expected bounded actions, found {space}.")
        return "continuous"
    raise BadInput(
        f"task {door.task!r}: agent {agent}: expected Discrete or floating-point Box actions, found {space}."
    )


def _observation_size(door: Door, agent: str, space: Any) -> int:
    from gymnasium.spaces.utils import flatdim

    try:
        return int(flatdim(space))
    except (NotImplementedError, ValueError) as error:
        raise BadInput(
            f"task {door.task!r}: agent {agent}: expected an observation space of a fixed size "
            f"(Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple of these), found {space}."
        ) from error


def _state_size(door: Door, env: Any) -> int:
    try:
        return int(np.asarray(env.state()).size)
    except (NotImplementedError, AttributeError) as error:
        raise BadInput(f"task {door.task!r}: state=full: the environment offers no state().") from error


def _limit(door: Door, env: Any) -> int:
    inside = getattr(env, "aec_env", None)  # mpe2 and others wrap a turn-based environment
    for layer in (env, getattr(env, "unwrapped", None), inside, getattr(inside, "unwrapped", None)):
        for name in _LIMITS:
            value = getattr(layer, name, None)
            if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0:
                return int(value)
    mark = "&" if "?" in door.task else "?"
    raise BadInput(
        f"task {door.task!r}: the time limit is unknown: the environment has none of the attributes "
        f"{', '.join(_LIMITS)}; add it to the id, for instance {door.task + mark + 'horizon=100'!r}."
    )
