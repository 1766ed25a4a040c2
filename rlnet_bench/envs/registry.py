"""From a task id to its card and its environments. Importing this module does not import torch.

Ids are ``family/name-vN``. Users extend without editing anything here: ``my_package:my_parallel_env``
names a PettingZoo ``ParallelEnv`` factory, ``vmas:my_scenario.py`` a VMAS scenario file, and the entry
point group ``rlnet_bench.families`` adds whole families (a module with ``ids``, ``card`` and ``make``; with
``resized(id, agents) -> id`` its tasks have other team sizes).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs import cards as _catalogue
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from rlnet_bench.envs.contract import VectorEnv


@cache
def _families() -> dict[str, ModuleType]:
    """Family name -> its torch-free card module."""
    found = {
        info.name: importlib.import_module(f"{_catalogue.__name__}.{info.name}")
        for info in pkgutil.iter_modules(_catalogue.__path__)
    }
    for entry in entry_points(group="rlnet_bench.families"):
        found[entry.name] = entry.load()
    return found


def task_ids() -> list[str]:
    """Every published task id, sorted."""
    return sorted(i for module in _families().values() for i in module.ids())


def task_card(task: str) -> TaskCard:
    """The card of a task id, or of code that is trusted (:mod:`rlnet_bench.trust`).

    Raises:
        UnknownName: with the nearest known id.
        Untrusted: instead of importing code that nobody trusted.
    """
    if ":" in task:
        return _families()[_family_of_path(task)].card(task)
    family = task.partition("/")[0]
    if family not in _families():
        own = "a task of yours is FILE.py:FACTORY or MODULE:FACTORY (a ParallelEnv), or vmas:FILE.py (a scenario)."
        raise UnknownName("task", task, task_ids(), hint=f"`rlnet-bench list tasks` shows all; {own}")
    try:
        return _families()[family].card(task)
    except UnknownName as error:  # nearest of all families, and what its own family says of its names
        raise UnknownName("task", task, task_ids(), error.hint) from None


def resized(card: TaskCard, agents: int) -> TaskCard:
    """The card of the same task with another number of agents.

    Raises:
        BadInput: where the family, or the task, has no other sizes, or not this one.
    """
    if agents == card.num_agents:
        return card
    module = _families()[card.family]
    if not hasattr(module, "resized"):
        raise BadInput(f"{card.id}: its number of agents cannot be changed: {card.family} tasks are as they are made.")
    return task_card(module.resized(card.id, agents))


def is_catalogued(task: str) -> bool:
    """Whether a task belongs to a family of ids, and is no code of its own."""
    return ":" not in task and task.partition("/")[0] in _families()


def _family_of_path(task: str) -> str:
    return "vmas" if task.startswith("vmas:") else "pettingzoo"


def make_env(task: str | TaskCard, num_envs: int, device: str = "cpu", **options: Any) -> VectorEnv:
    """Build a batch of ``num_envs`` environments of a task on one device.

    Args:
        task: a task id or its card.
        num_envs: size B of the flat batch.
        device: torch device string.
        options: passed to the family (for instance ``compile=True`` where it is offered).
    """
    card = task if isinstance(task, TaskCard) else task_card(task)
    module = _families()[card.family]
    if not hasattr(module, "make"):
        module = importlib.import_module(f"rlnet_bench.envs.{card.family}.env")
    return module.make(card, num_envs, device, **options)
