"""A withdrawn row stays, with its reason, unranked, and counts among its submitter's variants.

Allowed: `withdrawn: [{method: theirs, version: 1, reason: "a bug in the action mask"}]`.
Disallowed: removing the row; withdrawing without a reason; taking the tombstone away again.
"""

from __future__ import annotations

import pytest
from judged import MadeUp, board_says, entry

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.board import parse_board

BOARD = 'withdrawn: [{method: theirs, version: 1, reason: "a bug"}]'


def test_allowed() -> None:
    stone = entry(withdrawn="a bug")
    assert board_says("a_withdrawal_leaves_a_tombstone", MadeUp(stone, board=BOARD)) == ""
    assert not stone.is_ranked


def test_the_row_is_gone() -> None:
    said = board_says("a_withdrawal_leaves_a_tombstone", MadeUp(entry("another"), board=BOARD))
    assert "theirs@1: is withdrawn, and its row is gone" in said


def test_the_tombstone_is_gone() -> None:
    said = board_says("a_withdrawal_leaves_a_tombstone", MadeUp(entry()), MadeUp(entry(), board=BOARD))
    assert "was withdrawn, and its tombstone is gone" in said


def test_no_reason() -> None:
    with pytest.raises(BadInput, match=r"withdrawn\.0\.reason' is required"):
        parse_board("withdrawn: [{method: theirs, version: 1}]")
