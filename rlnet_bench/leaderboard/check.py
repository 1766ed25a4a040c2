"""All rules over a submission's folder, offline; every finding says how it is mended."""

from __future__ import annotations

from pathlib import Path

from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.rules import SUBMISSION_RULES, Finding, Listing
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


_MEND = "docs/submitting.md has every key; `rlnet-bench new submission NAME` writes a folder to start from"
