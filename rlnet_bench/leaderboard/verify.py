"""``verify FOLDER``: the level of a submission, with evidence.

``V0`` its files are as they must be. ``V1`` they agree: every rule that can be checked from the folder alone. ``V2``:
its policies were scored again by us, on hidden seeds (``V2-practice``: on public ones, which ranks nothing). ``V3``:
trained again by us, from fresh seeds (:mod:`rlnet_bench.leaderboard.retrain`).

What is published is always our own number. A claim is only held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlnet_bench.envs.card import has_original
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, WorkFailed
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.claims import FAMILY, MOVED, TooGood, check_claims
from rlnet_bench.leaderboard.entries import CONFIRMED
from rlnet_bench.leaderboard.evaluate import EPISODES, evaluate_task, on_reference, play_controls
from rlnet_bench.leaderboard.evidence import Control, Evidence, Level, TaskEvidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.policies import digests
from rlnet_bench.leaderboard.rules import Listing
from rlnet_bench.leaderboard.rules.runs import suspicious
from rlnet_bench.leaderboard.season import Drawing, practice
from rlnet_bench.runs.provenance import provenance
from rlnet_bench.runs.records import EvalLine
from rlnet_bench.stats.intervals import welch

Lines = dict[str, list[EvalLine]]


def verify(
    path: str | Path, results: str | Path | None = None, *, drawing: Drawing | None = None, episodes: int = EPISODES
) -> tuple[Evidence, Lines]:
    """Find the level of a submission; returns evidence, and the episodes that it rests on by task.

    Args:
        path: its folder.
        results: the board that it would be listed on.
        drawing: the seeds of a season; practice without.
        episodes: of every policy on every task.

    Raises:
        BadInput: when it is no submission at all, or its weights were not frozen in the season.
        WorkFailed: when the controls moved: nothing is said of the submission then.
    """
    folder_path, listing = Path(path), Listing.read(None if results is None else Path(results))
    findings = [f for f in check_submission(folder_path, results) if not f.is_note]
    form = [f for f in findings if f.is_form]
    if form:
        raise BadInput("\n".join(map(str, form)))
    folder = Folder.at(folder_path)
    found = Evidence(
        level="V0" if findings else "V1",
        row=folder.manifest.row,
        board=listing.board.version,
        season="",
        reasons=tuple(f"{f.rule}: {f.where}: {f.sentence}" for f in findings),
        flags=(),
        packages=provenance()["packages"],
    )
    if findings or not folder.seeds:
        return found, {}
    tasks, lines, controls = _evaluated(folder, drawing, episodes)
    flagged = tuple(_flagged(folder, listing, tasks, lines))
    level: Level = "V2" if drawing is not None else "V2-practice"
    reasons = () if drawing is not None else ("evaluated on public seeds: V2 needs a season (--season)",)
    season = "" if drawing is None else drawing.season.name
    flags = tuple(dict.fromkeys(f"{t.task}: {flag}" for t in flagged for flag in t.flags))
    return replace(
        found, level=level, season=season, reasons=reasons, flags=flags, tasks=flagged, controls=tuple(controls)
    ), lines  # fmt: skip


def _evaluated(
    folder: Folder, drawing: Drawing | None, episodes: int
) -> tuple[list[TaskEvidence], Lines, Sequence[Control]]:
    """Score every policy, controls first; in a season a line of its log precedes each task's evaluation."""
    draw = drawing or practice
    controls = play_controls(list(folder.seeds), draw)
    moved = [c for c in controls if c.p < MOVED]
    if moved:
        raise WorkFailed("the controls moved, so that no number of this batch is published: " + "; ".join(
            f"{c.name} on {c.task} {c.found:.4g}, known as {c.known:.4g} (p = {c.p:.2g})" for c in moved) + ". "
            "Look for what changed: versions, threads, the device.")  # fmt: skip
    tasks: list[TaskEvidence] = []
    lines: Lines = {}
    for task in folder.seeds:
        if drawing is not None:
            drawing = drawing.logged(folder.manifest.row, {task: list(digests(folder, task).values())})
            draw = drawing
        found, lines[task] = evaluate_task(folder, task, draw, "V2" if drawing else "V2-practice", episodes)
        tasks.append(found)
    return tasks, lines, controls


def _flagged(folder: Folder, listing: Listing, tasks: Sequence[TaskEvidence], lines: Lines) -> list[TaskEvidence]:
    """With what is said of claims that do not hold, and of scores that are too good."""
    ours = {t.task: t.policies for t in tasks}
    flags: dict[str, list[str]] = {t.task: [] for t in tasks}
    for c in check_claims(folder.manifest.claims, ours):
        if not c.holds:
            flags[c.task].append(f"claim {c.claimed:.4g} outside [{c.low:.4g}, {c.high:.4g}]")
    scores = {task: [p.mean for p in policies if p.mean is not None] for task, policies in ours.items()}
    for found in suspicious(folder, listing, scores):
        flags[found.task].append(
            f"too good: {found.score:.4g} above {found.limit:.4g}; {_refereed(folder, found, lines[found.task])}"
        )
    return [replace(t, flags=tuple(flags[t.task])) for t in tasks]


def _refereed(folder: Folder, found: TooGood, lines: Sequence[EvalLine]) -> str:
    """What the original package says of policies that are too good."""
    if not has_original(task_card(found.task)):
        return "no original package can referee this task, so it is to be trained again"
    team = on_reference(folder, found.task).team.ravel()
    low, high = welch(np.concatenate([x.team for x in lines]), team, FAMILY)
    return f"{team.mean():.4g} on the original package{CONFIRMED if low <= 0 <= high else ', not as on ours'}"
