"""What a running grid says of the time that is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlnet_bench.runs.watch import scoring_left

CONFIG = {"frames": 100, "evaluation": {"every": 50, "episodes": 4, "absolute_episodes": 20}}  # points at 0, 50, 100


def timings(folder: Path, *points: int) -> Path:
    file = folder / "timings.jsonl"
    file.write_text(
        "".join(json.dumps({"frames": f, "train_seconds": 9.0, "eval_seconds": 2.0}) + "\n" for f in points)
    )
    return file


def test_evaluations_that_are_left_count(tmp_path: Path) -> None:
    # 2 seconds for 4 episodes: two points take 4 s, and twice 20 episodes take 20 s
    assert scoring_left(timings(tmp_path, 0), CONFIG) == pytest.approx(4 + 20)
    assert scoring_left(timings(tmp_path, 0, 50), CONFIG) == pytest.approx(2 + 20)


def test_the_last_scores_are_counted_down(tmp_path: Path) -> None:
    file = timings(tmp_path, 0, 50, 100)
    written = file.stat().st_mtime
    assert scoring_left(file, CONFIG, written) == pytest.approx(20)
    assert scoring_left(file, CONFIG, written + 15) == pytest.approx(5)
    assert scoring_left(file, CONFIG, written + 99) == 0


def test_nothing_is_made_up(tmp_path: Path) -> None:
    assert scoring_left(tmp_path / "timings.jsonl", CONFIG) == 0
    assert scoring_left(timings(tmp_path), CONFIG) == 0
