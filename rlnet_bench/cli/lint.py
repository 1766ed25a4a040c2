"""``rlnet-bench lint``: what cannot be compared, in sentences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, SuiteOption, print_json


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(lint)


def lint(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Stores, published directories, CSV files (tidy, or tables of means), marl-eval JSON."),
    ],
    suite: SuiteOption = None,
    json: JsonFlag = False,
) -> None:
    """Find what cannot be compared within and between sources; exit code 1 when there is a problem."""
    from rlnet_bench.analysis.lint import lint as check
    from rlnet_bench.analysis.loading import load_table
    from rlnet_bench.foreign.summary import Summary

    read = [load_table(path, suite) for path in sources]
    tables = [t for t in read if not isinstance(t, Summary)]
    findings = check(tables, [t for t in read if isinstance(t, Summary)])
    problems = [f for f in findings if f.severity == "problem"]
    if json:
        print_json([asdict(f) for f in findings])
    else:
        for f in findings:
            print(f"{f.severity}: {f.sentence} [{f.rule}]")
        cells = sum(len(t.facts) for t in tables)
        print(f"{len(problems)} problem{'s' * (len(problems) != 1)} in {len(sources)} source(s), {cells} cells.")
    if problems:
        raise typer.Exit(1)
