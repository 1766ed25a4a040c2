"""One row per method, task and version (and suite and division).

Allowed: two versions of a method; its policies and its algorithm.
Disallowed: the same version twice.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry


def test_allowed() -> None:
    board = MadeUp(entry(), entry(version=2), entry(division="algorithms"), entry(suite="mpe-v1"))
    assert board_says("a_row_is_there_once", board) == ""


def test_disallowed() -> None:
    assert "theirs@1 on mpe/simple_spread-discrete-v1: is listed 2 times" in board_says(
        "a_row_is_there_once", MadeUp(entry(), entry(submitter="another"))
    )
