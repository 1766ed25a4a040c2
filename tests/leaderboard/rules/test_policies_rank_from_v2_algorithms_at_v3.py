"""Two divisions: *policies* rank from V2 on, *algorithms* only where we trained fresh seeds ourselves, since a lucky
training seed survives any re-evaluation.

Allowed: a policy that we scored on hidden seeds; an algorithm that we trained again.
Disallowed: an algorithm ranked by its author's runs; a policy ranked by practice, by its claim, or after withdrawal.
"""

from __future__ import annotations

import pytest
from judged import MadeUp, board_says, entry

from rlnet_bench.leaderboard.entries import Entry


@pytest.mark.parametrize("division, level, is_ranked", [
    ("policies", "V0", False), ("policies", "V1", False), ("policies", "V2-practice", False), ("policies", "V2", True),
    ("policies", "V3", True), ("algorithms", "V1", False), ("algorithms", "V2", False), ("algorithms", "V3", True),
])  # fmt: skip
def test_what_ranks(division: str, level: str, is_ranked: bool) -> None:
    made = entry(division=division, level=level)
    assert made.is_ranked == is_ranked
    assert board_says("policies_rank_from_v2_algorithms_at_v3", MadeUp(made)) == ""


def test_disallowed() -> None:
    class Bold(Entry):
        is_ranked = True  # type: ignore[assignment]

    bold = Bold(**vars(entry(division="algorithms", level="V1")))
    assert "is ranked among algorithms at V1" in board_says("policies_rank_from_v2_algorithms_at_v3", MadeUp(bold))


def test_controls_and_stale_entries_have_no_rank() -> None:
    assert not entry(is_control=True).is_ranked
    assert not entry(needs_rerun=True).is_ranked
