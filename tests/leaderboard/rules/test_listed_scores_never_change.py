"""A listed score is immutable: equal to the last digit to what it was at the merge base.

Allowed: a new entry; our own number in the place of a claim, when an entry is verified further or a season is new.
Disallowed: 0.001 more; another submitter; a level that falls.
"""

from __future__ import annotations

from judged import MadeUp, board_says, entry, score

from rlnet_bench.leaderboard.entries import Entry


def says(new: Entry, **old: object) -> str:
    return board_says("listed_scores_never_change", MadeUp(new), MadeUp(entry(**old)))


def test_allowed() -> None:
    assert says(entry()) == ""
    assert says(entry("another")) == ""
    better = entry(scores=(score(0, -49.0), score(1, -51.0)))
    assert says(better, level="V1") == ""
    assert says(better, season="s0") == ""


def test_disallowed() -> None:
    assert "its scores changed" in says(entry(scores=(score(0, -49.9999), score(1, -51.0))))
    assert "its scores changed" in says(entry(scores=(score(0),)))
    assert "whose it is, changed" in says(entry(submitter="me"))
    assert "its level fell from V2 to V1" in says(entry(level="V1"))
