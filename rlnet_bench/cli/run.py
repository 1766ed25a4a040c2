"""``rlnet-bench run``, ``resume``, ``work``: from a suite to records."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rlnet_bench.cli._drive import (
    AddressOption,
    CheckpointOption,
    Engine,
    GpusOption,
    LauncherOption,
    LogOption,
    OptionsOption,
    WorkersOption,
    drive,
)
from rlnet_bench.cli._grid import (
    AddMethods,
    AddNetworks,
    AddTasks,
    DeviceOption,
    ListOption,
    SeedsOption,
    SetOption,
    SuiteArgument,
    ThreadsOption,
    affordable,
    resolve,
)
from rlnet_bench.cli.output import (
    DEFAULT_STORE,
    GivenMethods,
    GivenTasks,
    JsonFlag,
    StoreOption,
    SuiteOption,
    TrustFlag,
    print_json,
    tell_suites,
)
from rlnet_bench.cli.progress import failures
from rlnet_bench.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import Store


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (run, resume, work):
        app.command()(verb)


def run(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    methods: ListOption = None,
    tasks: ListOption = None,
    method: AddMethods = None,
    network: AddNetworks = None,
    task: AddTasks = None,
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
    checkpoint_every: CheckpointOption = None,
    log: LogOption = None,
    trust_code: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Run a suite: only what is left of it; Ctrl-C stops cleanly, the same command goes on."""
    from rlnet_bench.runs.store import Store

    if until_decided and seeds is not None:
        raise BadInput("--seeds and --until-decided exclude each other: --batch and --looks set the number of seeds.")
    planned = resolve(suite, set_, seeds, methods, tasks, method, network, task, device, threads, trust_code)
    engine = Engine(launcher, address, gpus, tuple(option or ()), device, tuple(log or ()), checkpoint_every).checked()
    planned = affordable(planned, store, launcher, workers)
    opened = Store.create(store)
    if until_decided:
        _until_decided(opened, planned, batch, looks, workers, json, engine)
        return
    opened.add_plan(planned)
    drive(opened, planned, workers, json, engine=engine)


def resume(
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    workers: WorkersOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give failed groups another go.")] = False,
    launcher: LauncherOption = "local",
    address: AddressOption = None,
    gpus: GpusOption = None,
    option: OptionsOption = None,
    checkpoint_every: CheckpointOption = None,
    log: LogOption = None,
    trust_code: TrustFlag = False,
    method: GivenMethods = None,
    task: GivenTasks = None,
    json: JsonFlag = False,
) -> None:
    """Go on with a suite of a store; needs nothing but the store."""
    from rlnet_bench.runs.plan import trust_groups
    from rlnet_bench.runs.store import Store

    opened = Store(store).checked()
    tell_suites(opened, suite)
    planned = opened.plan(suite)
    trust_groups(planned.groups, store, trust_code, [*(method or ()), *(task or ())])
    device = planned.groups[0].config["device"]
    engine = Engine(launcher, address, gpus, tuple(option or ()), device, tuple(log or ()), checkpoint_every).checked()
    if retry_failed:
        again = [group for group in planned.groups if opened.retry(group)]
        print(f"{len(again)} failed groups are tried again.", file=sys.stderr)
    planned = affordable(planned, store, launcher, workers)
    drive(opened, planned, workers, json, engine=engine)


def work(
    store: Annotated[str, typer.Argument(help="The run store.")],
    suite: SuiteOption = None,
    trust_code: TrustFlag = False,
    method: GivenMethods = None,
    task: GivenTasks = None,
) -> None:
    """Claim groups of a store and run them in this process until nothing is left."""
    from rlnet_bench.runs.calibrate import cache_folder
    from rlnet_bench.runs.plan import trust_groups
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.watch import snapshot
    from rlnet_bench.runs.worker import StopFlag
    from rlnet_bench.runs.worker import work as work_through

    opened = Store(store).checked()
    tell_suites(opened, suite)
    planned = opened.plan(suite)
    trust_groups(planned.groups, store, trust_code, [*(method or ()), *(task or ())])
    failed = work_through(
        opened,
        planned.groups,
        should_stop=StopFlag().install(),
        on_group=lambda group, event: print(f"{event}: {group.describe()} ({group.run_id})", flush=True),
        calibrations=cache_folder(),
    )
    if failed:
        raise WorkFailed(failures(opened, planned, snapshot(opened, planned)))


def _until_decided(
    store: Store, planned: Plan, batch: int, looks: int, workers: int | None, json: bool, engine: Engine
) -> None:
    """Declare the seed plan, then run batch after batch; see :mod:`rlnet_bench.analysis.until_decided`."""
    from rlnet_bench.analysis.until_decided import declare, plan_file, run_until_decided
    from rlnet_bench.runs.plan import make_plan

    first = planned.groups[0].config
    planner = partial(make_plan, device=first["device"], threads=first["threads"])
    plan = declare(store, planned.suite, batch=batch, looks=looks, planner=planner)
    console = Console(stderr=json)
    console.print(f"seed plan {plan.digest()[:12]} in {plan_file(store, planned.suite)}", soft_wrap=True)
    outcome = run_until_decided(
        store,
        planned.suite,
        plan,
        lambda opened, grid: drive(opened, grid, workers, False, console, engine),
        lambda o: console.print(f"look {o.state.looks_done}: {len(o.state.undecided)} pairs undecided"),
        planner,
    )
    if json:
        print_json(outcome.to_json())
    else:
        print("\n".join(outcome.sentences()))
