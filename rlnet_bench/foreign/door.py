"""One door for all foreign formats, and for every source that the verbs take."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.benchmarl import read_benchmarl
from rlnet_bench.foreign.completeness import judged, overruled
from rlnet_bench.foreign.csv import CsvOptions, guessed, parse_csv
from rlnet_bench.foreign.epymarl import METRICS, SacredOptions, read_epymarl
from rlnet_bench.foreign.files import load_json, load_text
from rlnet_bench.foreign.gathered import gathered
from rlnet_bench.foreign.guess import decoded, separator_of
from rlnet_bench.foreign.marl_eval import RETURNS, JsonOptions, read_marl_eval
from rlnet_bench.foreign.series import dialect_of, read_series, series_below
from rlnet_bench.foreign.summary import Summary, is_summary, parse_summary
from rlnet_bench.foreign.table import ForeignTable, Scale, StepUnit
from rlnet_bench.foreign.wandb import WandbOptions, read_wandb
from rlnet_bench.reading.files import Absent
from rlnet_bench.vocabulary import Mode

FORMATS = ("csv", "marl-eval", "benchmarl", "epymarl", "wandb", "series")
TABLE_FILE = "results.csv"
HINT = "Look at the path: it is taken from the folder in which the command runs."


@dataclass(frozen=True)
class Options:
    """What a reader cannot find out by itself; see the readers."""

    scale: Scale = "unknown"
    metric: str | None = None
    mode: Mode | None = None  # not stated; read as deterministic
    steps: StepUnit | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    runs: str | None = None
    method: str | None = None
    task: str | None = None
    is_evaluation: bool | None = None
    separator: str | None = None  # found by the content, like the decimal mark
    decimal: str | None = None
    skip_broken: bool = False
    floors: Mapping[str, float] = field(default_factory=dict)  # task (or "" for all) -> score of a diverged run
    complete: tuple[str, ...] = ()  # ``all``, METHOD or METHOD:SEED: runs that count although they ended early


def detected(path: Path, separator: str | None = None) -> str | None:
    """The format of a file or folder, by its content; None when it is nothing that is known.

    Raises:
        BadInput: for a damaged file.
    """
    if path.is_dir():
        if (path / TABLE_FILE).is_file():
            return "csv"
        if any((file.parent / "config.json").is_file() for name in METRICS for file in path.rglob(name)):
            return "epymarl"
        kinds = [_json_format(file) for file in islice(sorted(path.rglob("*.json")), _LOOKS)]
        return next((kind for kind in kinds if kind), None) or ("series" if series_below(path) else None)
    if path.name in METRICS and (path.parent / "config.json").is_file():
        return "epymarl"
    if path.suffix.lower() == ".json":
        return _json_format(path)
    text = decoded(path)[0].partition("\n")[0]
    header = next(csv.reader([text], delimiter=separator or separator_of(text)), [])
    if dialect_of(path, header):
        return "series"
    is_panel = any(" - " in column for column in header[1:]) and "method" not in header
    return "wandb" if is_panel or {"Name", "State"} <= set(header) else "csv"


_LOOKS = 20  # files of a folder that are opened to find out what it is


def _json_format(path: Path) -> str | None:
    """marl-eval's layout, or BenchMARL's of it: a return of its own for every group of agents beside the team's."""
    try:
        found = load_json(path, finite=False)
    except BadInput:
        return None
    for _ in range(4):
        if not isinstance(found, dict) or not found:
            return None
        found = next(iter(found.values()))
    points = [p for p in found.values() if isinstance(p, dict)] if isinstance(found, dict) else []
    if not any("step_count" in p for p in points):
        return None
    is_grouped = any("return" in p and any(k.endswith("_return") and k not in RETURNS for k in p) for p in points)
    return "benchmarl" if is_grouped else "marl-eval"


def read_foreign(format: str | None, path: Path, options: Options | None = None) -> ForeignTable:
    """Read one file or folder of a foreign format (found by its content where it is None); runs that end early are
    ``incomplete``.

    Raises:
        BadInput: with file, line or key, what was expected and what was found.
    """
    return judged(read_unjudged(format, path, options))


def read_unjudged(format: str | None, path: Path, options: Options | None = None) -> ForeignTable:
    """The same as the source itself has it: of two files, the longer runs may be in the other one."""
    o = options or Options()
    if not path.exists():
        raise Absent(str(path), "a file or folder of results", "nothing there", HINT)
    format = format or detected(path, o.separator)
    if format is None:
        raise BadInput(
            f"{path}: expected marl-eval or BenchMARL JSON, sacred folders, a tidy CSV, a W&B export or one CSV file "
            f"per run, found none of them. Say --format {' or '.join(FORMATS)} to hear what is wrong with it."
        )
    json = JsonOptions(o.metric, o.mode, o.scale)
    if format == "csv":
        file = path / TABLE_FILE if path.is_dir() else path
        text, remark = decoded(file)
        made = CsvOptions(o.columns, o.method, o.task)
        as_csv, said = guessed(text, str(file), made, o.separator, o.decimal)
        table = parse_csv(text, str(file), as_csv)
        table = replace(table, warnings=(*table.warnings, *said, *([remark] if remark else [])))
        table = table.with_mode(o.mode) if o.mode else table
        table = table.with_scale(o.scale) if o.scale != "unknown" else table
    elif format == "marl-eval":
        table = read_marl_eval(path, json)
    elif format == "benchmarl":
        table = read_benchmarl(path, json)
    elif format == "epymarl":
        table = read_epymarl(path, SacredOptions(o.scale, o.method, o.task, o.skip_broken))
    elif format in ("wandb", "series"):
        as_export = WandbOptions(o.runs, o.method, o.task, o.metric, o.scale, o.steps, o.is_evaluation, o.columns)
        table = read_wandb(path, as_export) if format == "wandb" else read_series(path, as_export)
        table = table.with_mode(o.mode) if o.mode else table
    else:
        raise BadInput(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}.")
    if o.skip_broken:
        table = table.without({run for run, status in table.statuses.items() if status == "failed"})
    return table.with_floors(o.floors) if o.floors else table


def read_all(format: str | None, paths: list[Path], options: Options, name: str) -> ForeignTable:
    """Read several files as one table, which must know its reward scale.

    Raises:
        BadInput: for the readers' reasons, or when the scale has to be asked for.
    """
    table = gathered(paths, lambda path: read_unjudged(format, path, options), name)
    lacking = table.cells_without_scale
    if lacking:
        method, task = lacking[0]
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise BadInput(
            f"{name}: the reward scale of {method!r} on {task!r}{more} is not in the file. Say --scale sum (a return "
            "is added over agents) or --scale mean (it is the mean over agents); nothing can be compared without it."
        )
    return overruled(judged(table), options.complete)


def is_table(path: Path) -> bool:
    """Whether a source is a CSV file, or a directory that ``import`` made."""
    return path.suffix.lower() == ".csv" or (path / TABLE_FILE).is_file()


def read_table(path: Path) -> ForeignTable:
    """The table of a source for which :func:`is_table` holds."""
    return read_foreign("csv", path)


def read_file(path: Path) -> ForeignTable | Summary | None:
    """A foreign source of a format that can be recognised: a CSV file (tidy, or a table of means), marl-eval or
    BenchMARL JSON (files or folders of them), sacred folders. None for anything else: it may be a store or a
    published directory.

    Raises:
        BadInput: when there is nothing, or it is damaged.
    """
    if is_table(path):
        file = path / TABLE_FILE if path.is_dir() else path
        text = load_text(file)
        return parse_summary(text, str(file)) if is_summary(text) else read_table(path)
    if path.suffix.lower() == ".json" and path.is_file():
        return read_foreign(detected(path) or "marl-eval", path)
    is_own = (path / "store.json").is_file() or (path / "suite.json").is_file()
    if path.is_dir() and not is_own and (format := detected(path)):
        return read_foreign(format, path)
    if not path.exists():
        raise Absent(str(path), "a file or folder of results", "nothing there", HINT)
    return None
