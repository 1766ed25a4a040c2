"""The public functions that take a name: what their caller types is trusted by that (:mod:`rlnet_bench.trust`).

Inside the package the functions that they call are used, which import no code that nobody trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlnet_bench import methods, trust
from rlnet_bench.envs import registry
from rlnet_bench.envs.card import TaskCard

if TYPE_CHECKING:
    from rlnet_bench.envs.contract import VectorEnv


def task_card(task: str) -> TaskCard:
    """The card of a task: an id, ``module:factory``, ``file.py:factory`` or ``vmas:file.py``.

    Raises:
        UnknownName: with the nearest known id.
        BadInput: when the code is not there or is no environment.
    """
    trust.typed(task)
    return registry.task_card(task)


def make_env(task: str | TaskCard, num_envs: int, device: str = "cpu", **options: Any) -> VectorEnv:
    """Build a batch of ``num_envs`` environments; see :func:`rlnet_bench.envs.registry.make_env`."""
    if isinstance(task, str):
        trust.typed(task)
    return registry.make_env(task, num_envs, device, **options)


def find_method(name: str) -> type[methods.Method]:
    """A method class by id or by ``path/to/file.py:ClassName``.

    Raises:
        UnknownName: with the nearest id.
        BadInput: when a path does not hold a Method.
    """
    trust.typed(name)
    return methods.find_method(name)
