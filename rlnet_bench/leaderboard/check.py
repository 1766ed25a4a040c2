"""All rules over a submission's folder, offline; every finding says how it is mended."""

from __future__ import annotations

from pathlib import Path

from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.rules import BOARD_RULES, SUBMISSION_RULES, Finding, Listing
from rlnet_bench.leaderboard.snapshot import at_merge_base
from rlnet_bench.leaderboard.submission import MANIFEST


def check_submission(folder: str | Path, results: str | Path | None = None) -> list[Finding]:
    """Check a submission against every rule; nothing that it brings is executed.

    Args:
        folder: the submission's.
        results: the board that it would be listed on; rules about other entries are left out without.

    Returns:
        What is wrong, in order of rules; of a folder that is no submission only what is wrong with its files.
    """
    path = Path(folder)
    try:
        opened = Folder.at(path)
    except RlnetError as error:
        return [
            Finding("manifest_is_strict", MANIFEST, line.removeprefix(f"{MANIFEST}:"), _MEND, is_form=True)
            for line in str(error).splitlines()
        ]
    listing = Listing.read(None if results is None else Path(results))
    found: list[Finding] = []
    for rule in SUBMISSION_RULES.values():
        if not any(f.is_form for f in found):
            found += rule(opened, listing)
    return found


def check_board(results: str | Path, base: str = "main") -> list[Finding]:
    """Hold a board against its rules, and against what version control has of it at the merge base with a branch.

    What ``exemptions`` of board.yaml name (rule and subject) is left out.
    """
    listing, before = Listing.read(Path(results)), at_merge_base(Path(results), base)
    exempt = {(e.rule, e.subject) for e in listing.board.exemptions}
    found = (f for rule in BOARD_RULES.values() for f in rule(listing, before))
    return [f for f in found if (f.rule, f.where) not in exempt]


_MEND = "docs/submitting.md has every key; `rlnet-bench new submission NAME` writes a folder to start from"
