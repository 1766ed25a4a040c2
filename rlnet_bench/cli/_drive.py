"""Starting workers, showing what they do, ending with a verdict: what ``run`` and ``resume`` share."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from rlnet_bench.cli.output import print_json
from rlnet_bench.cli.progress import Events, failures, grid
from rlnet_bench.errors import WorkFailed

if TYPE_CHECKING:
    from rlnet_bench.runs.launch import Workers
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import Store

WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one per core by default.")]
LauncherOption = Annotated[str, typer.Option("--launcher", help="What starts workers: local, ray or slurm.")]
AddressOption = Annotated[str | None, typer.Option("--address", help="Of a Ray cluster.")]
GpusOption = Annotated[float | None, typer.Option("--gpus", help="GPUs per worker; 0.25 puts four on one.")]
OptionsOption = Annotated[
    list[str] | None, typer.Option("--option", help="key=value for the launcher; may be repeated (docs/clusters.md).")
]
CheckpointOption = Annotated[
    float | None,
    typer.Option("--checkpoint-every", min=0.0, help="Seconds between the checkpoints of a group; 60 by default."),
]
LogOption = Annotated[list[str] | None, typer.Option("--log", help="tensorboard or wandb; may be repeated.")]


@dataclass(frozen=True)
class Engine:
    """What the command line says of the launcher and the loggers."""

    launcher: str = "local"
    address: str | None = None
    gpus: float | None = None
    options: tuple[str, ...] = ()
    device: str = "cpu"
    loggers: tuple[str, ...] = ()
    checkpoint_seconds: float | None = None

    def checked(self) -> Engine:
        """This, if what it needs is installed: asked before anything is begun."""
        from rlnet_bench.runs.launch import require_engine
        from rlnet_bench.runs.loggers import require

        require_engine(self.launcher)
        for name in self.loggers:
            require(name)
        return self


def drive(
    store: Store,
    planned: Plan,
    workers: int | None,
    json: bool,
    console: Console | None = None,
    engine: Engine | None = None,
) -> None:
    """Start workers, show progress, end with a verdict. Whatever interrupts this stops the workers cleanly."""
    from rlnet_bench.runs.launch import Workers, make_launcher
    from rlnet_bench.runs.watch import snapshot

    count = workers or len(os.sched_getaffinity(0))
    chosen = engine or Engine()
    launcher = make_launcher(
        chosen.launcher, store, device=chosen.device, gpus=chosen.gpus, address=chosen.address, options=chosen.options
    )
    started = Workers(store, planned, count, launcher, chosen.loggers, chosen.checkpoint_seconds)
    skipped = len(planned.groups) - len(started.unfinished())
    console = console or Console(stderr=json)
    if skipped:
        console.print(f"{skipped} of {len(planned.groups)} groups are already done; running the rest.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated run stops its workers, too
    try:
        started.start()
        complaint = _watch(started, console)
    finally:
        started.stop()
        launcher.close()
    rows = snapshot(store, planned)
    if json:
        print_json([row.to_json() for row in rows])
    if any(row.status == "failed" for row in rows):
        raise WorkFailed(failures(store, planned, rows))
    open_rows = [row for row in rows if row.status not in ("ok", "diverged")]
    if open_rows:
        raise WorkFailed(complaint or f"{len(open_rows)} groups are not done; the same command goes on with them.")


def _watch(started: Workers, console: Console) -> str:
    """Show what the workers do until they have ended; returns their last complaint."""
    from rlnet_bench.runs.watch import Watcher

    store, planned, count = started.store, started.plan, started.count
    if not console.is_terminal:
        events = Events(store, planned, count, console)
        complaint = started.wait(events.poll)
        events.poll()
        return complaint
    with Live(console=console, refresh_per_second=4) as live:
        watcher = Watcher(store, planned)
        complaint = started.wait(lambda: live.update(grid(planned, watcher.look(), count)))
        live.update(grid(planned, watcher.look(), count))
    return complaint
