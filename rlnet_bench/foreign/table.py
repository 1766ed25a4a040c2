"""What every foreign format is read into, and what is written from a store: evaluations, and facts about them.

Axes: **E** episodes (or 1, for a mean over episodes), **N** agents (1 where only the team's return is known).
Imports without torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.vocabulary import Mode

Kind = Literal["curve", "final", "absolute", "best-episode", "training"]
Scale = Literal["sum", "mean", "unknown"]
StepUnit = Literal["frames", "vector-steps", "agent-steps", "updates", "logger-steps", "unknown"]
RunStatus = Literal["ok", "diverged", "failed"]

KINDS: tuple[str, ...] = get_args(Kind)
SCORED: tuple[Kind, ...] = ("curve", "final", "absolute")  # the others are kept for `lint` and never scored
SCALES: tuple[str, ...] = get_args(Scale)
STEP_UNITS: tuple[str, ...] = get_args(StepUnit)
STATUSES: tuple[str, ...] = get_args(RunStatus)
UNKNOWN_CLASS = "unknown"  # the execution class of a method that was never seen acting
MAX_NAME = 120


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of one seed. ``episodes`` is how many stand behind each row of ``returns``.

    1: rows are single episodes. More, or None (not known): there is one row, a mean over that many.
    """

    method: str
    task: str
    seed: int
    kind: Kind
    mode: Mode
    frames: int
    returns: np.ndarray  # [E, N] float64, on the cell's scale where N = 1
    success: np.ndarray | None = None  # [E]
    episodes: int | None = 1

    @property
    def cell(self) -> tuple[str, str]:
        """(method, task)."""
        return self.method, self.task

    @property
    def value(self) -> float:
        """The mean over episodes of the return added over agents."""
        return float(self.returns.sum(axis=1).mean())


@dataclass(frozen=True)
class CellFacts:
    """What is known about all runs of a method on a task."""

    scale: Scale = "unknown"
    steps: StepUnit = "unknown"
    horizon: int | None = None
    task_hash: str = ""
    execution: str = UNKNOWN_CLASS
    trains: bool = True


@dataclass(frozen=True, eq=False)
class ForeignTable:
    """Everything read from one source, methods and tasks in order of appearance."""

    name: str
    evaluations: tuple[Evaluation, ...]
    facts: dict[tuple[str, str], CellFacts]
    statuses: dict[tuple[str, str, int], RunStatus] = field(default_factory=dict)  # runs that are not ok
    floors: dict[str, float] = field(default_factory=dict)  # task -> score of a diverged run
    warnings: tuple[str, ...] = ()
    unsaid_modes: frozenset[tuple[str, str]] = frozenset()  # cells of which nobody says how actions were chosen

    @property
    def methods(self) -> tuple[str, ...]:
        """Method names."""
        return tuple(dict.fromkeys(m for m, _ in self.facts))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names."""
        return tuple(dict.fromkeys(t for _, t in self.facts))

    def of(self, method: str, task: str) -> list[Evaluation]:
        """The evaluations of a cell."""
        return [e for e in self.evaluations if e.cell == (method, task)]

    def seeds(self, method: str, task: str) -> tuple[int, ...]:
        """The seeds of a cell with any evaluation or status."""
        known = {e.seed for e in self.of(method, task)}
        return tuple(sorted(known | {s for m, t, s in self.statuses if (m, t) == (method, task)}))

    def with_scale(self, scale: Scale) -> ForeignTable:
        """The table with the scale filled in where it was not known.

        Raises:
            BadInput: when the source itself says another scale.
        """
        for (method, task), facts in self.facts.items():
            if facts.scale not in ("unknown", scale):
                raise BadInput(
                    f"{self.name}: --scale {scale}, but the file says that returns of {method!r} on {task!r} are on "
                    f"the scale {facts.scale!r}; leave --scale out."
                )
        return replace(self, facts={k: replace(f, scale=scale) for k, f in self.facts.items()})

    def with_mode(self, mode: Mode) -> ForeignTable:
        """The table with the mode of actions filled in where it was not stated."""
        return replace(
            self,
            evaluations=tuple(replace(e, mode=mode) if e.cell in self.unsaid_modes else e for e in self.evaluations),
            unsaid_modes=frozenset(),
        )

    @property
    def cells_without_scale(self) -> list[tuple[str, str]]:
        """Cells whose reward scale has to be asked for."""
        return [cell for cell, f in self.facts.items() if f.scale == "unknown"]


def merged(tables: Iterable[ForeignTable], name: str) -> ForeignTable:
    """Several sources as one table.

    Raises:
        BadInput: when two sources hold the same run, or disagree about a cell or a floor.
    """
    tables = list(tables)
    if len(tables) == 1:
        return replace(tables[0], name=name)
    facts: dict[tuple[str, str], CellFacts] = {}
    statuses: dict[tuple[str, str, int], RunStatus] = {}
    floors: dict[str, float] = {}
    home: dict[tuple[str, str, int], str] = {}
    for table in tables:
        for cell, found in table.facts.items():
            first = facts.setdefault(cell, found)
            odd = [
                f"{k} {getattr(found, k)!r} and {getattr(first, k)!r}"
                for k in asdict(found)
                if _differ(first, found, k)
            ]
            if odd:
                raise BadInput(
                    f"{table.name}: {cell[0]!r} on {cell[1]!r} differs from another source in {', '.join(odd)}: these "
                    "are two methods or two tasks; give one of them another name."
                )
        runs = {(e.method, e.task, e.seed) for e in table.evaluations} | set(table.statuses)
        for run in sorted(runs):
            if home.setdefault(run, table.name) != table.name:
                raise BadInput(f"{table.name}: {run[0]!r} on {run[1]!r}, seed {run[2]}, is also in {home[run]}.")
        for task, floor in table.floors.items():
            if floors.setdefault(task, floor) != floor:
                raise BadInput(f"{table.name}: the floor of {task!r} is {floor:g}, elsewhere {floors[task]:g}.")
        statuses |= table.statuses
    return ForeignTable(
        name,
        tuple(e for t in tables for e in t.evaluations),
        facts,
        statuses,
        floors,
        tuple(dict.fromkeys(w for t in tables for w in t.warnings)),
        frozenset(cell for t in tables for cell in t.unsaid_modes),
    )


def _differ(a: CellFacts, b: CellFacts, name: str) -> bool:
    return bool(getattr(a, name) != getattr(b, name))


def checked_name(text: object, where: str, what: str) -> str:
    """A method or task name that can be printed.

    Raises:
        Malformed: for empty, overlong or unprintable text.
    """
    name = text.strip() if isinstance(text, str) else ""
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise Malformed(where, f"a {what} name of 1 to {MAX_NAME} printable characters", text)
    return name
