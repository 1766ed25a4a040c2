"""What the folder of a submission holds. A finding here: it is no submission."""

from __future__ import annotations

from collections.abc import Iterator

from rlnet_bench.errors import Malformed
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.rules.rule import Broken, Listing, of_submission
from rlnet_bench.leaderboard.submission import MANIFEST, README, RECORDS, SUMS
from rlnet_bench.reading.files import KiB, read_text
from rlnet_bench.reading.names import is_seen
from rlnet_bench.runs.published import SUITE

REPACK = "pack it again: `rlnet-bench submit pack STORE FOLDER`"


@of_submission(f"do not edit what was packed by hand, or {REPACK}", is_form=True)
def files_are_as_listed(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """Every file has its place, and is the one whose digest SHA256SUMS has."""
    for file in folder.strangers():
        yield file, f"has no place in a submission of kind {folder.manifest.kind!r}", "take it out of the folder"
    listed = {f for f in folder.files if f != SUMS}
    for file in sorted(listed - set(folder.sums)):
        yield file, f"is not in {SUMS}", REPACK
    for file in sorted(set(folder.sums) - listed):
        yield SUMS, f"lists {file!r}, which is not there", REPACK
    for file in sorted(listed & set(folder.sums)):
        if folder.digest(file) != folder.sums[file]:
            yield file, f"is not the file whose digest {SUMS} has", REPACK


@of_submission("write one page of plain UTF-8 text", is_form=True)
def readme_is_plain_text(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """README.md is one page of text that every terminal and browser can show."""
    text = read_text(folder.path / README, 64 * KiB)
    if not text.strip():
        yield README, "is empty", "say in a page what the method is, and how it was trained"
    for number, line in enumerate(text.splitlines(), 1):
        hidden = next((c for c in line if c != "\t" and not is_seen(c)), None)
        if hidden is not None:
            yield f"{README}, line {number}", f"has the unseen character U+{ord(hidden):04X}", "take it out"
            return


@of_submission(REPACK, is_form=True)
def parts_are_there(folder: Folder, listing: Listing) -> Iterator[Broken]:
    """What its kind needs is in the folder: policies, a network, records, code."""
    kind = folder.manifest.kind
    if kind in ("frozen-policy", "network") and not folder.is_to_be_trained:
        for task in folder.manifest.tasks:
            if task.id not in folder.seeds:
                yield MANIFEST, f"tasks: {task.id} has no policy in the folder", REPACK
    if kind in ("results", "algorithm") and f"{RECORDS}/{SUITE}" not in folder.files:
        yield RECORDS, f"a submission of kind {kind!r} needs the records of its runs", REPACK
    if kind == "algorithm" and not any(f.startswith("algorithm/") and f.endswith(".py") for f in folder.files):
        yield "algorithm/", "holds no code", REPACK
    if kind == "network" and folder.network is None:
        raise Malformed("network.yaml", "a network", "nothing")
