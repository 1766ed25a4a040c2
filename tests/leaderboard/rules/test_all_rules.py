"""Every rule has its file of tests, and is kept by what is published here."""

from __future__ import annotations

from pathlib import Path

import rules_page

from rlnet_bench.leaderboard.check import check_board, check_submission
from rlnet_bench.leaderboard.rules import BOARD_RULES, SUBMISSION_RULES

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent


def test_every_rule_has_a_file_and_every_file_a_rule() -> None:
    files = {f.stem.removeprefix("test_") for f in HERE.glob("test_*.py")} - {"all_rules"}
    assert files == {"manifest_is_strict", *SUBMISSION_RULES, *BOARD_RULES}


def test_every_file_gives_principle_and_examples() -> None:
    for name, text in rules_page.docstrings().items():
        principle, _, examples = text.partition("\n\nAllowed: ")
        assert principle.strip() and "\nDisallowed: " in examples, name


def test_the_published_board_keeps_them() -> None:
    assert check_board(ROOT / "results") == []


def test_listed_submissions_keep_them() -> None:
    for folder in sorted((ROOT / "results" / "submissions").glob("*@*")):
        assert [f for f in check_submission(folder, ROOT / "results") if not f.is_note] == [], folder.name


def test_the_page_is_made_of_these_docstrings() -> None:
    assert (ROOT / "docs" / "rules.md").read_text() == rules_page.page()
