"""Onto the board: a submission and the evidence of its verification, side by side, and the snapshot written anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.board import EVIDENCE, SUBMISSIONS, read_board
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.entries import Entry, entries
from rlnet_bench.leaderboard.evidence import read_evidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.snapshot import take, write_snapshot
from rlnet_bench.runs.files import put_in_place


def accept(path: Path, evidence_folder: Path, results: Path) -> list[Entry]:
    """List a submission; returns its entries.

    Args:
        path: its folder.
        evidence_folder: what ``verify --out`` wrote.
        results: the board.

    Raises:
        BadInput: when a rule is broken, or the evidence is of something else.
    """
    broken = [f for f in check_submission(path, results) if not f.is_note]
    if broken:
        raise BadInput("\n".join(map(str, broken)))
    folder, evidence = Folder.at(path), read_evidence(evidence_folder)
    if evidence.row != folder.manifest.row:
        raise BadInput(f"{evidence_folder}: expected evidence of {folder.manifest.row}, found that of {evidence.row}.")
    if folder.seeds:
        from rlnet_bench.leaderboard.policies import digests

        for task in evidence.tasks:
            if task.digests != tuple(digests(folder, task.task).values()):
                raise BadInput(f"{evidence_folder}: on {task.task} other weights were scored than the folder has.")
    target = results / SUBMISSIONS / folder.manifest.row
    made = target.with_name(f".{target.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.parent.mkdir(parents=True, exist_ok=True)
    for file in folder.files:
        (made / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / file, made / file, follow_symlinks=False)
    shutil.copytree(evidence_folder, made / EVIDENCE)
    put_in_place(made, target)
    return [e for e in record(results) if e.source == target]


def record(results: Path) -> list[Entry]:
    """Write ``board.json`` anew: what is listed now; returns all entries."""
    found = entries(results)
    write_snapshot(results, take(read_board(results), found))
    return found
