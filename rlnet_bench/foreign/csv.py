"""Tidy CSV, the format of ``import --out``: one row per episode (or per mean over episodes).

Required columns: method, task, seed, frames, episode, return. Optional ones are listed in ``OPTIONAL``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import numpy as np

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign import guess
from rlnet_bench.foreign import table as shape
from rlnet_bench.foreign.files import load_text
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable, checked_name
from rlnet_bench.vocabulary import EXECUTION_CLASSES, MODES

REQUIRED = ("method", "task", "seed", "frames", "episode", "return")
OPTIONAL = (
    "success", "kind", "mode", "agent", "scale", "episodes", "status", "floor", "steps", "horizon", "task_hash",
    "execution", "trains", "reason", "attempt",
)  # fmt: skip
CLASSES = (*EXECUTION_CLASSES, shape.UNKNOWN_CLASS)
_NOT_FINITE = ("nan", "inf", "+inf", "-inf", "infinity", "-infinity")
_Key = tuple[str, str, int, str, str, int]  # method, task, seed, kind, mode, frames


@dataclass(frozen=True)
class CsvOptions:
    """How a file is written. ``columns``: our column name -> the file's, where they differ; ``method`` and ``task``
    are for a file without such a column; ``separator`` stands between cells, ``decimal`` before the digits of a
    fraction; ``means`` says that every row is a mean over episodes, where there is no column for them."""

    columns: Mapping[str, str] = field(default_factory=dict)
    method: str | None = None
    task: str | None = None
    separator: str = ","
    decimal: str = "."
    means: bool = False

    def __post_init__(self) -> None:
        for name, mark in (("separator", self.separator), ("decimal", self.decimal)):
            if len(mark) != 1 or mark.isalnum() or mark in '"\r\n':
                raise Malformed(f"--{name}", "one character", mark)
        if self.separator == self.decimal:
            raise Malformed("--decimal", f"another character than the separator {self.separator!r}", self.decimal)


def read_csv(path: Path, options: CsvOptions | None = None) -> ForeignTable:
    """Read a tidy CSV file.

    Raises:
        BadInput: with file, line, column, what was expected and what was found.
    """
    return parse_csv(load_text(path), str(path), options)


def guessed(
    text: str, name: str, options: CsvOptions, separator: str | None = None, decimal: str | None = None
) -> tuple[CsvOptions, list[str]]:
    """The options completed by what the file shows, and what to say about it.

    Args:
        text: of the file.
        name: of the file.
        options: what was given, which wins.
        separator: between cells, where it was given.
        decimal: before the digits of a fraction, where it was given.
    """
    separator = separator or guess.separator_of(text)
    decimal = decimal or guess.decimal_of(text, separator)
    header = [c.strip() for c in next(rows_of(text.partition("\n")[0], name, separator), (1, []))[1]]
    given = {k for k in ("method", "task") if getattr(options, k) is not None}
    found = guess.columns_of(header, [c for c in (*REQUIRED, "success") if c not in given], options.columns)
    columns = {**found, **options.columns}
    is_mean = "episode" not in header and "episode" not in columns
    made = replace(options, columns=columns, separator=separator, decimal=decimal, means=is_mean)
    said = []
    if found:
        names = ", ".join(f"{theirs!r} as {ours}" for ours, theirs in found.items())
        said.append(f"{name}: columns are read by their names: {names}. --columns says otherwise.")
    if is_mean:
        said.append(f"{name}: there is no column episode, so that every row is taken for a mean over episodes.")
    return made, said


def parse_csv(text: str, name: str = "<text>", options: CsvOptions | None = None) -> ForeignTable:
    """Read tidy CSV text; see :func:`read_csv`."""
    options = options or CsvOptions()
    rows = rows_of(text, name, options.separator)
    _, header = next(rows, (1, []))
    if not header:
        raise Malformed(name, f"a header such as {','.join(REQUIRED)}", "nothing")
    given = {k: v for k, v in (("method", options.method), ("task", options.task)) if v is not None}
    given |= {"episode": "mean"} if options.means else {}
    index, warnings = _columns(header, name, dict(options.columns), given)
    lacks = "Add a column episode: its number, or mean where a row is a mean over episodes." if options.means else ""
    builder = _Builder(name, lacks)
    for line, row in rows:
        if len(row) != len(header):
            raise Malformed(f"{name}, line {line}", f"{len(header)} fields as in the header", f"a row of {len(row)}")
        cells = given | {c: row[i].strip() for c, i in index.items()}
        builder.add(_Row(f"{name}, line {line}", cells, options.decimal))
    return builder.table(tuple(warnings))


def rows_of(text: str, name: str, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Non-empty rows with their line numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Malformed(
                f"{name}, line {reader.line_num}", "comma-separated values", f"a broken row ({error})"
            ) from None
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _columns(
    header: list[str], name: str, renamed: dict[str, str], given: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Where each known column is, and warnings about the others; ``given`` columns are not in the file."""
    names = [c.strip() for c in header]
    where = f"{name}, line 1"
    known = (*REQUIRED, *OPTIONAL)
    unknown = sorted(set(renamed) - set(known))
    if unknown:
        raise Malformed("--columns", f"our columns ({', '.join(known)}) on the left", unknown)
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        mark = next(m for m in ";\t|" if m in names[0])
        shown = "$'\\t'" if mark == "\t" else f"'{mark}'"
        decimal = " (and --decimal ',' where fractions are written 0,5)" if mark == ";" else ""
        raise Malformed(where, "columns separated by commas", header[0], f"Add --separator {shown}{decimal}.")
    twice = sorted({c for c in names if names.count(c) > 1})
    if twice:
        raise Malformed(where, "every column once", twice, "Remove the second one.")
    for column in given:
        if column != "episode" and renamed.get(column, column) in names:
            raise Malformed(where, f"no column {column!r} beside --{column}", names, f"Leave --{column} out.")
    index, lost, remedies = {}, [], []
    for column in known:
        wanted = renamed.get(column, column)
        if wanted in names:
            index[column] = names.index(wanted)
        elif column not in given and (column in REQUIRED or column in renamed):
            lost.append(wanted)
            near = get_close_matches(wanted, names, n=1, cutoff=0.6)
            guess = f"Did you mean {near[0]!r}? Add --columns {column}={near[0]}." if near else ""
            remedies.append(guess or f"For {wanted!r}: {_remedy(column)}.")
    if lost:
        what = f"a column {lost[0]!r}" if len(lost) == 1 else f"the columns {', '.join(map(repr, lost))}"
        raise Malformed(where, what, names, " ".join(remedies))
    warnings = []
    for extra in names:
        if extra and extra not in [renamed.get(c, c) for c in known]:
            near = get_close_matches(extra.lower(), [c for c in OPTIONAL if c not in index], n=1, cutoff=0.75)
            guess = f"; did you mean {near[0]!r}?" if near else "."
            warnings.append(f"{name}: column {extra!r} is not one of ours and is ignored{guess}")
    return index, warnings


def _remedy(column: str) -> str:
    """What helps when a column is missing."""
    rename = f"--columns {column}=THE_FILES_NAME"
    if column in ("method", "task"):
        return f"--{column} NAME for the whole file, or {rename}"
    if column == "episode":
        return f"a column episode with the word mean in every row, where a row is a mean over episodes, or {rename}"
    if column == "seed":
        return (
            f"a column seed with a number for each training run, whose spread decides what can be claimed, or {rename}"
        )
    if column == "frames":
        return f"a column frames with the steps trained, equal in all rows of a file of final scores, or {rename}"
    return rename


@dataclass(frozen=True)
class _Row:
    """One row, read field by field; every field says where it stands."""

    where: str
    cells: dict[str, str]
    decimal: str = "."

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def fail(self, column: str, expected: str, hint: str = "") -> Malformed:
        found = self.text(column)
        return Malformed(f"{self.where}: {column}", expected, found if found else "nothing", hint)

    def whole(self, column: str) -> int:
        """A whole number of at least 0; ``1e6`` and ``1000000.0`` will do."""
        value = self.number(column)
        if value < 0 or value != math.floor(value) or value > 2**62:
            raise self.fail(column, "a whole number of at least 0")
        return int(self.text(column)) if self.text(column).isascii() and self.text(column).isdigit() else int(value)

    def number(self, column: str) -> float:
        try:
            value = float(self._plain(column))
        except ValueError:
            hint = "Add --decimal ','." if self.decimal == "." and "," in self.text(column) else ""
            raise self.fail(column, "a number", hint) from None
        if not math.isfinite(value):
            raise self.fail(column, "a finite number", "A run that broke down has the status 'diverged'.")
        return value

    def _plain(self, column: str) -> str:
        """The cell with a decimal point; ``_`` is no digit."""
        text = self.text(column).replace("_", "x")
        return text if self.decimal == "." else text.replace(".", "x").replace(self.decimal, ".")

    def choice(self, column: str, choices: tuple[str, ...], default: str) -> str:
        text = self.text(column).lower() if column != "execution" else self.text(column)
        if not text:
            return default
        if text not in choices:
            near = get_close_matches(text, choices, n=1, cutoff=0.5)
            raise self.fail(column, f"one of {', '.join(choices)}", f"Did you mean {near[0]!r}?" if near else "")
        return text


@dataclass
class _Group:
    """The rows of one evaluation."""

    where: str
    returns: dict[int | None, dict[str, float]] = field(default_factory=dict)  # episode (None: a mean) -> agent
    success: dict[int | None, float | None] = field(default_factory=dict)
    episodes: int | None = 1


class _Builder:
    """Collects rows into evaluations and refuses what does not fit together."""

    def __init__(self, name: str, hint: str = "") -> None:
        self.name, self.hint = name, hint
        self.groups: dict[_Key, _Group] = {}
        self.facts: dict[tuple[str, str], tuple[CellFacts, str]] = {}
        self.statuses: dict[shape.Run, shape.RunStatus] = {}
        self.reasons: dict[shape.Run, str] = {}
        self.retried: dict[shape.Run, tuple[shape.RunStatus, ...]] = {}
        self.floors: dict[str, tuple[float, str]] = {}
        self.unsaid: set[tuple[str, str]] = set()
        self.broken: dict[shape.Run, dict[int, str]] = {}  # frames -> what stands there for a number

    def add(self, row: _Row) -> None:
        """Take one row in."""
        method = checked_name(unquoted(row.text("method")), f"{row.where}: method", "method")
        task = checked_name(unquoted(row.text("task")), f"{row.where}: task", "task")
        seed = row.whole("seed")
        self._facts(row, method, task)
        status = row.choice("status", shape.STATUSES, "ok")
        if row.text("attempt"):
            if status == "ok" or row.text("return"):
                raise row.fail("attempt", "an earlier attempt that failed or is incomplete, without a return")
            before = self.retried.get((method, task, seed), ())
            self.retried[method, task, seed] = (*before, cast(shape.RunStatus, status))
            return
        if row.text("reason"):  # of a run that is ok: why it would not be
            self.reasons[method, task, seed] = unquoted(row.text("reason"))
        if status != "ok":
            self.statuses[method, task, seed] = cast(shape.RunStatus, status)
            if not row.text("return"):
                return
        kind, mode = row.choice("kind", shape.KINDS, "curve"), row.choice("mode", MODES, "deterministic")
        if not row.text("mode"):
            self.unsaid.add((method, task))
        if row.text("return").lower() in _NOT_FINITE:
            self.broken.setdefault((method, task, seed), {})[row.whole("frames")] = row.text("return")
            return
        group = self.groups.setdefault((method, task, seed, kind, mode, row.whole("frames")), _Group(row.where))
        episode = None if row.text("episode").lower() == "mean" else row.whole("episode")
        agent = row.text("agent")
        agents = group.returns.setdefault(episode, {})
        if agent in agents:
            which = "mean" if episode is None else f"episode {episode}"
            raise Malformed(
                f"{row.where}: episode",
                f"{which} of {method} on {task}, seed {seed}, at {row.text('frames')} frames once (the evaluation "
                f"begins on {group.where})",
                "a second row of it", self.hint or "Two runs need two seeds; of rows written twice, leave one out.",
            )  # fmt: skip
        agents[agent] = row.number("return")
        success = row.number("success") if row.text("success") else None
        if success is not None and not 0 <= success <= 1:
            raise row.fail("success", "a share between 0 and 1")
        if group.success.setdefault(episode, success) != success:
            raise row.fail("success", f"the same for every agent of an episode ({group.success[episode]})")
        if episode is None:
            group.episodes = row.whole("episodes") if row.text("episodes") else None
        if None in group.returns and len(group.returns) > 1:
            raise row.fail("episode", f"either numbers or one 'mean' (the evaluation begins on {group.where})")

    def _facts(self, row: _Row, method: str, task: str) -> None:
        found = CellFacts(
            cast(shape.Scale, row.choice("scale", shape.SCALES, "unknown")),
            cast(shape.StepUnit, row.choice("steps", shape.STEP_UNITS, "unknown")),
            row.whole("horizon") if row.text("horizon") else None,
            row.text("task_hash"),
            row.choice("execution", CLASSES, shape.UNKNOWN_CLASS),
            row.choice("trains", ("yes", "no"), "yes") == "yes",
        )
        first, where = self.facts.setdefault((method, task), (found, row.where))
        if first is not found and first != found:
            for column in ("scale", "steps", "horizon", "execution", "task_hash", "trains"):
                if getattr(first, column) != getattr(found, column):
                    raise row.fail(column, f"{getattr(first, column)!r} as for this method and task on {where}")
        if row.text("floor"):
            floor = row.number("floor")
            before, where = self.floors.setdefault(task, (floor, row.where))
            if before != floor:
                raise row.fail("floor", f"one number per task ({before:g} on {where})")

    def table(self, warnings: tuple[str, ...]) -> ForeignTable:
        """All evaluations, in order of appearance."""
        if not self.facts:
            raise Malformed(self.name, "at least one row below the header", "nothing")
        lost = []
        for run, points in self.broken.items():
            last = max(points)
            if last >= max((k[-1] for k in self.groups if k[:3] == run), default=-1):
                self.statuses.setdefault(run, "diverged")
                self.reasons.setdefault(run, f"{points[last]} at {last:,} steps")
            else:
                lost.append(f"{run[0]} on {run[1]} seed {run[2]} at {', '.join(f'{x:,}' for x in points)} steps")
        if lost:
            warnings = (*warnings, f"{self.name}: without a finite value: {'; '.join(lost)}.")
        return ForeignTable(
            self.name,
            tuple(self._evaluation(key, group) for key, group in self.groups.items()),
            {cell: facts for cell, (facts, _) in self.facts.items()},
            self.statuses,
            {task: floor for task, (floor, _) in self.floors.items()},
            warnings,
            frozenset(self.unsaid),
            self.reasons,
            self.retried,
        )

    def _evaluation(self, key: _Key, group: _Group) -> Evaluation:
        agents = list(next(iter(group.returns.values())))
        for episode, values in group.returns.items():
            if set(values) != set(agents):
                raise Malformed(
                    f"{group.where}: agent", f"the agents {agents} in every episode of the evaluation that begins here",
                    f"{list(values)} in episode {episode}",
                )  # fmt: skip
        order: list[Any] = sorted(group.returns, key=lambda e: -1 if e is None else e)
        returns = np.array([[group.returns[e][a] for a in agents] for e in order])
        success = [group.success[e] for e in order]
        rates = None if any(s is None for s in success) else np.array(success, dtype=np.float64)
        method, task, seed, kind, mode, frames = key
        return Evaluation(
            method, task, seed, cast(shape.Kind, kind), cast(Any, mode), frames, returns, rates, group.episodes
        )


def write_csv(table: ForeignTable) -> str:
    """The table as tidy CSV; :func:`parse_csv` reads the same table back."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*REQUIRED, *OPTIONAL))
    told = set()
    for e in table.evaluations:
        told.add(e.run)
        is_mean = e.episodes != 1
        count = ("" if e.episodes is None else e.episodes) if is_mean else 1
        mode, names = "" if e.cell in table.unsaid_modes else e.mode, tuple(map(quoted, e.cell))
        for i, row in enumerate(e.returns):
            for agent, value in enumerate(row):
                rate = "" if e.success is None else _text(e.success[i])
                name = f"agent_{agent}" if len(row) > 1 else ""
                episode: object = "mean" if is_mean else i
                head = (*names, e.seed, e.frames, episode, _text(value), rate, e.kind, mode, name)
                writer.writerow((*head, *_tail(table, e.run, count)))
    for run in table.statuses:
        if run not in told:
            writer.writerow((*_without_score(run), *_tail(table, run, 1)))
    for run, earlier in table.retried.items():
        for attempt, status in enumerate(earlier, 1):
            writer.writerow((*_without_score(run), *_tail(table, run, 1, status, attempt)))
    return out.getvalue()


def _without_score(run: shape.Run) -> tuple[object, ...]:
    """The columns before ``scale`` of a row that only has a status."""
    return quoted(run[0]), quoted(run[1]), run[2], 0, 0, "", "", "curve", "", ""


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def quoted(text: str) -> str:
    """Text for a cell, with the apostrophe before what a spreadsheet would run as a formula; see :func:`unquoted`."""
    return f"'{text}" if _FORMULA.match(text) else text


def unquoted(cell: str) -> str:
    """Inverse of :func:`quoted`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _tail(
    table: ForeignTable, run: shape.Run, count: object, status: str = "", attempt: int | None = None
) -> tuple[object, ...]:
    """The columns from ``scale`` on; with the number of an earlier attempt, what became of that."""
    f = table.facts[run[:2]]
    floor = table.floors.get(run[1])
    reason = quoted(" ".join(table.reasons.get(run, "").split())) if attempt is None else ""
    return (
        f.scale, count, status or table.statuses.get(run, "ok"), "" if floor is None else _text(floor), f.steps,
        f.horizon or "", f.task_hash, f.execution, "yes" if f.trains else "no", reason, attempt or "",
    )  # fmt: skip


def _text(value: float) -> str:
    """The shortest decimal that reads back the same."""
    return repr(float(value))
