"""The two methods that every new row is compared with, in the comment that announces it, are on the board.

Allowed: `fixed: [ippo, coordinated]`.
Disallowed: a comparison with a method that nobody can look up.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry


def test_allowed() -> None:
    assert board_says("fixed_references_are_listed", MadeUp(entry("ippo"), board="fixed: [ippo]")) == ""


def test_disallowed() -> None:
    said = board_says("fixed_references_are_listed", MadeUp(entry("ippo"), board="fixed: [mappo]"))
    assert "'mappo' is not listed" in said
