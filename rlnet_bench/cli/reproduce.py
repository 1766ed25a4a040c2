"""``rlnet-bench reproduce RUN_DIR``: run a group again and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import GivenMethods, GivenTasks, JsonFlag, TrustFlag
from rlnet_bench.errors import WorkFailed


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(reproduce)


def reproduce(
    run_dir: Annotated[Path, typer.Argument(help="A directory STORE/runs/<id>.")],
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep the new store here.")] = None,
    trust_code: TrustFlag = False,
    method: GivenMethods = None,
    task: GivenTasks = None,
    json: JsonFlag = False,
) -> None:
    """Run a group again: identical, within interval (exit code 0), or different (1)."""
    from rlnet_bench.runs.reproduce import dumps, to_text
    from rlnet_bench.runs.reproduce import reproduce as again

    result = again(run_dir, keep, trust_code=trust_code, given=[*(method or ()), *(task or ())])
    print(dumps(result) if json else to_text(result))
    if result.verdict == "different":
        raise WorkFailed(f"{result.run_id} did not come out again.")
