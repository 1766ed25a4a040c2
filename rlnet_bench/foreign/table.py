"""What every foreign format is read into, and what is written from a store: evaluations, and facts about them.

Axes: **E** episodes (or 1, for a mean over episodes), **N** agents (1 where only the team's return is known).
Imports without torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.reading import names
from rlnet_bench.vocabulary import Mode

Kind = Literal["curve", "final", "absolute", "best-episode", "training"]
Scale = Literal["sum", "mean", "unknown"]
StepUnit = Literal["frames", "vector-steps", "agent-steps", "updates", "logger-steps", "unknown"]
RunStatus = Literal["ok", "diverged", "failed", "incomplete"]

KINDS: tuple[str, ...] = get_args(Kind)
SCORED: tuple[Kind, ...] = ("curve", "final", "absolute")  # the others are kept for `lint` and never scored
SCALES: tuple[str, ...] = get_args(Scale)
STEP_UNITS: tuple[str, ...] = get_args(StepUnit)
STATUSES: tuple[str, ...] = get_args(RunStatus)
Run = tuple[str, str, int]  # method, task, seed
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
    def run(self) -> Run:
        """(method, task, seed)."""
        return self.method, self.task, self.seed

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
    statuses: dict[Run, RunStatus] = field(default_factory=dict)  # runs that are not ok
    floors: dict[str, float] = field(default_factory=dict)  # task -> score of a diverged run
    warnings: tuple[str, ...] = ()
    unsaid_modes: frozenset[tuple[str, str]] = frozenset()  # cells of which nobody says how actions were chosen
    reasons: dict[Run, str] = field(default_factory=dict)  # why a run is not ok, where that is known
    retried: dict[Run, tuple[RunStatus, ...]] = field(default_factory=dict)  # what became of earlier attempts at a run
    damage: tuple[str, ...] = ()  # records of a store that are not as they were written

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

    @property
    def runs(self) -> set[Run]:
        """Every run with any evaluation or status."""
        return {e.run for e in self.evaluations} | set(self.statuses)

    def without(self, runs: Set[Run]) -> ForeignTable:
        """The table without some of its runs; what is known of their cells stays."""
        return replace(
            self,
            evaluations=tuple(e for e in self.evaluations if e.run not in runs),
            statuses={k: v for k, v in self.statuses.items() if k not in runs},
            reasons={k: v for k, v in self.reasons.items() if k not in runs},
        )

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

    def with_floors(self, given: Mapping[str, float]) -> ForeignTable:
        """The table with the score of a diverged run, per task or (under ``""``) for every task that lacks one.

        Raises:
            BadInput: for a task that is not there.
        """
        unknown = sorted(set(given) - {"", *self.tasks})
        if unknown:
            raise BadInput(f"--floor {unknown[0]}: expected a task out of {', '.join(self.tasks)}.")
        everywhere = dict.fromkeys(self.tasks, given[""]) if "" in given else {}
        return replace(self, floors={**everywhere, **self.floors, **{t: x for t, x in given.items() if t}})

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

    A run that failed or ended early and was started again stays counted, as an earlier attempt (``retried``).

    Raises:
        BadInput: when two sources hold the same run, or disagree about a cell or a floor.
    """
    tables, again = _without_repetitions(list(tables))
    tables, retried = _without_predecessors(tables)
    if len(tables) == 1:
        return replace(tables[0], name=name)
    facts: dict[tuple[str, str], CellFacts] = {}
    statuses: dict[Run, RunStatus] = {}
    reasons: dict[Run, str] = {}
    floors: dict[str, float] = {}
    home: dict[Run, str] = {}
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
        for run in sorted(table.runs):
            if home.setdefault(run, table.name) != table.name:
                raise BadInput(
                    f"{table.name}: {run[0]!r} on {run[1]!r}, seed {run[2]}, is also in {home[run]}, with other "
                    "numbers: leave one of them out, or give the method another name in one file."
                )
        for task, floor in table.floors.items():
            if floors.setdefault(task, floor) != floor:
                raise BadInput(f"{table.name}: the floor of {task!r} is {floor:g}, elsewhere {floors[task]:g}.")
        statuses |= table.statuses
        reasons |= table.reasons
    return ForeignTable(
        name,
        tuple(e for t in tables for e in t.evaluations),
        facts,
        statuses,
        floors,
        tuple(dict.fromkeys([*(w for t in tables for w in t.warnings), *again])),
        frozenset(cell for t in tables for cell in t.unsaid_modes),
        reasons,
        retried,
    )


def _without_repetitions(tables: list[ForeignTable]) -> tuple[list[ForeignTable], list[str]]:
    """The tables without runs that an earlier one holds to the last digit, and what to say of each."""
    first: dict[tuple[Run, str], str] = {}
    kept, said = [], []
    for table in tables:
        again = set()
        for run in sorted(table.runs - set(table.statuses)):
            digits = repr([(e.kind, e.mode, e.frames, e.returns.tolist()) for e in table.evaluations if e.run == run])
            if first.setdefault((run, digits), table.name) != table.name:
                again.add(run)
                who = f"{run[0]} on {run[1]}, seed {run[2]}"
                said.append(f"{who}: {table.name} repeats {first[run, digits]}, and counts once.")
        kept.append(table.without(again) if again else table)
    return kept, said


def _without_predecessors(tables: list[ForeignTable]) -> tuple[list[ForeignTable], dict[Run, tuple[RunStatus, ...]]]:
    """The tables without the attempts that another one replaced, and what became of those attempts.

    Of several attempts at a run the one with a score stays; without any, the one that went furthest.
    """
    retried = {run: found for t in tables for run, found in t.retried.items()}
    holders: dict[Run, list[int]] = {}
    for i, table in enumerate(tables):
        for run in table.runs:
            holders.setdefault(run, []).append(i)
    dropped: dict[int, set[Run]] = {}
    for run, where in holders.items():
        if len(where) < 2:
            continue
        lost = [i for i in where if tables[i].statuses.get(run) in ("failed", "incomplete")]
        if len(lost) == len(where):
            lost.remove(
                max(lost, key=lambda i: max((e.frames for e in tables[i].evaluations if e.run == run), default=-1))
            )
        for i in lost:
            dropped.setdefault(i, set()).add(run)
            retried[run] = (*retried.get(run, ()), tables[i].statuses[run])
    return [t.without(dropped[i]) if i in dropped else t for i, t in enumerate(tables)], retried


def _differ(a: CellFacts, b: CellFacts, name: str) -> bool:
    return bool(getattr(a, name) != getattr(b, name))


def checked_name(text: object, where: str, what: str) -> str:
    """A method or task name that can be printed, without the spaces around it.

    Raises:
        Malformed: for empty, overlong or unprintable text.
    """
    name = text.strip() if isinstance(text, str) else text
    return names.checked_name(name, where, f"a name ({what})", MAX_NAME)
