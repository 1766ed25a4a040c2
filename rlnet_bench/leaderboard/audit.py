"""When a season is over, its secret is public: whoever likes plays every evaluation again and compares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.board import EVIDENCE, SUBMISSIONS
from rlnet_bench.leaderboard.evaluate import evaluate_task
from rlnet_bench.leaderboard.evidence import read_episodes, read_evidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.season import Drawing, Log, committed, read_beacon, read_season
from rlnet_bench.reading.files import listing
from rlnet_bench.runs.records import EvalLine

SAME = 0.9  # of the episodes: on another machine, the last digit may turn one of them


def agreement(a: EvalLine, b: EvalLine) -> float:
    """The share of episodes that are the same in two lines: length, success, and returns to a thousandth."""
    if a.shape != b.shape:
        return 0.0
    close = np.isclose(a.returns, b.returns, rtol=1e-3, atol=1e-3).all(axis=1)
    return float((close & (a.length == b.length) & (a.success == b.success)).mean())


@dataclass(frozen=True)
class Audit:
    """What was played again, and what did not come out as listed."""

    tasks: int
    policies: int
    differences: tuple[str, ...]


def audit(results: Path, name: str, beacon: Path) -> Audit:
    """Play the evaluations of a closed season again.

    Raises:
        BadInput: for a season that is not closed.
    """
    season = read_season(results, name)
    if season.secret is None:
        raise BadInput(f"season {name} is open: its secret is not revealed yet; `rlnet-bench season close` does that.")
    drawing = Drawing(season, committed(season, bytes.fromhex(season.secret)), read_beacon(beacon),
                      Log.read(results, name))  # fmt: skip
    tasks, policies, differences = 0, 0, []
    for path in listing(results / SUBMISSIONS):
        evidence = read_evidence(path / EVIDENCE)
        for task in evidence.tasks if evidence.season == name else ():
            listed = read_episodes(path / EVIDENCE, task.task)
            episodes = task.policies[0].episodes
            _, again = evaluate_task(Folder.at(path), task.task, drawing, task.level, episodes, channel=False)
            tasks, policies = tasks + 1, policies + len(again)
            differences += [
                f"{path.name} on {task.task}, seed {a.seed}: {b.team.mean():.6g} now, {a.team.mean():.6g} listed; "
                f"{same:.0%} of the episodes are the same"
                for a, b in zip(listed, again, strict=True)
                if (same := agreement(a, b)) < SAME
            ]
    return Audit(tasks, policies, tuple(differences))
