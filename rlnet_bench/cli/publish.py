"""``rlnet-bench publish``: a suite's results as small files that can be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, SuiteOption, print_json, tell_suites


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(publish)


def publish(
    store: Annotated[str, typer.Argument(help="The run store.")],
    suite: SuiteOption = None,
    out: Annotated[Path, typer.Option("--out", help="Where results live.")] = Path("results"),
    weights: Annotated[bool, typer.Option(help="Also the best weights of every seed.")] = True,
    finished: Annotated[
        bool, typer.Option("--finished", help="Publish what has ended, and declare the rest as open.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write a finished suite's records, the weights of all seeds and one episode per cell."""
    from rlnet_bench.runs.publish import publish as write
    from rlnet_bench.runs.store import Store

    opened = Store(store).checked()
    tell_suites(opened, suite)
    files = write(opened, opened.plan(suite), out, weights=weights, finished=finished)
    size = sum(f.stat().st_size for f in files)
    if json:
        print_json({"files": [str(f) for f in files], "bytes": size})
    else:
        print(f"{len(files)} files, {size / 1024:,.0f} KiB in {files[0].parent}")
