"""``rlnet-bench import``: other tools' results as one tidy CSV that every statistics verb reads."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, print_json
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode

if TYPE_CHECKING:
    from rlnet_bench.foreign import ForeignTable


class Format(StrEnum):
    """Foreign formats."""

    csv = "csv"
    marl_eval = "marl-eval"
    benchmarl = "benchmarl"
    epymarl = "epymarl"
    wandb = "wandb"
    series = "series"


class ScaleChoice(StrEnum):
    """How a return is joined over agents."""

    sum = "sum"
    mean = "mean"


class StepsChoice(StrEnum):
    """What a step of the axis counts."""

    frames = "frames"
    vector_steps = "vector-steps"
    agent_steps = "agent-steps"
    updates = "updates"


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("import")(import_)


def import_(
    files: Annotated[list[Path], typer.Argument(help="Files or folders of one format.")],
    format: Annotated[
        Format | None, typer.Option("--format", help="Whose files these are; found by their content.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="A .csv file, or a directory for results.csv.")] = Path(
        "results.csv"
    ),
    scale: Annotated[
        ScaleChoice | None, typer.Option("--scale", help="Returns added over agents, or averaged.")
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Name of the return in the files.")] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="How actions were chosen, where the file does not say.")
    ] = None,
    steps: Annotated[StepsChoice | None, typer.Option("--steps", help="What the step axis counts.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="OURS=THEIRS: a column under another name; may be repeated.")
    ] = None,
    runs: Annotated[
        str | None, typer.Option("--runs", help="wandb: run names, such as {method}-{task}-{seed}.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="The method of all runs, where the files do not say it.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="The task of all runs, where the files do not say it.")
    ] = None,
    evaluation: Annotated[
        bool | None, typer.Option("--evaluation/--training", help="wandb: whether the metric is an evaluation.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option("--separator", help="csv: what stands between cells; found by the content.")
    ] = None,
    decimal: Annotated[str | None, typer.Option("--decimal", help="csv: the decimal mark, likewise.")] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave unreadable runs out; else they count as failed.")
    ] = False,
    complete: Annotated[
        list[str] | None,
        typer.Option("--complete", help="all, METHOD or METHOD:SEED: count runs that ended early; captions say so."),
    ] = None,
    floor: Annotated[
        list[str] | None, typer.Option("--floor", help="VALUE or TASK=VALUE: what a diverged run scores.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Read other tools' results, check them, and write a tidy CSV for stats, compare, rank, table, report and lint."""
    from rlnet_bench.foreign import write_csv
    from rlnet_bench.foreign.door import TABLE_FILE, Options, read_all
    from rlnet_bench.runs.files import write_atomic

    target = out if out.suffix.lower() == ".csv" else out / TABLE_FILE
    if target.exists() and not force:
        raise BadInput(f"{target}: there is such a file already; choose another --out or add --force.")
    options = Options(
        scale=scale.value if scale else "unknown",
        metric=metric,
        mode=mode,
        steps=steps.value if steps else None,
        columns=renames(columns or []),
        runs=runs,
        method=method,
        task=task,
        is_evaluation=evaluation,
        separator=separator,
        decimal=decimal,
        skip_broken=skip_broken,
        complete=tuple(complete or ()),
        floors=floors(floor or []),
    )
    name = str(files[0]) if len(files) == 1 else f"{len(files)} sources"
    table = read_all(format.value if format else None, files, options, name)
    notes = list(dict.fromkeys([*table.warnings, *_scorable(table)]))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, write_csv(table))
    if json:
        print_json(
            {
                "file": str(target), "methods": list(table.methods), "tasks": list(table.tasks),
                "runs": len(table.runs), "evaluations": len(table.evaluations), "warnings": notes,
            }
        )  # fmt: skip
        return
    print(
        f"{target}: {len(table.runs)} runs of {len(table.methods)} methods on {len(table.tasks)} tasks, "
        f"{len(table.evaluations)} evaluations."
    )
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    print(f"`rlnet-bench stats {target}`, `table`, `report`, `compare A B {target}` and `lint {target}` read it.")


def _scorable(table: ForeignTable) -> list[str]:
    """What a reader of the results must know, or that there is nothing to score."""
    from rlnet_bench.analysis.imported import to_results

    try:
        return list(to_results(table).notes)
    except BadInput as error:
        return [f"{error} It can still be read by `lint`."]


def floors(texts: list[str]) -> dict[str, float]:
    """``VALUE`` or ``TASK=VALUE`` options; the task is empty for all of them.

    Raises:
        BadInput: with the option as it was written.
    """
    found = {}
    for text in texts:
        task, _, value = text.rpartition("=")
        try:
            found[task.strip()] = float(value)
        except ValueError:
            raise BadInput(f"--floor {text!r}: expected VALUE or TASK=VALUE, for instance spread=-120.") from None
    return found


def renames(texts: list[str]) -> dict[str, str]:
    """``OURS=THEIRS`` options as a mapping.

    Raises:
        BadInput: with the option as it was written.
    """
    found = {}
    for text in texts:
        ours, sign, theirs = text.partition("=")
        if not sign or not ours.strip() or not theirs.strip():
            raise BadInput(f"--columns {text!r}: expected OURS=THEIRS, for instance return=episode_reward.")
        found[ours.strip()] = theirs.strip()
    return found
