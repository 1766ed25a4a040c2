"""From an id to a PettingZoo ``ParallelEnv`` and what it looks like from outside. Imports without torch.

An id is ``module:factory`` or ``path/to/file.py:factory``, optionally followed by ``?key=value&...``.
Three keys are ours, all others are passed to the factory (values are read as YAML):

* ``horizon``: the time limit in steps; needed where the environment has no attribute that says it;
* ``floor``: the score of a diverged run;
* ``state``: ``concat`` (default, the observations side by side) or ``full`` (the environment's ``state()``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rlnet_bench import trust
from rlnet_bench.errors import BadInput, MissingExtra, said, shown
from rlnet_bench.reading.yaml import load

_LIMITS = ("max_cycles", "max_episode_steps", "max_steps", "horizon")
# Far below any sensible score, so that a diverged run can never pass for a good one.
_UNKNOWN_FLOOR = -1e6


@dataclass(frozen=True)
class Door:
    """A parsed id."""

    task: str
    target: str  # a module or a file
    factory: str
    arguments: Mapping[str, Any]
    horizon: int | None
    floor: float
    state: str


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


def parse(task: str) -> Door:
    """Split an id.

    Raises:
        BadInput: the id has not the form above.
    """
    path, _, query = task.partition("?")
    target, colon, factory = path.rpartition(":")
    form = "expected 'module:factory' or 'path/to/file.py:factory', optionally '?horizon=25&key=value'"
    if not colon or not target or not factory.isidentifier():
        raise BadInput(f"task {task!r}: {form}.")
    arguments: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise BadInput(f"task {task!r}: {form}; found {part!r}.")
        arguments[key] = load(value, f"task {shown(task)}: {key}").data
    horizon, floor = arguments.pop("horizon", None), arguments.pop("floor", _UNKNOWN_FLOOR)
    state = arguments.pop("state", "concat")
    if horizon is not None and (type(horizon) is not int or horizon < 1):
        raise BadInput(f"task {task!r}: horizon: expected a positive integer, found {horizon!r}.")
    if type(floor) not in (int, float) or not math.isfinite(floor):
        raise BadInput(f"task {task!r}: floor: expected a finite number, found {floor!r}.")
    if state not in ("concat", "full"):
        raise BadInput(f"task {task!r}: state: expected 'concat' or 'full', found {state!r}.")
    return Door(task, target, factory, arguments, horizon, float(floor), state)


def build(door: Door) -> Any:
    """A new ``ParallelEnv``.

    Raises:
        BadInput: the module, file or factory is not there, or what it made is not a ``ParallelEnv``.
        MissingExtra: pettingzoo is not installed.
    """
    aec, parallel = _base_classes()
    make = _factory(door)
    try:
        env = make(**door.arguments)
    except TypeError as error:
        raise BadInput(f"task {door.task!r}: {door.factory} refused its arguments: {error}") from error
    if isinstance(env, aec):
        raise BadInput(
            f"task {door.task!r}: expected a pettingzoo ParallelEnv, found a turn-based AECEnv; name the "
            "package's parallel_env, or wrap it in pettingzoo.utils.aec_to_parallel."
        )
    if not isinstance(env, parallel):
        found = f"{type(env).__module__}.{type(env).__qualname__}"
        raise BadInput(f"task {door.task!r}: expected {door.factory} to make a ParallelEnv, found {found}.")
    if not getattr(env, "possible_agents", None):
        raise BadInput(f"task {door.task!r}: expected possible_agents to name every agent, found none.")
    return env


def _base_classes() -> tuple[type, type]:
    try:
        from pettingzoo.utils.env import AECEnv, ParallelEnv
    except ImportError as error:
        raise MissingExtra("pettingzoo", "pettingzoo", "a ParallelEnv as a task") from error
    return AECEnv, ParallelEnv


def _factory(door: Door) -> Callable[..., Any]:
    module = _module(door)
    make = getattr(module, door.factory, None)
    if make is None:
        near = get_close_matches(door.factory, dir(module), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise BadInput(f"task {door.task!r}: {door.target} has no {door.factory!r}.{guess}")
    if not callable(make):
        raise BadInput(f"task {door.task!r}: expected {door.factory} to be callable, found {type(make).__name__}.")
    return make


def _module(door: Door) -> ModuleType:
    code = trust.demand(door.task)
    try:
        return trust.load(code)
    except ModuleNotFoundError as error:
        hint = "is it installed, or did you mean a file (path/to/file.py:factory)?"
        raise BadInput(f"task {door.task!r}: no module named {error.name!r}; {hint}") from error


def source(door: Door) -> str:
    """The package and version of an environment, or the digest of its file: part of the task's identity."""
    if not door.target.endswith(".py"):
        package = door.target.partition(".")[0]
        for distribution in packages_distributions().get(package, []):
            return f"{distribution} {version(distribution)}"
    path = Path(_module(door).__file__ or "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "unknown"
    return f"{path.name} sha256 {digest}"


def describe(door: Door, env: Any) -> Plan:
    """Sizes, bounds and horizon of a freshly built environment; resets it once with seed 0.

    Raises:
        BadInput: a space is not supported, kinds of actions are mixed, an agent has no legal action at the start, or
            the horizon is unknown.
    """
    agents = tuple(str(a) for a in env.possible_agents)
    try:
        seen, infos = env.reset(seed=0)
    except Exception as error:
        raise BadInput(f"task {door.task!r}: the environment raised in reset: {said(error)}.") from error
    spaces = [env.action_space(a) for a in env.possible_agents]
    observed = [inner_space(env.observation_space(a)) for a in env.possible_agents]
    kinds = [_action_kind(door, agent, space) for agent, space in zip(agents, spaces)]
    if len(set(kinds)) > 1:
        pairs = ", ".join(f"{a}: {k}" for a, k in zip(agents, kinds))
        raise BadInput(f"task {door.task!r}: expected one kind of action for all agents, found {pairs}.")
    discrete = kinds[0] == "discrete"
    for agent in env.possible_agents if discrete else ():
        legal = seen_and_legal(env.observation_space(agent), seen.get(agent), (infos or {}).get(agent))[1]
        if legal is not None and not np.any(legal):
            raise BadInput(
                f"task {door.task!r}: agent {agent}: expected at least one legal action at the start of an episode, "
                "found none; where an agent cannot act, its mask allows one that does nothing."
            )
    sizes = tuple(_observation_size(door, agent, space) for agent, space in zip(agents, observed))
    masked = discrete and (
        any(is_masked(env.observation_space(a)) for a in env.possible_agents)
        or any("action_mask" in (infos or {}).get(a, {}) for a in env.possible_agents)
    )
    return Plan(
        agents=agents,
        action_kind=kinds[0],
        action_sizes=tuple(int(s.n) if discrete else int(np.prod(s.shape)) for s in spaces),
        lows=None if discrete else tuple(tuple(map(float, s.low.ravel())) for s in spaces),
        highs=None if discrete else tuple(tuple(map(float, s.high.ravel())) for s in spaces),
        observation_sizes=sizes,
        state_size=_state_size(door, env) if door.state == "full" else sum(sizes),
        horizon=door.horizon or _limit(door, env),
        masked=masked,
    )


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
