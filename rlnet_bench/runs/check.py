"""``check_method``: the public conformance test of a method on a task.

    >>> from rlnet_bench.runs.check import check_method
    >>> report = check_method("ippo", "mpe/simple_spread-discrete-v1", faults=1)
    >>> report.ok
    True

Anyone who adds a method calls it in one line of a test: ``check_method("my.py:Mine").raise_if_failed()``.
It trains for a few iterations only: it judges the contract, not the learning.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.envs.check.report import CheckReport, judge
from rlnet_bench.methods import Method, find_method
from rlnet_bench.runs import _check_learning, _check_runs  # noqa: F401
from rlnet_bench.runs._check_case import RULES, Case
from rlnet_bench.runs.plan import make_plan, method_of
from rlnet_bench.runs.suite import Suite
from rlnet_bench.trust import typed
from rlnet_bench.vocabulary import TrainingReward

SPREAD = "mpe/simple_spread-discrete-v1"


@dataclass(frozen=True)
class MethodReport(CheckReport):
    """What :func:`check_method` found."""

    method: str = ""

    @property
    def title(self) -> str:
        """What was checked, and where."""
        return f"{self.method} on {self.task}, {self.device}"

    @property
    def verdict(self) -> str:
        """One line: how many checks failed."""
        return self._verdict(f"{self.method} on {self.task}", "the contract")


def check_method(
    method: str | type[Method],
    task: str = SPREAD,
    *,
    settings: Mapping[str, Any] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    iterations: int = 4,
    faults: int = 3,
    training_reward: TrainingReward = "team_mean",
    device: str = "cpu",
    folder: str | Path | None = None,
    only: Collection[str] | None = None,
) -> MethodReport:
    """Test a method on a task against every obligation of :mod:`rlnet_bench.learning.learner`.

    Nothing is raised for what the method does wrong: an exception inside it is a failed check.

    Args:
        method: an id, ``file.py:Class``, a registered class, or a network (``zoo/NAME`` or a YAML file).
        task: a task id that the method can run on.
        settings: settings of the method, on top of its own ``small()`` ones.
        seeds: at least two replicas, which are compared with each other and alone.
        iterations: budget of the runs, in iterations of the learner.
        faults: how many runs are interrupted, each several times, at random points.
        training_reward: ``team_mean`` or ``individual``.
        device: where the learner runs.
        folder: where runs are written; a temporary directory, removed afterwards, by default.
        only: names of the checks to run; all of :data:`RULES` by default.

    Raises:
        ValueError: fewer than two seeds or iterations, or an unknown check, were asked for.
        RlnetError: the names or settings are wrong, or the method refuses the task.
    """
    if len(seeds) < 2 or iterations < 2:
        raise ValueError(f"expected at least 2 seeds and 2 iterations, found {len(seeds)} and {iterations}")
    known = [rule.__name__ for rule in RULES]
    if only is not None and not set(only) <= set(known):
        raise ValueError(f"unknown checks {sorted(set(only) - set(known))}; there are {known}")
    name = method if isinstance(method, str) else method.id
    typed(name, task)
    with ExitStack() as stack:
        root = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="check-method-"))
        if folder is None:
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        config = _config(name, task, settings or {}, seeds, training_reward, device)
        case = Case(config, root, iterations, faults, random.Random(f"{name} {task}"))
        case.fit_budget()
        checks = tuple(judge(rule, case, "the method") for rule in RULES if only is None or rule.__name__ in only)
    return MethodReport(task, device, len(seeds), checks, name)


def _config(
    name: str, task: str, settings: Mapping[str, Any], seeds: tuple[int, ...], training_reward: str, device: str
) -> dict[str, Any]:
    """The resolved configuration of the group, as a plan makes it; its budget is fitted later."""
    is_network = name.startswith("zoo/") or name.endswith((".yaml", ".yml"))
    entry: dict[str, Any] = {"network": name} if is_network else {"id": name}
    suite: dict[str, Any] = {
        "name": "check", "tasks": [task], "seeds": list(seeds), "seed_group": len(seeds), "budget": {"frames": 10**9},
        "evaluation": {"episodes": 2, "absolute_episodes": 3}, "training_reward": training_reward,
    }  # fmt: skip

    def planned() -> dict[str, Any]:
        return make_plan(Suite.model_validate({**suite, "methods": [entry]}), device=device).groups[0].config

    small = (method_of(planned()) if is_network else find_method(name)).small()
    entry["set"] = {**small, **settings}
    return planned()
