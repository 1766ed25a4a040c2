"""What a board listed at some time: ``results/board.json``, which the board's rules compare with.

It is written anew whenever something is listed, and is kept by version control: the one of the merge base says what
may not change.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed
from rlnet_bench.leaderboard.board import Board
from rlnet_bench.leaderboard.entries import Entry
from rlnet_bench.leaderboard.evidence import LEVELS, Level
from rlnet_bench.reading.plain import parse_json
from rlnet_bench.reading.shapes import Maybe, check
from rlnet_bench.runs.files import write_atomic

FILE = "board.json"


@dataclass(frozen=True)
class Cell:
    """What may not change of an entry once it is listed."""

    method: str
    version: int
    suite: str
    task: str
    division: str
    task_hash: str
    submitter: str
    level: Level
    season: str
    scores: tuple[tuple[int, str, float | None, str], ...]  # (seed, status, mean, weights)

    @property
    def key(self) -> tuple[str, int, str, str, str]:
        """As of an entry."""
        return self.method, self.version, self.suite, self.task, self.division

    @property
    def name(self) -> str:
        """For sentences."""
        suite = f" ({self.suite})" if self.suite else ""
        return f"{self.method}@{self.version} on {self.task}{suite}, {self.division}"


@dataclass(frozen=True)
class Snapshot:
    """A board at some time."""

    version: int = 0  # of the board; 0: there was none
    references: tuple[tuple[str, float, float], ...] = ()  # (task, random, best)
    exemptions: tuple[tuple[str, str], ...] = ()  # (rule, subject)
    withdrawn: tuple[tuple[str, int], ...] = ()  # (method, version)
    cells: tuple[Cell, ...] = ()


def _row(*shapes: object) -> Callable[[object, str], None]:
    """A list of as many items, one shape each."""

    def shape(value: object, where: str) -> None:
        check(value, list, where)
        assert isinstance(value, list)
        if len(value) != len(shapes):
            raise Malformed(where, f"{len(shapes)} items", f"a list of {len(value)}")
        for item, kind in zip(value, shapes, strict=True):
            check(item, kind, where)

    return shape


CELL = {"method": str, "version": int, "suite": str, "task": str, "division": ("policies", "algorithms"),
        "task_hash": str, "submitter": str, "level": LEVELS, "season": str,
        "scores": [_row(int, str, Maybe(float), str)]}  # fmt: skip
SHAPE = {"version": int, "references": [_row(str, float, float)], "exemptions": [_row(str, str)],
         "withdrawn": [_row(str, int)], "cells": [CELL]}  # fmt: skip


def cell_of(entry: Entry) -> Cell:
    """What a snapshot keeps of an entry."""
    scores = tuple((s.seed, s.status, s.mean, s.weights) for s in entry.scores)
    return Cell(entry.method, entry.version, entry.suite, entry.task, entry.division, entry.task_hash,
                entry.submitter, entry.level, entry.season, scores)  # fmt: skip


def take(board: Board, entries: Iterable[Entry]) -> Snapshot:
    """The board as it is now."""
    return Snapshot(
        board.version,
        tuple((r.task, r.random, r.best) for r in board.references),
        tuple((e.rule, e.subject) for e in board.exemptions),
        tuple((w.method, w.version) for w in board.withdrawn),
        tuple(map(cell_of, entries)),
    )


def write_snapshot(results: Path, snapshot: Snapshot) -> None:
    """Write ``board.json``, a cell a line."""
    data = asdict(snapshot)
    cells = ",\n  ".join(json.dumps(c) for c in data.pop("cells"))
    head = json.dumps(data, indent=1)[:-2]
    write_atomic(results / FILE, f'{head},\n "cells": [\n  {cells}\n ]\n}}\n')


def at_merge_base(results: Path, branch: str = "main") -> Snapshot:
    """The snapshot that version control has for the commit on which a change is based; an empty one without any.

    On the branch itself that is its last commit but this one.
    """
    base = _git(results, "merge-base", "HEAD", branch)
    if base and base == _git(results, "rev-parse", "HEAD"):
        base = _git(results, "rev-parse", "HEAD^")
    text = _git(results, "show", f"{base.strip()}:./{FILE}") if base else ""
    return snapshot_from_json(parse_json(text, f"{FILE} at the merge base"), "merge base") if text else Snapshot()


def _git(folder: Path, *words: str) -> str:
    try:
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return found.stdout if found.returncode == 0 else ""


def snapshot_from_json(data: Any, where: str) -> Snapshot:
    """The parsed file; raises Malformed, naming ``where`` and what is wrong."""
    check(data, SHAPE, where)
    rows = {key: tuple(map(tuple, data[key])) for key in ("references", "exemptions", "withdrawn")}
    cells = tuple(Cell(**{**c, "scores": tuple(map(tuple, c["scores"]))}) for c in data["cells"])
    return Snapshot(data["version"], **rows, cells=cells)
