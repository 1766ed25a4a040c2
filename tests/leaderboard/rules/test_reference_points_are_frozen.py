"""Reference points stay as they are for a version of the board: nobody's normalised score moves with a rival's.

Allowed: other reference points with a new version of the board, measured as the task's card says.
Disallowed: a better "best" under the same version.
"""

from __future__ import annotations

from judged import MadeUp, board_says

from rlnet_bench.envs.registry import task_card

CARD = task_card("mpe/simple_spread-discrete-v1").references


def board(version: int = 1, best: float = CARD["best"].value) -> MadeUp:
    line = f"{{task: mpe/simple_spread-discrete-v1, random: {CARD['random'].value}, best: {best}}}"
    return MadeUp(board=f"version: {version}\nreferences: [{line}]")


def test_allowed() -> None:
    assert board_says("reference_points_are_frozen", board(), board()) == ""
    assert board_says("reference_points_are_frozen", board(2), board(1, -30.0)) == ""


def test_disallowed() -> None:
    assert "has other reference points" in board_says("reference_points_are_frozen", board(), board(1, -30.0))
    assert "are not those of its card" in board_says("reference_points_are_frozen", board(2, -30.0), board())
    assert "versions only rise" in board_says("reference_points_are_frozen", board(1), board(2))
