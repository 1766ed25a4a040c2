"""What a rule is: a function that yields where it is broken, and how that is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.board import Board, read_board
from rlnet_bench.leaderboard.entries import Entry, entries
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.snapshot import Snapshot


@dataclass(frozen=True)
class Finding:
    """A rule that is broken: where, how, and what to do."""

    rule: str
    where: str
    sentence: str
    mend: str
    is_form: bool = False  # of a folder that is no submission at all
    is_note: bool = False  # nothing is wrong; something will follow

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence} [{self.rule}]\n  {'note' if self.is_note else 'mend'}: {self.mend}"


Broken = tuple[str, str, str]  # where, sentence, mend


@dataclass(frozen=True)
class Listing:
    """A board: its settings, and what it lists."""

    results: Path | None = None
    board: Board = field(default_factory=Board)

    @classmethod
    def read(cls, results: Path | None) -> Listing:
        """Of a folder of results; an empty one without."""
        return cls() if results is None else cls(results, read_board(results))

    @cached_property
    def entries(self) -> list[Entry]:
        """What it lists."""
        return [] if self.results is None else entries(self.results)


SubmissionRule = Callable[[Folder, Listing], Iterator[Finding]]
SUBMISSION_RULES: dict[str, SubmissionRule] = {}
BoardRule = Callable[[Listing, Snapshot], Iterator[Finding]]
BOARD_RULES: dict[str, BoardRule] = {}


def of_submission(
    mend: str, *, is_form: bool = False, is_note: bool = False
) -> Callable[[Callable[[Folder, Listing], Iterator[Broken]]], SubmissionRule]:
    """Register a rule about a folder: a function that yields (where, sentence, mend).

    What it reads may raise: that is a finding, too, which ``mend`` mends.
    """

    def decorate(rule: Callable[[Folder, Listing], Iterator[Broken]]) -> SubmissionRule:
        def run(folder: Folder, listing: Listing) -> Iterator[Finding]:
            try:
                for where, sentence, how in rule(folder, listing):
                    yield Finding(rule.__name__, where, sentence, how, is_form, is_note)
            except RlnetError as error:
                where, _, sentence = str(error).partition(": ")
                yield Finding(rule.__name__, where, sentence or where, mend, is_form)

        run.__doc__ = rule.__doc__
        SUBMISSION_RULES[rule.__name__] = run
        return run

    return decorate


def of_board(rule: Callable[[Listing, Snapshot], Iterator[Broken]]) -> BoardRule:
    """Register a rule about a board now, and as it was at the merge base."""

    def run(now: Listing, before: Snapshot) -> Iterator[Finding]:
        for where, sentence, how in rule(now, before):
            yield Finding(rule.__name__, where, sentence, how)

    run.__doc__ = rule.__doc__
    BOARD_RULES[rule.__name__] = run
    return run
