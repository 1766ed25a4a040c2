"""``rlnet-bench gaps``: how much information, coordination and memory are worth on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, SuiteOption, loaded, print_json, print_table


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(gaps)


def gaps(
    source: Annotated[str, typer.Argument(help="A run store or a published directory.")],
    suite: SuiteOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the data file that `list tasks` reads.")] = None,
    json: JsonFlag = False,
) -> None:
    """Compare ippo with itself seeing all, with one policy for all, with memory: what each is worth on a task."""
    from dataclasses import asdict

    from rlnet_bench.analysis.gaps import measured_gaps, write_gaps
    from rlnet_bench.envs.cards import GAPS

    found = measured_gaps(loaded(source, suite))
    if out is not None:
        write_gaps(out, found)
    if json:
        print_json({task: {name: asdict(gap) for name, gap in row.items()} for task, row in found.items()})
        return
    rows = [(task, *(str(row[g]) if g in row else "not measured" for g in GAPS)) for task, row in found.items()]
    print_table(("task", *GAPS), rows, "normalised: 1 is the way from random play to the best known")
    for task, row in found.items():
        for name, gap in row.items():
            if gap.reason:
                print(f"{task}, {name}: {gap.reason}.")
