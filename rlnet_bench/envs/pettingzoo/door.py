"""From an id to a PettingZoo ``ParallelEnv``. Imports without torch.

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

from rlnet_bench import trust
from rlnet_bench.errors import BadInput, MissingExtra, shown
from rlnet_bench.reading.yaml import load

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
        named = f" A VMAS scenario is named vmas:{door.target}." if hasattr(env, "make_world") else ""
        raise BadInput(f"task {door.task!r}: expected {door.factory} to make a ParallelEnv, found {found}.{named}")
    if not getattr(env, "possible_agents", None):
        raise BadInput(f"task {door.task!r}: expected possible_agents to name every agent, found none.")
    for name in ("reset", "step"):
        if getattr(type(env), name) is getattr(parallel, name):
            raise BadInput(
                f"task {door.task!r}: expected {type(env).__qualname__} to define {name}, found no such method."
            )
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
        file = f"{door.target}.py"
        meant = f"the file {file}:{door.factory}" if Path(file).is_file() else "a file (path/to/file.py:factory)"
        hint = f"is it installed, or did you mean {meant}?"
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
