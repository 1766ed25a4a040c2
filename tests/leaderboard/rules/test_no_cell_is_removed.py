"""What was listed at the merge base is listed, bad results and withdrawn ones included.

Allowed: adding a task to a method.
Disallowed: taking out the task on which it failed.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry


def test_allowed() -> None:
    before = MadeUp(entry())
    assert (
        board_says("no_cell_is_removed", MadeUp(entry(), entry(task="mpe/simple_reference-discrete-v1")), before) == ""
    )


def test_disallowed() -> None:
    before = MadeUp(entry(), entry(task="mpe/simple_reference-discrete-v1"))
    said = board_says("no_cell_is_removed", MadeUp(entry()), before)
    assert "theirs@1 on mpe/simple_reference-discrete-v1, policies: is gone" in said
