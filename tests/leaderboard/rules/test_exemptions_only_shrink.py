"""The list of exemptions can only become shorter: please do not add any.

Allowed: taking one off.
Disallowed: adding one.
"""

from __future__ import annotations

from judged import MadeUp, board_says

ONE = "exemptions: [{rule: a_row_is_there_once, subject: x, reason: y}]"


def test_allowed() -> None:
    assert board_says("exemptions_only_shrink", MadeUp(), MadeUp(board=ONE)) == ""
    assert board_says("exemptions_only_shrink", MadeUp(board=ONE), MadeUp(board=ONE)) == ""


def test_disallowed() -> None:
    said = board_says("exemptions_only_shrink", MadeUp(board=ONE), MadeUp())
    assert "x: is newly exempt from a_row_is_there_once" in said
