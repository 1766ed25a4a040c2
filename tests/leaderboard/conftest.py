"""Submissions to look at: packed once from runs of a fraction of a second, copied for every test that changes them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlnet_bench.runs.store import Store
from rlnet_bench.runs.worker import work

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "runs")]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished store of a baseline, a network and a control; two seeds each."""
    import small

    methods = small.method(), small.method("zoo/tag-3ppo"), small.method("random")
    store, plan = small.store(tmp_path_factory.mktemp("trained") / "store", *methods)
    work(store, plan.groups)
    return store


@pytest.fixture(scope="session")
def _packed(trained: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from packing import packed

    root = tmp_path_factory.mktemp("packed")
    return {
        "policy": packed(trained, root / "policy", "ippo"),
        "network": packed(trained, root / "network", "zoo/tag-3ppo"),
        "results": packed(trained, root / "results", "ippo", kind="results"),
    }


@pytest.fixture
def fresh(_packed: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of them: ``policy``, ``network`` or ``results``."""

    def copy(kind: str = "policy") -> Path:
        return Path(shutil.copytree(_packed[kind], tmp_path / "submission"))

    return copy
