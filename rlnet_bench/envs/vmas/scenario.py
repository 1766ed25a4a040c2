"""From a card to a VMAS environment: scenario files, their arguments, the package itself."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput, MissingExtra, UnknownName, said
from rlnet_bench.trust import Code, demand, load, target

# Imports with which a scenario has no way to numpy's or Python's random streams. The last two are those of a
# heuristic policy in one of VMAS's files, which no environment calls.
_HARMLESS = frozenset(
    ("__future__", "abc", "collections", "dataclasses", "enum", "functools", "itertools", "math", "operator",
     "torch", "typing", "vmas", "warnings", "cvxpy", "cvxpylayers")
)  # fmt: skip


def package() -> ModuleType:
    """The package ``vmas``, imported when first needed.

    Raises:
        MissingExtra: with the command that installs it.
    """
    try:
        import vmas
        import vmas.simulator.environment
        import vmas.simulator.scenario
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "vmas":
            raise
        raise MissingExtra("vmas", "vmas", "this task") from None
    return vmas


def build(card: TaskCard, num_envs: int, device: str) -> Any:
    """The VMAS environment of a card. Draws from the global random streams: call it inside a stream.

    Raises:
        MissingExtra: when vmas is not installed.
        BadInput: for a scenario that lacks a method or raises, or arguments that it does not know.
    """
    arguments = {k: v for k, v in card.constructor.items() if k not in ("scenario", "source")}
    name = str(card.constructor["scenario"])
    module = _module(card)
    _check_arguments(name, module, arguments)
    environment = package().simulator.environment.Environment
    env = object.__new__(environment)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Scenario kwargs", category=UserWarning)
        try:
            # Unwrapped, as the constructor too swaps the process-wide stream, with no way back when it raises.
            inspect.unwrap(environment.__init__)(
                env,
                module.Scenario(),
                num_envs=num_envs,
                device=device,
                max_steps=card.horizon,
                continuous_actions=card.action_kind == "continuous",
                terminated_truncated=True,
                **arguments,
            )
        except UserWarning as unused:  # arguments that the check of the source did not see
            raise BadInput(f"{card.id}: {unused}") from None
        except Exception as error:
            raise BadInput(f"{card.id}: making the environment raised {said(error)}.") from error
    return env


# -- scenario files ----------------------------------------------------------------------------------------


def scenario_code(task: str, name: str, source: str = "") -> Code:
    """The file of a task's scenario: the user's, where the task's id names it and it is trusted, or the package's.

    Args:
        task: the task's id.
        name: of the scenario, as in its card.
        source: the beginning of the file's sha256, where the card says it.
    """
    if target(task) == name:
        code = demand(task, source)
        if code.sha256:
            return code
    folder = Path(package().__file__ or "").parent / "scenarios"
    known = {str(p.relative_to(folder))[:-3]: p for p in folder.rglob("*.py") if p.stem != "__init__"}
    path = known.get(name.removesuffix(".py"))
    if path is not None:
        return Code(f"vmas:{path}", str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    if name.endswith(".py"):
        raise BadInput(f"vmas:{name}: no such file (looked in {Path.cwd()} and among VMAS's scenarios).")
    raise UnknownName("scenario", name, known, hint=f"VMAS has {len(known)}; a file of yours ends in .py.")


def _module(card: TaskCard) -> ModuleType:
    given = card.constructor
    code = scenario_code(card.id, str(given["scenario"]), str(given.get("source", "")))
    module = load(code)
    if not hasattr(module, "Scenario"):
        raise BadInput(f"{code.path}: expected a class named Scenario, found none.")
    missing = sorted(getattr(module.Scenario, "__abstractmethods__", ()))
    if missing:
        raise BadInput(f"{code.path}: expected Scenario to define {' and '.join(missing)}, found no such method.")
    return module


def draws_from_torch_only(card: TaskCard) -> bool:
    """Whether a scenario's source shows that it cannot draw from numpy's or Python's random streams."""
    return _torch_only(_module(card))


@cache
def _torch_only(module: ModuleType) -> bool:
    imported: set[str] = set()
    for tree in _sources(module):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                imported.add("." if node.level else str(node.module).partition(".")[0])
            if isinstance(node, ast.Name) and node.id in ("__import__", "eval", "exec"):
                return False
    return imported <= _HARMLESS


def _sources(module: ModuleType) -> list[ast.Module]:
    """The parsed files of a scenario class and of the scenario classes that it extends."""
    base = package().simulator.scenario.BaseScenario
    classes = [c for c in module.Scenario.__mro__ if issubclass(c, base) and c is not base]
    files = {str(module.__file__)} | {
        str(getattr(sys.modules.get(c.__module__, module), "__file__", "")) for c in classes
    }
    return [ast.parse(Path(file).read_text(encoding="utf-8")) for file in sorted(files - {""})]


@cache
def _known_arguments(module: ModuleType) -> frozenset[str]:
    """Arguments that a scenario reads, found in its source.

    VMAS scenarios take their arguments out of ``**kwargs``; there is no list of them.
    """
    found: set[str] = set()
    for tree in _sources(module):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "make_world":
                found |= {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                literal = node.args[0] if node.args else None
                if node.func.attr in ("pop", "get") and _is_kwargs(node.func.value) and _is_text(literal):
                    found.add(literal.value)  # type: ignore[union-attr]
            if isinstance(node, ast.Subscript) and _is_kwargs(node.value) and _is_text(node.slice):
                found.add(node.slice.value)  # type: ignore[attr-defined]
    return frozenset(found - {"self", "batch_dim", "device"})


def _is_kwargs(node: Any) -> bool:
    return isinstance(node, ast.Name) and node.id == "kwargs"


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _check_arguments(name: str, module: ModuleType, arguments: Mapping[str, Any]) -> None:
    known = _known_arguments(module)
    for argument in arguments:
        if argument not in known:
            near = get_close_matches(argument, known, n=1, cutoff=0.4)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
            raise BadInput(f"VMAS scenario {name}: unknown argument {argument!r}.{guess} {takes}")
