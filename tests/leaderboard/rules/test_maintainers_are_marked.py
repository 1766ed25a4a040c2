"""The rows of those who hold the keys are marked as such.

Allowed: our baselines, marked.
Disallowed: a row of a maintainer that looks like anybody's.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry

BOARD = "maintainers: [rlnet-bench]"


def test_allowed() -> None:
    ours = entry("ippo", submitter="rlnet-bench", is_maintainers=True)
    assert board_says("maintainers_are_marked", MadeUp(ours, entry(), board=BOARD)) == ""


def test_disallowed() -> None:
    said = board_says("maintainers_are_marked", MadeUp(entry(submitter="rlnet-bench"), board=BOARD))
    assert "of rlnet-bench, is not marked" in said
    assert "of somebody, is marked" in board_says("maintainers_are_marked", MadeUp(entry(is_maintainers=True)))
