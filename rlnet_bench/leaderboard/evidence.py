"""What a verification found, as data: the level of a submission, and the episodes that it rests on. No torch.

``verification/`` of an accepted submission: ``evidence.json``, and ``<task>.jsonl`` with one chained line per policy,
as the records of runs have them. Means are computed from those lines whenever they are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.plain import read_json, read_lines
from rlnet_bench.reading.shapes import Each, Maybe
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.records import CHAIN_START, EvalLine, chained, check_chain, parse_line
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.vocabulary import EXECUTION_CLASSES

Level = Literal["V0", "V1", "V2-practice", "V2", "V3"]
"""``V0`` well-formed; ``V1`` consistent; ``V2`` re-evaluated by us on hidden seeds (``V2-practice``: on public ones, so
that it ranks nothing); ``V3`` trained again by us, from fresh seeds."""
LEVELS: tuple[Level, ...] = ("V0", "V1", "V2-practice", "V2", "V3")
FILE = "evidence.json"


@dataclass(frozen=True)
class Scored:
    """One policy or run as we scored it; of a policy, computed from its line."""

    seed: int
    mean: float | None
    sd: float
    episodes: int
    success: float
    weights: str
    run_id: str = ""
    status: str = "ok"

    @property
    def se(self) -> float:
        """Standard error over episodes."""
        return self.sd / max(self.episodes, 1) ** 0.5


@dataclass(frozen=True)
class TaskEvidence:
    """What re-evaluation found on one task."""

    task: str
    level: Level
    digests: tuple[str, ...]  # of weights and network, per policy: what hidden seeds are drawn by
    execution: str
    columns: dict[str, float]  # bits_up, bits_down, hops
    parameters: int | None
    channel: dict[str, float]  # mean team return with what crosses cut, late, coarse
    flags: tuple[str, ...]
    policies: tuple[Scored, ...] = ()


@dataclass(frozen=True)
class Retrained:
    """Fresh training runs by us on one task."""

    holds: bool
    verdict: str
    runs: tuple[Scored, ...]


@dataclass(frozen=True)
class Control:
    """A policy of known score, played with the batch."""

    task: str
    name: str
    known: float
    known_se: float
    found: float
    found_se: float
    p: float  # adjusted for all controls of the batch


@dataclass(frozen=True)
class Evidence:
    """What a verification found, and what it rests on."""

    level: Level
    row: str
    board: int  # version of the board
    season: str  # empty: practice
    reasons: tuple[str, ...]  # why it is not a level higher
    flags: tuple[str, ...]
    tasks: tuple[TaskEvidence, ...] = ()
    retrained: Mapping[str, Retrained] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)

    def task(self, name: str) -> TaskEvidence:
        """Of a task by id."""
        return next(t for t in self.tasks if t.task == name)


SCORED = {
    "seed": int, "mean": Maybe(float), "sd": float, "episodes": int, "success": float, "weights": str, "run_id": str,
    "status": ("ok", "diverged", "failed"),
}  # fmt: skip
EVIDENCE = {
    "level": LEVELS, "row": str, "board": int, "season": str, "reasons": [str], "flags": [str],
    "tasks": [{
        "task": str, "level": LEVELS, "digests": [str], "execution": tuple(EXECUTION_CLASSES), "columns": Each(float),
        "parameters": Maybe(int), "channel": Each(float), "flags": [str], "policies": [SCORED],
    }],
    "retrained": Each({"holds": bool, "verdict": str, "runs": [SCORED]}),
    "controls": [{"task": str, "name": str, "known": float, "known_se": float, "found": float, "found_se": float,
                  "p": float}],
    "packages": Each(str),
}  # fmt: skip


def write_evidence(folder: Path, evidence: Evidence, lines: Mapping[str, list[EvalLine]]) -> None:
    """Write evidence and the episodes of every task's policies."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, found in lines.items():
        write_atomic(folder / f"{file_stem(task)}.jsonl", "".join(chained(x, CHAIN_START) + "\n" for x in found))
    write_atomic(folder / FILE, json.dumps(asdict(evidence), indent=1) + "\n")


def read_evidence(folder: Path) -> Evidence:
    """Evidence, the scores of policies computed from their episodes.

    Raises:
        Absent: when there is none.
        Malformed: when it is not what was written.
    """
    data = read_json(folder / FILE, shape=EVIDENCE)
    return Evidence(
        data["level"], data["row"], data["board"], data["season"], tuple(data["reasons"]), tuple(data["flags"]),
        tuple(_task(folder, t) for t in data["tasks"]),
        {t: Retrained(r["holds"], r["verdict"], tuple(Scored(**x) for x in r["runs"]))
         for t, r in data["retrained"].items()},
        tuple(Control(**c) for c in data["controls"]), data["packages"],
    )  # fmt: skip


def read_episodes(folder: Path, task: str) -> Sequence[EvalLine]:
    """The episodes of a task's policies, a line each; raises Malformed for one that was changed."""
    file = folder / f"{file_stem(task)}.jsonl"
    lines, _ = read_lines(file, parse_line)
    if broken := next((b for line in lines if (b := check_chain([line]))), None):
        raise Malformed(str(file), "lines as they were written", f"a changed one ({broken})")
    return lines


def _task(folder: Path, data: dict[str, Any]) -> TaskEvidence:
    lines = read_episodes(folder, data["task"])
    said = [(p["seed"], p["weights"]) for p in data["policies"]]
    if [(x.seed, x.weights) for x in lines] != said:
        raise Malformed(
            f"{folder}: {data['task']}", f"a line for each of the {len(said)} policies of {FILE}", f"{len(lines)} lines"
        )
    return TaskEvidence(**{
        **data, "digests": tuple(data["digests"]), "flags": tuple(data["flags"]),
        "policies": tuple(map(scored, lines)),
    })  # fmt: skip


def scored(line: EvalLine, run_id: str = "") -> Scored:
    """The score of a line."""
    team = line.team
    return Scored(
        line.seed, float(team.mean()), float(team.std(ddof=1)), len(team), float(line.success.mean()), line.weights,
        run_id,
    )  # fmt: skip
