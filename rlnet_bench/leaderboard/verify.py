"""``verify FOLDER``: the level of a submission, with evidence.

``V0`` its files are as they must be. ``V1`` they agree: every rule that can be checked from the folder alone. ``V2``:
its policies were scored again by us, on hidden seeds (``V2-practice``: on public ones). ``V3``: trained again by us.
"""

from __future__ import annotations

from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.board import Board, read_board
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.evaluate import EPISODES, evaluate_task
from rlnet_bench.leaderboard.evidence import Evidence, Level, TaskEvidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.season import practice
from rlnet_bench.runs.provenance import provenance
from rlnet_bench.runs.records import EvalLine

Lines = dict[str, list[EvalLine]]


def verify(path: Path, results: Path | None = None, *, episodes: int = EPISODES) -> tuple[Evidence, Lines]:
    """Find the level of a submission; returns evidence, and the episodes that it rests on by task.

    Args:
        path: its folder.
        results: the board that it would be listed on.
        episodes: of every policy on every task.

    Raises:
        BadInput: when it is no submission at all.
    """
    board = read_board(results) if results is not None else Board()
    findings = check_submission(path, results)
    form = [f for f in findings if f.is_form]
    if form:
        raise BadInput("\n".join(map(str, form)))
    folder = Folder.at(path)
    manifest = folder.manifest
    reasons = tuple(f"{f.rule}: {f.where}: {f.sentence}" for f in findings)
    level: Level = "V0" if findings else "V1"
    tasks: list[TaskEvidence] = []
    lines: Lines = {}
    if level == "V1" and manifest.kind in ("frozen-policy", "network"):
        level = "V2-practice"
        for task in folder.seeds:
            found, lines[task] = evaluate_task(folder, task, practice, level, episodes)
            tasks.append(found)
        reasons = ("evaluated on public seeds: V2 needs a season (--season)",)
    return Evidence(
        level=level, row=manifest.row, board=board.version, season="", reasons=reasons, flags=(), tasks=tuple(tasks),
        packages=provenance()["packages"],
    ), lines  # fmt: skip
