"""Weights & Biases CSV exports: a panel (one column per run) or the table of runs (one row per run).

An export knows neither method, task nor seed: a template such as ``{method}-{task}-{seed}`` reads them off the
run names, or columns of the runs table are named. Every number is a mean over an unknown number of episodes.
An empty cell is no evaluation; NaN is a run that broke down, where it is its last value; a run in any state but
``finished`` is incomplete.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign import guess
from rlnet_bench.foreign.csv import rows_of
from rlnet_bench.foreign.gathered import listed
from rlnet_bench.foreign.table import (
    CellFacts,
    Evaluation,
    ForeignTable,
    Kind,
    Run,
    RunStatus,
    Scale,
    StepUnit,
    checked_name,
    merged,
)

RANGES = ("__MIN", "__MAX")
PARTS = ("method", "task", "seed")
_LOGGER_STEPS = ("step", "_step")
_FRAMES = re.compile(r"frame|env_?step|environment|t_env|timestep|num_steps|global_step|total_steps", re.IGNORECASE)
_RETURN = re.compile(r"return|reward|score", re.IGNORECASE)
_EVALUATION = re.compile(r"(^|[^a-z])(eval\w*|test\w*)([^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class WandbOptions:
    """How an export is to be read.

    ``template`` reads method, task and seed off a run's name; ``method`` and ``task`` are constants where the
    names lack them; ``columns`` maps method, task, seed, frames and return to columns of a runs table.
    """

    template: str | None = None
    method: str | None = None
    task: str | None = None
    metric: str | None = None
    scale: Scale = "unknown"
    steps: StepUnit | None = None
    is_evaluation: bool | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def read_wandb(path: Path, options: WandbOptions | None = None) -> ForeignTable:
    """Read an export.

    Raises:
        BadInput: with file, line, column, what was expected and what was found.
    """
    text, remark = guess.decoded(path)
    table = parse_wandb(text, str(path), options)
    return replace(table, warnings=(*table.warnings, *([remark] if remark else [])))


def parse_wandb(text: str, name: str = "<text>", options: WandbOptions | None = None) -> ForeignTable:
    """Read the text of an export; see :func:`read_wandb`."""
    options = options or WandbOptions()
    rows = list(rows_of(text.removeprefix("\ufeff"), name))
    if len(rows) < 2:
        raise Malformed(name, "a header and at least one row", f"a file of {len(rows)} rows")
    header = [c.strip() for c in rows[0][1]]
    twice = sorted({c for c in header if header.count(c) > 1})
    if twice:
        raise Malformed(f"{name}, line 1", "every column once", twice, "Rename runs that share a name.")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise Malformed(f"{name}, line {line}", f"{len(header)} fields as in the header", f"a row of {len(row)}")
    reader = _Reader(name, options, header, rows[1:])
    return reader.runs_table() if "Name" in header and "State" in header else reader.panel()


class _Reader:
    """One export."""

    def __init__(self, name: str, options: WandbOptions, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
        self.name, self.options, self.header, self.rows = name, options, header, rows
        self.tables: list[ForeignTable] = []  # one per run
        self.warnings: list[str] = []
        self.by_steps = False  # the axis is a time, so that every run's own count of steps is taken

    def panel(self) -> ForeignTable:
        """``Step, "run - metric", "run - metric__MIN", "run - metric__MAX"``, one column triple per run."""
        columns = [c for c in self.header[1:] if c and not c.endswith(RANGES) and " - " in c]
        metrics = sorted({c.rpartition(" - ")[2] for c in columns} - {"_step", "_runtime", "_timestamp"})
        if not metrics:
            raise Malformed(
                f"{self.name}, line 1",
                "columns 'run name - metric' (a panel), or Name and State (a runs table)",
                self.header[:8],
            )
        metric = self.options.metric or (metrics[0] if len(metrics) == 1 else None)
        if metric not in metrics:
            raise Malformed(
                f"{self.name}, line 1", f"one metric{f' {metric!r}' if metric else ''}", metrics, "Use --metric."
            )
        axis = self.header[0]
        grouped = [c for c in columns if c.startswith("Group: ")]
        if grouped:
            hint = "Switch grouping off before exporting: a mean over runs is not a run."
            raise Malformed(f"{self.name}, line 1", "a column per run", grouped[0], hint)
        named = self._names([c.rpartition(" - ")[0] for c in columns if c.rpartition(" - ")[2] == metric])
        for column in columns:
            run, _, found = column.rpartition(" - ")
            if found == metric:
                self._run(column, axis, metric, *named[run])
        unit = self._unit(axis)
        if self.by_steps:
            self.warnings.append(f"{self.name}: the axis {axis!r} is no count; every run's own `_step` is taken.")
        if unit == "logger-steps" or self.by_steps:
            self.warnings.append(
                f"{self.name}: steps count log calls, not environment frames; choose the frames as the "
                "panel's x axis before exporting, or say --steps frames if they are the same."
            )
        self.warnings.append(f"{self.name}: panels are sampled down by W&B, so points may be missing.")
        return self._table(metric)

    def _run(self, column: str, axis: str, metric: str, method: str, task: str, seed: int) -> None:
        index = self.header.index(column)
        low, high = (self.header.index(column + r) if column + r in self.header else None for r in RANGES)
        points: dict[int, float] = {}
        own = f"{column.rpartition(' - ')[0]} - _step"
        place = self.header.index(own) if self._is_time(axis) and own in self.header else 0
        self.by_steps = self.by_steps or place > 0
        for line, row in self.rows:
            if not row[index].strip():
                continue
            where = f"{self.name}, line {line}: {column}"
            frames = _whole(row[place], f"{self.name}, line {line}: {self.header[place]}")
            value = _value(row[index], where)
            if frames in points:
                raise Malformed(f"{self.name}, line {line}: {axis}", "every step once per run", frames)
            points[frames] = value
            if not np.isfinite(value):
                continue
            for i, is_high in ((low, False), (high, True)):
                if i is not None and row[i].strip():
                    limit = _number(row[i], where + RANGES[is_high])
                    slack = 1e-6 * max(1.0, abs(value))
                    if (limit < value - slack) if is_high else (limit > value + slack):
                        side = "maximum of at least" if is_high else "minimum of at most"
                        raise Malformed(where + RANGES[is_high], f"a {side} the value {value:g}", limit)
        self._add(method, task, seed, metric, points, "logger-steps" if place else self._unit(axis))

    def _is_time(self, axis: str) -> bool:
        return "time" in axis.lower() and "timestep" not in axis.lower()

    def _names(self, runs: list[str]) -> dict[str, tuple[str, str, int]]:
        """Method, task and seed of every run: by the template, or else by what all of the names show."""
        shown = None if self.options.template else guess.run_names(runs, self.options.method, self.options.task)
        if shown is None:
            return {run: self._named(run) for run in dict.fromkeys(runs)}
        self.warnings.append(f"{self.name}: {guess.said(shown, '--runs says otherwise.')}")
        return shown

    def runs_table(self) -> ForeignTable:
        """``Name, State, ..., config and summary columns``: the last value of every run."""
        chosen = self.options.columns
        for part, column in chosen.items():
            if part not in (*PARTS, "frames", "return"):
                raise Malformed("--columns", "method, task, seed, frames or return on the left", part)
            if column not in self.header:
                raise Malformed(f"{self.name}, line 1", f"a column {column!r}", self.header[:20])
        told = {*PARTS} if self.options.template else {p for p in ("method", "task") if getattr(self.options, p)}
        wanted = [p for p in (*PARTS, "frames") if p not in told and p not in chosen]
        shown = {p: p for p in wanted if p in self.header} | guess.columns_of(self.header, wanted, chosen)
        if shown:
            text = ", ".join(f"{theirs!r} as {ours}" for ours, theirs in shown.items())
            self.warnings.append(f"{self.name}: columns are read by their names: {text}. --columns says otherwise.")
        chosen = {**chosen, **shown}
        metric = chosen.get("return") or self.options.metric or self._only_return()
        if metric is None or metric not in self.header:
            raise Malformed(
                f"{self.name}, line 1",
                f"a column with the return{f' {metric!r}' if metric else ''}",
                self.header[:20],
                "Name it with --metric.",
            )
        frames_column = chosen.get("frames") or ("_step" if "_step" in self.header else None)
        state, run_name = self.header.index("State"), self.header.index("Name")
        unnamed = []
        for line, row in self.rows:
            where = f"{self.name}, line {line}"
            given = {p: row[self.header.index(chosen[p])] for p in PARTS if p in chosen}
            found = row[state].strip() or "no state"
            try:
                method, task, seed = self._named(row[run_name], given, where)
            except Malformed as error:
                if found == "finished":
                    raise
                unnamed.append(f"{row[run_name]} ({found}): {error}")
                continue
            text = row[self.header.index(metric)].strip()
            steps = row[self.header.index(frames_column)].strip() if frames_column else ""
            points = {}
            if text:
                frames = _whole(steps, f"{where}: {frames_column}") if steps else 0
                points[frames] = _value(text, f"{where}: {metric}")
            self._add(method, task, seed, metric, points, self._unit(frames_column or "unknown"), found)
        if unnamed:
            text = f"{len(unnamed)} runs without method, task or seed are left out:{listed(unnamed)}"
            self.warnings.append(f"{self.name}: {text}")
        return self._table(metric)

    def _only_return(self) -> str | None:
        """The column of evaluated returns, where only one can be meant."""
        returns = [c for c in self.header if _RETURN.search(c) and not c.endswith(RANGES)]
        tested = [c for c in returns if _EVALUATION.search(c)]
        return tested[0] if len(tested) == 1 else returns[0] if len(returns) == 1 else None

    def _add(
        self, method: str, task: str, seed: int, metric: str, points: dict[int, float], unit: StepUnit,
        state: str = "finished",
    ) -> None:  # fmt: skip
        self.tables.append(one_run(self.name, (method, task, seed), metric, points, unit, self.options, state))

    def _named(self, run: str, given: dict[str, str] | None = None, where: str = "") -> tuple[str, str, int]:
        """Method, task and seed of a run."""
        where = where or f"{self.name}, run {run!r}"
        found = {k: v for k, v in (("method", self.options.method), ("task", self.options.task)) if v}
        if self.options.template:
            match = template_pattern(self.options.template).fullmatch(run)
            if match is None:
                raise Malformed(where, f"a run name like --runs {self.options.template!r}", run)
            found |= match.groupdict()
        found |= given or {}
        lost = [p for p in PARTS if p not in found]
        if lost:
            raise Malformed(
                where,
                f"to learn its {' and '.join(lost)}",
                run,
                "Give a template of the run names, for instance --runs '{method}-{task}-{seed}', and --method or "
                "--task for what they lack.",
            )
        method, task = (checked_name(found[p], f"{where}: {p}", p) for p in ("method", "task"))
        return method, task, _whole(found["seed"], f"{where}: seed")

    def _unit(self, axis: str) -> StepUnit:
        if self.options.steps is not None:
            return self.options.steps
        if axis.lower() in _LOGGER_STEPS:
            return "logger-steps"
        return "frames" if _FRAMES.search(axis) else "unknown"

    def _table(self, metric: str) -> ForeignTable:
        """The runs as one table; a run that was started again after a crash keeps its name."""
        whole = Counter(run for t in self.tables for run in t.runs if t.statuses.get(run, "ok") in ("ok", "diverged"))
        for run, count in whole.items():
            if count > 1:
                raise Malformed(
                    self.name,
                    "one run for every method, task and seed",
                    f"a second run of {run[0]!r} on {run[1]!r}, seed {run[2]}",
                    "Choose a --runs template that keeps them apart.",
                )
        table = merged(self.tables, self.name) if self.tables else ForeignTable(self.name, (), {})
        if not table.evaluations:
            lost = [f"{m} on {t} seed {s} ({why})" for (m, t, s), why in table.reasons.items()]
            raise Malformed(self.name, "at least one run with a value", f"a file without any:{listed(lost)}")
        if any(e.kind == "training" for e in table.evaluations):
            self.warnings.append(
                f"{self.name}: {metric!r} does not look like an evaluation (no `eval` or `test` in it); it is kept as "
                "training and never scored. If it is one, add --evaluation."
            )
        self.warnings.append(f"{self.name}: every point is a mean over an unknown number of episodes.")
        return replace(table, warnings=(*table.warnings, *self.warnings))


def one_run(
    name: str, run: Run, metric: str, points: Mapping[int, float], unit: StepUnit, options: WandbOptions,
    state: str = "finished",
) -> ForeignTable:  # fmt: skip
    """The table of one logged series; points that are not finite are no evaluations."""
    method, task, seed = run
    said = options.is_evaluation
    kind: Kind = "curve" if (bool(_EVALUATION.search(metric)) if said is None else said) else "training"
    broken = sorted(frames for frames, value in points.items() if not np.isfinite(value))
    evaluations = tuple(
        Evaluation(method, task, seed, kind, "deterministic", frames, np.array([[value]]), None, None)
        for frames, value in sorted(points.items())
        if np.isfinite(value)
    )
    status: RunStatus = "ok"
    end, why = max(points, default=0), ""
    warnings: tuple[str, ...] = ()
    if broken and broken[-1] == end:
        status, why = "diverged", f"{points[end]} at {end:,} steps"
    elif broken:
        where = ", ".join(f"{x:,}" for x in broken)
        warnings = (f"{name}: {method} on {task} seed {seed} has no finite value at {where} steps.",)
    if not points:
        status, why = "failed", f"{state}, no value of {metric!r}"
    elif state != "finished" and status == "ok":
        status, why = "incomplete", f"{state} at {end:,} steps"
    cell = (method, task)
    return ForeignTable(
        name, evaluations, {cell: CellFacts(options.scale, unit)}, {} if status == "ok" else {run: status},
        warnings=warnings, unsaid_modes=frozenset({cell}), reasons={run: why} if why else {},
    )  # fmt: skip


def template_pattern(template: str) -> re.Pattern[str]:
    """``{method}-{task}-{seed}`` as a pattern; ``*`` stands for anything.

    Raises:
        BadInput: for an unknown or repeated part.
    """
    pattern, seen = "", set[str]()
    for piece in re.split(r"(\{[^{}]*\}|\*)", template):
        if piece == "*":
            pattern += ".*?"
        elif piece.startswith("{") and piece.endswith("}"):
            part = piece[1:-1]
            if part not in PARTS or part in seen:
                raise Malformed("--runs", "each of {method}, {task}, {seed} at most once", piece)
            seen.add(part)
            pattern += rf"(?P<{part}>{'[0-9]+' if part == 'seed' else '.+?'})"
        else:
            pattern += re.escape(piece)
    return re.compile(pattern)


def _value(text: str, where: str) -> float:
    """A logged value; NaN and infinities too."""
    try:
        return float(text)
    except ValueError:
        raise Malformed(where, "a number", text) from None


def _number(text: str, where: str) -> float:
    value = _value(text, where)
    if not np.isfinite(value):
        raise Malformed(where, "a finite number", text)
    return value


def _whole(text: str, where: str) -> int:
    value = _number(text, where)
    if value < 0 or value != int(value) or value > 2**62:
        raise Malformed(where, "a whole number of at least 0", text)
    return int(value)
