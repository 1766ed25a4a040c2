"""``rlnet-bench status`` and ``logs``: look at a grid from outside."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from rlnet_bench.cli.output import (
    DEFAULT_STORE,
    JsonFlag,
    StoreOption,
    SuiteOption,
    print_json,
    tell_damage,
    tell_suites,
)
from rlnet_bench.cli.progress import grid
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.reading.files import Absent, read_bytes


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (status, logs):
        app.command()(verb)


def status(
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep the table on the screen.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the grid: states, rates, time left, failures and their reasons."""
    from rlnet_bench.runs.store import ENDED, Store
    from rlnet_bench.runs.watch import Watcher, live_workers, snapshot

    opened = Store(store).checked()
    tell_suites(opened, suite)
    planned = opened.plan(suite)
    if json:
        rows = snapshot(opened, planned)
        print_json([row.to_json() for row in rows])
        tell_damage([row.reason for row in rows if row.damaged])
        return
    if watch and Console().is_terminal:
        import time

        watcher = Watcher(opened, planned)
        with Live(console=Console(), refresh_per_second=2) as live:
            while True:
                rows = watcher.look()
                live.update(grid(planned, rows, live_workers(rows)))
                if all(row.status in ENDED for row in rows):
                    break
                time.sleep(1)
        return
    console = Console()
    rows = snapshot(opened, planned)
    (console if console.is_terminal else Console(width=200)).print(grid(planned, rows, live_workers(rows)))
    tell_damage([row.reason for row in rows if row.damaged])


def logs(
    group: Annotated[str, typer.Argument(help="A run id, or its beginning.")],
    store: StoreOption = DEFAULT_STORE,
    lines: Annotated[int, typer.Option("--lines", min=1)] = 40,
) -> None:
    """Print the last lines of a group's log."""
    from rlnet_bench.runs.store import Store

    opened = Store(store).checked()
    found = [p for p in opened.run_folders() if p.name.startswith(group)]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise BadInput(
            f"group {group!r}: expected the beginning of one run id, found {names}; `rlnet-bench status` shows them."
        )
    log = found[0] / "log.txt"
    try:
        text = read_bytes(log).decode(errors="replace")
    except Absent:
        raise StoreError(f"{found[0].name}: no log yet.") from None
    print("\n".join(text.splitlines()[-lines:]))
