"""METHOD@TASK in several publications: weights, newest version, longest training; open cells are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlnet_bench.errors import UnknownName
from rlnet_bench.runs.named import find_cell, find_holder

RESULTS = Path(__file__).parents[2] / "results"
SPREAD = "mpe/simple_spread-discrete-v1"


def test_the_longest_training_counts() -> None:
    assert find_holder(f"mappo@{SPREAD}", RESULTS).name == "strong-v1"
    folder, cell = find_cell(f"mappo@{SPREAD}", RESULTS)
    assert folder.name == "strong-v1" and {r.config["frames"] for r in cell.records} == {3_000_000}


def test_the_newest_version_counts_before() -> None:
    folder, cell = find_cell("qmix@mpe/simple_speaker_listener-discrete-v1", RESULTS)
    assert folder.name == "baselines-off-policy-v1" and {r.config["method_version"] for r in cell.records} == {2}


def test_weights_that_are_there_count_before(tmp_path: Path) -> None:
    """A record without weights hides no older one that has them."""
    for name in ("mpe-v1", "strong-v1"):
        shutil.copytree(RESULTS / name, tmp_path / name)
    for file in tmp_path.glob("strong-v1/mappo/*.safetensors"):
        file.unlink()
    assert find_holder(f"mappo@{SPREAD}", tmp_path).name == "mpe-v1"


def test_what_is_declared_as_open_is_nowhere(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "mpe-v1", tmp_path / "mpe-v1")
    assert find_holder(f"mappo@{SPREAD}", tmp_path).name == "mpe-v1"
    suite = tmp_path / "mpe-v1" / "suite.json"
    content = json.loads(suite.read_text())
    mine = [g for g in content["groups"] if (g["config"]["label"], g["config"]["task"]) == ("mappo", SPREAD)]
    content["open"] = {g["run_id"]: "missing" for g in mine}
    suite.write_text(json.dumps(content))
    with pytest.raises(UnknownName, match="ippo@"):
        find_holder(f"mappo@{SPREAD}", tmp_path)
