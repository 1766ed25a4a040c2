"""What ranks was scored on hidden seeds: a season was opened with the digest of its secret, the weights were frozen
with a round of the beacon, and a line of the log, chained to the one before, precedes the evaluation.

Allowed: `verify --season` after `season freeze`.
Disallowed: a level V2 without a season; an evaluation that no line announced.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from judged import SPREAD, Fresh, board_says

from rlnet_bench.leaderboard.evidence import Evidence, write_evidence
from rlnet_bench.leaderboard.rules import Listing
from rlnet_bench.leaderboard.season import Log, open_season
from rlnet_bench.leaderboard.verify import verify


@pytest.fixture
def board(fresh: Fresh, tmp_path: Path) -> tuple[Listing, Path, Evidence]:
    """A board with a submission at V2-practice, and what was found of it."""
    found, lines = verify(fresh(), episodes=2)
    target = tmp_path / "results" / "submissions" / "my-model@1"
    shutil.copytree(tmp_path / "submission", target)
    write_evidence(target / "verification", found, lines)
    return Listing.read(tmp_path / "results"), target, found


def raised(target: Path) -> None:
    file = target / "verification" / "evidence.json"
    text = file.read_text().replace("V2-practice", "V2").replace('"season": ""', '"season": "s1"')
    file.write_text(text)


def test_practice_needs_no_season(board: tuple[Listing, Path, Evidence]) -> None:
    assert board_says("a_log_line_precedes_each_evaluation", board[0]) == ""


def test_no_season(board: tuple[Listing, Path, Evidence]) -> None:
    raised(board[1])
    assert "is at V2 with no season" in board_says("a_log_line_precedes_each_evaluation", board[0])


def test_the_log(board: tuple[Listing, Path, Evidence], tmp_path: Path) -> None:
    listing, target, found = board
    raised(target)
    results = tmp_path / "results"
    open_season(results, "s1", "drand", 1, tmp_path / "secret")
    assert "the log of s1 does not say so" in board_says("a_log_line_precedes_each_evaluation", listing)
    digests = {SPREAD: list(found.tasks[0].digests)}
    log = Log.read(results, "s1").written("frozen", found.row, digests, 3)
    assert "the log of s1 does not say so" in board_says("a_log_line_precedes_each_evaluation", listing)
    log.written("evaluation", found.row, digests, 3)
    assert board_says("a_log_line_precedes_each_evaluation", listing) == ""
