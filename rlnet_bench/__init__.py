"""A referee for collaborative multi-agent reinforcement learning.

Everything that the command line does is importable; names are loaded when first used, so that
``import rlnet_bench`` stays fast and torch-free::

    import rlnet_bench as rb

    rb.run("quick", store="my-store")
    frame = rb.load_results("my-store").frame()
    policy = rb.load_policy("my-store/runs/<id>", seed=0)
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlnet_bench.analysis.crossplay import crossplay as crossplay
    from rlnet_bench.analysis.loading import load_results as load_results
    from rlnet_bench.api import run as run
    from rlnet_bench.envs.check import check_env as check_env
    from rlnet_bench.envs.pettingzoo.export import parallel_env as parallel_env
    from rlnet_bench.envs.registry import task_ids as task_ids
    from rlnet_bench.leaderboard.check import check_submission as check_submission
    from rlnet_bench.leaderboard.verify import verify as verify
    from rlnet_bench.learning.play import evaluate as evaluate
    from rlnet_bench.methods import method_ids as method_ids
    from rlnet_bench.reports import build_report as build_report
    from rlnet_bench.reports import plots as plots
    from rlnet_bench.reports import render_table as render_table
    from rlnet_bench.runs.check import check_method as check_method
    from rlnet_bench.runs.policies import load_policy as load_policy
    from rlnet_bench.runs.suite import load_suite as load_suite
    from rlnet_bench.typed import find_method as find_method
    from rlnet_bench.typed import make_env as make_env
    from rlnet_bench.typed import task_card as task_card

_HOMES = {
    "build_report": "rlnet_bench.reports",
    "check_env": "rlnet_bench.envs.check",
    "check_method": "rlnet_bench.runs.check",
    "check_submission": "rlnet_bench.leaderboard.check",
    "crossplay": "rlnet_bench.analysis.crossplay",
    "evaluate": "rlnet_bench.learning.play",
    "find_method": "rlnet_bench.typed",
    "load_policy": "rlnet_bench.runs.policies",
    "load_results": "rlnet_bench.analysis.loading",
    "load_suite": "rlnet_bench.runs.suite",
    "make_env": "rlnet_bench.typed",
    "method_ids": "rlnet_bench.methods",
    "parallel_env": "rlnet_bench.envs.pettingzoo.export",
    "plots": "rlnet_bench.reports",
    "render_table": "rlnet_bench.reports",
    "run": "rlnet_bench.api",
    "task_card": "rlnet_bench.typed",
    "task_ids": "rlnet_bench.envs.registry",
    "verify": "rlnet_bench.leaderboard.verify",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlnet_bench' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    found = getattr(home, name, None) or importlib.import_module(f"{home.__name__}.{name}")
    if inspect.isfunction(found):
        found = globals()[name] = _spoken(found)
    return found


def _spoken(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors speak of Python's arguments where the command line's speak of options."""
    from rlnet_bench.errors import RlnetError, in_python

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except RlnetError as error:
            error.args = (in_python(str(error)), *error.args[1:])
            raise

    return call


def __dir__() -> list[str]:
    return __all__
