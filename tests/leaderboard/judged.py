"""How rules are tested: a folder that is changed, a board that is made up, and what one rule says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnet_bench.leaderboard.board import Board, parse_board
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.entries import Entry, Score
from rlnet_bench.leaderboard.folder import Folder, write_sums
from rlnet_bench.leaderboard.rules import BOARD_RULES, SUBMISSION_RULES, Listing
from rlnet_bench.leaderboard.snapshot import Snapshot, take

SPREAD = "mpe/simple_spread-discrete-v1"
SPREAD_HASH = "1d69f9bd5b7b02b7148d538142641c359a9197326b6a03af865681835727f4fe"
Fresh = Callable[..., Path]


def edit(folder: Path, old: str, new: str, file: str = "submission.yaml", count: int = -1) -> Path:
    """Change text of a file, and list the digests again: as somebody would who knows the format."""
    text = (folder / file).read_text()
    assert old in text, text
    (folder / file).write_text(text.replace(old, new, count))
    write_sums(folder)
    return folder


def says(rule: str, folder: Path, listing: Listing | None = None) -> str:
    """What a rule says of a folder, a finding a line; empty when it is kept."""
    return "\n".join(map(str, SUBMISSION_RULES[rule](Folder.at(folder), listing or Listing())))


def all_rules(folder: Path) -> set[str]:
    """The rules that a folder breaks."""
    return {f.rule for f in check_submission(folder)}


def score(seed: int = 0, mean: float = -50.0, **changes: Any) -> Score:
    """One policy or run of a made-up entry."""
    return replace(Score(seed, "", "ok", mean, 1.0, 320, 0.0, f"{seed:016x}"), **changes)


def entry(method: str = "theirs", **changes: Any) -> Entry:
    """A made-up entry: ranked, of somebody else."""
    made = Entry(
        method=method, version=1, suite="", task=SPREAD, division="policies", level="V2", title=method,
        submitter="somebody", task_hash=SPREAD_HASH, execution="D0", training="independent", tuning="untuned",
        mode="deterministic", frames=160, bits=0, parameters=221, is_maintainers=False, is_control=False,
        needs_rerun=False, withdrawn="", scores=(score(0), score(1, -51.0)), flags=(), source=Path("theirs"),
        season="s1",
    )  # fmt: skip
    return replace(made, **changes)


class MadeUp(Listing):
    """A board that lists what a test says."""

    entries: list[Entry]

    def __init__(self, *listed: Entry, board: str = "version: 1", results: Path | None = None) -> None:
        super().__init__(results, parse_board(board))
        object.__setattr__(self, "entries", list(listed))


def board_says(rule: str, now: Listing, before: Snapshot | Listing | None = None) -> str:
    """What a rule says of a board, now and before."""
    if isinstance(before, Listing):
        before = take(before.board, before.entries)
    return "\n".join(map(str, BOARD_RULES[rule](now, before or Snapshot())))


__all__ = ["SPREAD", "Board", "Fresh", "MadeUp", "all_rules", "board_says", "edit", "entry", "says", "score"]
