"""Random play and a policy of known score are evaluated with every batch; when they move, nothing of it is listed.

Allowed: controls within the noise of their known scores, all of a batch together (Holm, p >= 0.001).
Disallowed: a batch on a changed environment; a batch without controls.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judged import Fresh, board_says

from rlnet_bench.leaderboard import evaluate
from rlnet_bench.leaderboard.claims import MOVED
from rlnet_bench.leaderboard.evaluate import play_controls
from rlnet_bench.leaderboard.evidence import write_evidence
from rlnet_bench.leaderboard.rules import Listing
from rlnet_bench.leaderboard.season import practice
from rlnet_bench.leaderboard.verify import verify


def test_allowed_and_disallowed(fresh: Fresh, tmp_path: Path) -> None:
    found, lines = verify(fresh(), episodes=2)
    target = tmp_path / "results" / "submissions" / "my-model@1"
    shutil.copytree(tmp_path / "submission", target)
    write_evidence(target / "verification", found, lines)
    listing = Listing.read(tmp_path / "results")
    assert board_says("controls_are_played_with_every_batch", listing) == ""
    moved = [replace(c, p=1e-6, found=-70.0) for c in found.controls if c.name == "random"]
    write_evidence(target / "verification", replace(found, controls=tuple(moved)), lines)
    assert "the control random on mpe/simple_spread-discrete-v1 moved: -70" in board_says(
        "controls_are_played_with_every_batch", listing
    )
    tasks = tuple(replace(t, level="V2") for t in found.tasks)
    write_evidence(target / "verification", replace(found, controls=(), tasks=tasks), lines)
    assert "without a control" in board_says("controls_are_played_with_every_batch", listing)


def test_controls_of_an_unchanged_environment_stay() -> None:
    found = play_controls(["mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1"], practice)
    assert [(c.name, c.p > MOVED) for c in found] == [("random", True), ("uncoordinated", True)] * 2


def test_a_changed_environment_moves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(*args: Any, **options: Any) -> Any:
        played = play(*args, **options)
        return replace(played, returns=played.returns * 1.05)

    play = evaluate.play
    monkeypatch.setattr(evaluate, "play", slower)
    found = play_controls(["mpe/simple_spread-discrete-v1"], practice)
    assert all(c.p < MOVED for c in found)
