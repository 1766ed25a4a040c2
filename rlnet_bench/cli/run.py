"""``rlnet-bench plan``, ``run``, ``work``, ``status``, ``logs``, ``resume``: from a suite to records."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, StoreOption, SuiteOption, print_json, print_table
from rlnet_bench.cli.progress import Events, failures, grid
from rlnet_bench.errors import BadInput, StoreError, WorkFailed

if TYPE_CHECKING:
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import Store

SuiteArgument = Annotated[str, typer.Argument(help="A suite's name, or a YAML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override, for instance budget.frames=100000.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Number of seeds.")]
ListOption = Annotated[str | None, typer.Option(help="Comma-separated; instead of the suite's own.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one per core by default.")]
LauncherOption = Annotated[str, typer.Option("--launcher", help="What starts workers: local, ray or slurm.")]
AddressOption = Annotated[str | None, typer.Option("--address", help="Of a Ray cluster.")]
GpusOption = Annotated[float | None, typer.Option("--gpus", help="GPUs per worker; 0.25 puts four on one.")]
OptionsOption = Annotated[
    list[str] | None, typer.Option("--option", help="key=value for the launcher; may be repeated (docs/clusters.md).")
]
LogOption = Annotated[list[str] | None, typer.Option("--log", help="tensorboard or wandb; may be repeated.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda; part of a run's identity.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Per worker; part of a run's identity.")]
ADDED = "Add to the suite's; may be repeated."


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (plan, run, work, status, logs, resume):
        app.command()(verb)


def resolve(
    suite: str,
    set_: list[str] | None = None,
    seeds: int | None = None,
    methods: str | None = None,
    tasks: str | None = None,
    add_methods: list[str] | None = None,
    add_networks: list[str] | None = None,
    add_tasks: list[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> Plan:
    """The plan of a suite under the command line's changes."""
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.suite import load_suite, parse_suite
    from rlnet_bench.yaml_lines import Document

    overrides = list(set_ or [])
    if seeds is not None:
        overrides.append(f"seeds={seeds}")
    for key, text in (("methods", methods), ("tasks", tasks)):
        if text is not None:
            overrides.append(f"{key}=[{', '.join(repr(x.strip()) for x in text.split(','))}]")
    loaded = load_suite(suite, overrides)
    if add_methods or add_networks or add_tasks:
        data = loaded.model_dump()
        data["methods"] = [
            *data["methods"],
            *({"id": m} for m in add_methods or []),
            *({"network": n} for n in add_networks or []),
        ]
        data["tasks"] = [*data["tasks"], *(add_tasks or [])]
        loaded = parse_suite(Document(data, {}, loaded.name))
    return make_plan(loaded, device=device, threads=threads)


def plan(
    suite: SuiteArgument,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    methods: ListOption = None,
    tasks: ListOption = None,
    store: StoreOption = DEFAULT_STORE,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure a few iterations of every group.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the groups of a suite before anything is spent."""
    from pathlib import Path

    from rlnet_bench.cli.doctor import memory_bytes
    from rlnet_bench.runs.calibrate import calibrate as measure
    from rlnet_bench.runs.calibrate import key, longest_first, refuse_impossible
    from rlnet_bench.runs.watch import duration

    planned = resolve(suite, set_, seeds, methods, tasks, device=device, threads=threads)
    if calibrate:
        for config in {key(g.config): g.config for g in planned.groups}.values():
            print(f"measuring {config['label']} on {config['task']}", file=sys.stderr)
            measure(config)
    planned, guesses = longest_first(planned)
    if json:
        data = planned.to_json()
        data["groups"] = [{**g, "estimate": asdict(guesses[g["run_id"]])} for g in data["groups"]]
        print_json(data)
    else:
        rows = []
        for g in planned.groups:
            guess = guesses[g.run_id]
            memory = f"{guess.memory / 2**20:,.0f} MiB" if guess.memory else "?"
            rows.append(
                (g.run_id, g.label, g.config["task"], len(g.config["seeds"]), f"{g.config['frames']:,}",
                 duration(guess.seconds), memory, f"{guess.disk_peak / 2**20:,.1f} MiB")
            )  # fmt: skip
        print_table(("run id", "method", "task", "seeds", "frames per seed", "time", "memory", "disk"), rows)
        total, disk = sum(g.frames for g in planned.groups), sum(e.disk for e in guesses.values())
        known = [e.seconds for e in guesses.values() if e.seconds is not None]
        seconds = duration(sum(known)) if len(known) == len(guesses) else "unknown time (--calibrate measures it)"
        print(
            f"{len(planned.groups)} groups, {total:,} frames, {seconds} of one worker, {disk / 2**20:,.1f} MiB in all."
        )
    refuse_impossible(planned, guesses, place=Path(store), workers=1, memory=memory_bytes())


def run(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    methods: ListOption = None,
    tasks: ListOption = None,
    method: Annotated[list[str] | None, typer.Option("--method", help=f"A method id or file.py:Class. {ADDED}")] = None,
    network: Annotated[list[str] | None, typer.Option("--network", help=f"zoo/ID or a YAML file. {ADDED}")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help=f"A task id. {ADDED}")] = None,
    workers: WorkersOption = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add batches of seeds until the methods are told apart.")
    ] = False,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Seeds per look, with --until-decided.")] = 5,
    looks: Annotated[int, typer.Option("--looks", min=1, help="Most looks, with --until-decided.")] = 4,
    launcher: LauncherOption = "local",
    address: AddressOption = None,
    gpus: GpusOption = None,
    option: OptionsOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    log: LogOption = None,
    json: JsonFlag = False,
) -> None:
    """Run a suite: only what is left of it; Ctrl-C stops cleanly, the same command goes on."""
    from rlnet_bench.runs.store import Store

    if until_decided and seeds is not None:
        raise BadInput("--seeds and --until-decided exclude each other: --batch and --looks set the number of seeds.")
    planned = resolve(suite, set_, seeds, methods, tasks, method, network, task, device, threads)
    engine = Engine(launcher, address, gpus, tuple(option or ()), device, tuple(log or ()))
    planned = _affordable(planned, store, launcher, workers)
    opened = Store.create(store)
    if until_decided:
        _until_decided(opened, planned, batch, looks, workers, json, engine)
        return
    opened.add_plan(planned)
    _drive(opened, planned, workers, json, engine=engine)


def _affordable(planned: Plan, store: str, launcher: str, workers: int | None) -> Plan:
    """The plan, longest groups first; refused when calibrations say that it cannot fit."""
    from pathlib import Path

    from rlnet_bench.cli.doctor import memory_bytes
    from rlnet_bench.runs.calibrate import longest_first, refuse_impossible

    ordered, guesses = longest_first(planned)
    here = launcher == "local"  # the memory of a cluster's nodes is for its scheduler to know
    memory = memory_bytes() if here else sys.maxsize
    count = workers or len(os.sched_getaffinity(0))
    refuse_impossible(ordered, guesses, place=Path(store), workers=count, memory=memory)
    return ordered


def resume(
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    workers: WorkersOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give failed groups another go.")] = False,
    launcher: LauncherOption = "local",
    address: AddressOption = None,
    gpus: GpusOption = None,
    option: OptionsOption = None,
    log: LogOption = None,
    json: JsonFlag = False,
) -> None:
    """Go on with a suite of a store; needs nothing but the store."""
    from rlnet_bench.runs.store import Store

    opened = Store(store).checked()
    planned = opened.plan(suite)
    if retry_failed:
        again = [group for group in planned.groups if opened.retry(group)]
        print(f"{len(again)} failed groups are tried again.", file=sys.stderr)
    device = planned.groups[0].config["device"]
    _drive(
        opened,
        planned,
        workers,
        json,
        engine=Engine(launcher, address, gpus, tuple(option or ()), device, tuple(log or ())),
    )


def work(store: Annotated[str, typer.Argument(help="The run store.")], suite: SuiteOption = None) -> None:
    """Claim groups of a store and run them in this process until nothing is left."""
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.worker import StopFlag
    from rlnet_bench.runs.worker import work as work_through

    opened = Store(store).checked()
    planned = opened.plan(suite)
    failed = work_through(
        opened,
        planned.groups,
        should_stop=StopFlag().install(),
        on_group=lambda group, event: print(f"{event}: {group.describe()} ({group.run_id})", flush=True),
    )
    if failed:
        raise WorkFailed(failures(opened, planned))


def status(
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep the table on the screen.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the grid: states, rates, time left, failures and their reasons."""
    from rlnet_bench.runs.store import ENDED, Store
    from rlnet_bench.runs.watch import snapshot

    opened = Store(store).checked()
    planned = opened.plan(suite)
    if json:
        print_json([row.to_json() for row in snapshot(opened, planned)])
        return
    if watch and Console().is_terminal:
        import time

        with Live(console=Console(), refresh_per_second=2) as live:
            while True:
                rows = snapshot(opened, planned)
                live.update(grid(planned, rows, 1))
                if all(row.status in ENDED for row in rows):
                    break
                time.sleep(1)
        return
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(grid(planned, snapshot(opened, planned), 1))


def logs(
    group: Annotated[str, typer.Argument(help="A run id, or its beginning.")],
    store: StoreOption = DEFAULT_STORE,
    lines: Annotated[int, typer.Option("--lines", min=1)] = 40,
) -> None:
    """Print the last lines of a group's log."""
    from rlnet_bench.runs.store import Store

    opened = Store(store).checked()
    found = [p for p in sorted((opened.root / "runs").iterdir()) if p.name.startswith(group)]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise BadInput(
            f"group {group!r}: expected the beginning of one run id, found {names}; `rlnet-bench status` shows them."
        )
    log = found[0] / "log.txt"
    if not log.exists():
        raise StoreError(f"{found[0].name}: no log yet.")
    print("\n".join(log.read_text(encoding="utf-8").splitlines()[-lines:]))


def _until_decided(
    store: Store, planned: Plan, batch: int, looks: int, workers: int | None, json: bool, engine: Engine
) -> None:
    """Declare the seed plan, then run batch after batch; see :mod:`rlnet_bench.runs.until_decided`."""
    from rlnet_bench.runs.until_decided import declare, plan_file, run_until_decided

    plan = declare(store, planned.suite, batch=batch, looks=looks)
    console = Console(stderr=json)
    console.print(f"seed plan {plan.digest()[:12]} in {plan_file(store, planned.suite)}", soft_wrap=True)
    outcome = run_until_decided(
        store,
        planned.suite,
        plan,
        lambda opened, grid: _drive(opened, grid, workers, False, console, engine),
        lambda o: console.print(f"look {o.state.looks_done}: {len(o.state.undecided)} pairs undecided"),
    )
    if json:
        print_json(outcome.to_json())
    else:
        print("\n".join(outcome.sentences()))


@dataclass(frozen=True)
class Engine:
    """What the command line says of the launcher and the loggers."""

    launcher: str = "local"
    address: str | None = None
    gpus: float | None = None
    options: tuple[str, ...] = ()
    device: str = "cpu"
    loggers: tuple[str, ...] = ()


def _drive(
    store: Store,
    planned: Plan,
    workers: int | None,
    json: bool,
    console: Console | None = None,
    engine: Engine | None = None,
) -> None:
    """Start workers, show progress, end with a verdict."""
    from rlnet_bench.runs.launch import Workers, make_launcher
    from rlnet_bench.runs.loggers import require
    from rlnet_bench.runs.watch import Watcher, snapshot

    count = workers or len(os.sched_getaffinity(0))
    chosen = engine or Engine()
    for name in chosen.loggers:
        require(name)
    launcher = make_launcher(
        chosen.launcher, store, device=chosen.device, gpus=chosen.gpus, address=chosen.address, options=chosen.options
    )
    local = Workers(store, planned, count, launcher, chosen.loggers)
    skipped = len(planned.groups) - len(local.unfinished())
    console = console or Console(stderr=json)
    if skipped:
        console.print(f"{skipped} of {len(planned.groups)} groups are already done; running the rest.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated run stops its workers, too
    local.start()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            watcher = Watcher(store, planned)
            complaint = local.wait(lambda: live.update(grid(planned, watcher.look(), count)))
            live.update(grid(planned, watcher.look(), count))
    else:
        events = Events(store, planned, count, console)
        complaint = local.wait(events.poll)
        events.poll()
    launcher.close()
    rows = snapshot(store, planned)
    if json:
        print_json([row.to_json() for row in rows])
    if any(row.status == "failed" for row in rows):
        raise WorkFailed(failures(store, planned))
    open_rows = [row for row in rows if row.status not in ("ok", "diverged")]
    if open_rows:
        raise WorkFailed(complaint or f"{len(open_rows)} groups are not done; the same command goes on with them.")
