"""``rlnet-bench export``: results for other tools."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json
from rlnet_bench.cli.stats import ModeOption, SourceArgument, SourceOption
from rlnet_bench.errors import BadInput


class ExportFormat(StrEnum):
    """What can be written."""

    marl_eval = "marl-eval"
    csv = "csv"


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(export)


def export(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    format: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.marl_eval,
    out: Annotated[Path | None, typer.Option("--out", help="A file; SUITE.json or SUITE.csv by default.")] = None,
    mode: ModeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Write results as marl-eval JSON (one mode of actions), or as the tidy CSV with everything in it."""
    from rlnet_bench.analysis.exported import from_results, write_marl_eval
    from rlnet_bench.foreign.csv import write_csv
    from rlnet_bench.runs.files import write_atomic

    results = loaded(source or store, suite)
    remarks: list[str] = []
    if format is ExportFormat.csv:
        if mode is not None:
            raise BadInput("--mode is for marl-eval, which has no word for it; the CSV holds both modes.")
        text = write_csv(from_results(results))
    else:
        text, remarks = write_marl_eval(results, mode)
    suffix = "csv" if format is ExportFormat.csv else "json"
    target = out or Path(f"{results.name}.{suffix}")
    if target.exists() and not force:
        raise BadInput(f"{target}: there is such a file already; choose another --out or add --force.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, text)
    if json:
        print_json({"file": str(target), "bytes": len(text.encode()), "remarks": remarks})
        return
    print(f"{target}: {len(text.encode()) / 1024:,.0f} KiB")
    for remark in remarks:
        print(f"warning: {remark}", file=sys.stderr)
