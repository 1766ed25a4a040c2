"""``rlnet-bench lint``: what cannot be compared, in sentences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, SuiteOption, print_json, tell_suites


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
    from rlnet_bench.analysis.loading import load_source
    from rlnet_bench.foreign.summary import Summary

    for path in sources:
        tell_suites(path, suite)
    read = [load_source(path, suite) for path in sources]
    tables = [s.table for s in read if not isinstance(s.table, Summary)]
    summaries = [s.table for s in read if isinstance(s.table, Summary)]
    findings = check(tables, summaries, [s.findings for s in read if s.findings is not None])
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
