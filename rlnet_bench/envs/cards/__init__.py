"""Catalogue of the task families: one torch-free module per family, found by name.

A family module ``cards/<family>.py`` offers ``ids() -> list[str]`` (the published tasks) and
``card(task_id) -> TaskCard`` (any task of the family, parametrised ones too; raises
:class:`~rlnet_bench.errors.UnknownName`). The module ``envs/<family>/env.py`` builds the environments:
``make(card, num_envs, device, **options) -> VectorEnv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from rlnet_bench.envs.card import Reference
from rlnet_bench.errors import BadInput

GAPS = ("information", "coordination", "memory")


@dataclass(frozen=True)
class Gap:
    """What one thing is worth on a task (:mod:`rlnet_bench.analysis.gaps`), or why that is not known."""

    value: float | None = None  # normalised: 1 is the way from random play to the best known
    low: float | None = None
    high: float | None = None
    reason: str = ""
    suite: str = ""  # name-vN
    frames: int = 0  # per run
    runs: int = 0  # of the method with fewer
    mode: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return self.reason.partition(":")[0]
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"


@cache
def references(family: str) -> dict[str, dict[str, Reference]]:
    """Measured reference points of a family: task id -> {random, uncoordinated, best}."""
    path = resources.files(__package__) / f"{family}.yaml"
    if not path.is_file():
        return {}
    raw = yaml.safe_load(path.read_text()) or {}
    return {task: {k: Reference(**v) for k, v in points.items()} for task, points in raw.items()}


@cache
def gaps() -> dict[str, dict[str, Gap]]:
    """Measured gaps: task id -> {information, coordination, memory}; what was not measured is absent."""
    path = resources.files(__package__) / "gaps.yaml"
    return gaps_from_yaml(yaml.safe_load(path.read_text()), "gaps.yaml") if path.is_file() else {}


def gaps_from_yaml(data: Any, where: str) -> dict[str, dict[str, Gap]]:
    """The contents of a file of gaps; raises BadInput when it is none."""
    try:
        assert isinstance(data, Mapping) and all(set(row) <= set(GAPS) for row in data.values())
        return {task: {name: Gap(**gap) for name, gap in row.items()} for task, row in data.items()}
    except (AssertionError, AttributeError, TypeError):
        raise BadInput(
            f"{where}: expected gaps ({', '.join(GAPS)}) by task, as `rlnet-bench gaps` writes them."
        ) from None
