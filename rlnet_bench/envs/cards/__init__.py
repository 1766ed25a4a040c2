"""Catalogue of the task families: one torch-free module per family, found by name.

A family module ``cards/<family>.py`` offers ``ids() -> list[str]`` (the published tasks) and
``card(task_id) -> TaskCard`` (any task of the family, parametrised ones too; raises
:class:`~rlnet_bench.errors.UnknownName`). The module ``envs/<family>/env.py`` builds the environments:
``make(card, num_envs, device, **options) -> VectorEnv``.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from rlnet_bench.envs.card import Reference


@cache
def references(family: str) -> dict[str, dict[str, Reference]]:
    """Measured reference points of a family: task id -> {random, uncoordinated, best}."""
    path = resources.files(__package__) / f"{family}.yaml"
    if not path.is_file():
        return {}
    raw = yaml.safe_load(path.read_text()) or {}
    return {task: {k: Reference(**v) for k, v in points.items()} for task, points in raw.items()}
