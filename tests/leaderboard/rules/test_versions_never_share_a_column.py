"""All scores of a column were made on the task that it names now; what was made on another version is marked "needs
re-run", is counted, and has no rank.

Allowed: an old score that is marked.
Disallowed: old and new scores in one column.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry


def test_allowed() -> None:
    old = entry("old", task_hash="ab" * 32, needs_rerun=True)
    assert board_says("versions_never_share_a_column", MadeUp(entry(), old)) == ""
    assert not old.is_ranked


def test_disallowed() -> None:
    board = MadeUp(entry(), entry("old", task_hash="ab" * 32))
    assert "has the task hash abab" in board_says("versions_never_share_a_column", board)
