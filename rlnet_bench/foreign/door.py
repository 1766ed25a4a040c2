"""One door for all foreign formats, and for every source that the verbs take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.benchmarl import read_benchmarl
from rlnet_bench.foreign.csv import parse_csv, read_csv
from rlnet_bench.foreign.epymarl import read_epymarl
from rlnet_bench.foreign.files import load_text
from rlnet_bench.foreign.marl_eval import JsonOptions, read_marl_eval
from rlnet_bench.foreign.summary import Summary, is_summary, parse_summary
from rlnet_bench.foreign.table import ForeignTable, Scale, StepUnit, merged
from rlnet_bench.foreign.wandb import WandbOptions, read_wandb
from rlnet_bench.vocabulary import Mode

FORMATS = ("csv", "marl-eval", "benchmarl", "epymarl", "wandb")
TABLE_FILE = "results.csv"


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


def read_foreign(format: str, path: Path, options: Options | None = None) -> ForeignTable:
    """Read one file or folder of a foreign format.

    Raises:
        BadInput: with file, line or key, what was expected and what was found.
    """
    o = options or Options()
    json = JsonOptions(o.metric, o.mode, o.scale)
    if format == "csv":
        table = read_csv(path / TABLE_FILE if path.is_dir() else path, o.columns)
        table = table.with_mode(o.mode) if o.mode else table
        return table.with_scale(o.scale) if o.scale != "unknown" else table
    if format == "marl-eval":
        return read_marl_eval(path, json)
    if format == "benchmarl":
        return read_benchmarl(path, json)
    if format == "epymarl":
        return read_epymarl(path, o.scale)
    if format == "wandb":
        is_evaluation = o.is_evaluation
        options_ = WandbOptions(o.runs, o.method, o.task, o.metric, o.scale, o.steps, is_evaluation, o.columns)
        table = read_wandb(path, options_)
        return table.with_mode(o.mode) if o.mode else table
    raise BadInput(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}.")


def read_all(format: str, paths: list[Path], options: Options, name: str) -> ForeignTable:
    """Read several files of one format as one table, which must know its reward scale.

    Raises:
        BadInput: for the readers' reasons, or when the scale has to be asked for.
    """
    table = merged([read_foreign(format, p, options) for p in paths], name)
    lacking = table.cells_without_scale
    if lacking:
        method, task = lacking[0]
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise BadInput(
            f"{name}: the reward scale of {method!r} on {task!r}{more} is not in the file. Say --scale sum (a return "
            "is added over agents) or --scale mean (it is the mean over agents); nothing can be compared without it."
        )
    return table


def is_table(path: Path) -> bool:
    """Whether a source is a CSV file, or a directory that ``import`` made."""
    return path.suffix.lower() == ".csv" or (path / TABLE_FILE).is_file()


def read_table(path: Path) -> ForeignTable:
    """The table of a source for which :func:`is_table` holds."""
    return read_csv(path / TABLE_FILE if path.is_dir() else path)


def read_file(path: Path) -> ForeignTable | Summary | None:
    """A foreign source of a format that can be recognised: a CSV file (tidy, or a table of means), marl-eval or
    BenchMARL JSON, sacred folders. None for anything else: it may be a store or a published directory.

    Raises:
        BadInput: when there is nothing, or it is damaged.
    """
    if is_table(path):
        file = path / TABLE_FILE if path.is_dir() else path
        text = load_text(file)
        return parse_summary(text, str(file)) if is_summary(text) else parse_csv(text, str(file))
    if path.suffix.lower() == ".json" and path.is_file():
        return read_marl_eval(path)
    is_own = (path / "store.json").is_file() or (path / "suite.json").is_file()
    if path.is_dir() and not is_own and next(path.rglob("metrics.json"), None) is not None:
        return read_epymarl(path)
    if not path.exists():
        raise BadInput(f"{path}: there is no such file or directory.")
    return None
