"""``rlnet-bench tune``: a method's settings, chosen on development tasks by trials that are counted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rlnet_bench.cli._drive import CheckpointOption, Engine, drive
from rlnet_bench.cli._grid import DeviceOption, ListOption, SetOption, ThreadsOption, names
from rlnet_bench.cli.output import JsonFlag, TrustFlag, print_json
from rlnet_bench.errors import BadInput

if TYPE_CHECKING:
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.tuned import Trial


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(tune)


def tune(
    method: Annotated[str, typer.Argument(help="A label of the suite, a method id, file.py:Class or a network.")],
    suite: Annotated[str, typer.Option("--suite", help="A suite's name, or a YAML file.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="Per family of tasks; the first are the defaults.")],
    seeds: Annotated[int, typer.Option("--seeds", help="Per trial.")] = 2,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Per seed; the suite's budget by default.")
    ] = None,
    tasks: ListOption = None,
    set_: SetOption = None,
    store: Annotated[str, typer.Option("--store", help="The run store of the trials.")] = "rlnet-tuning",
    out: Annotated[Path | None, typer.Option("--out", help="The record; tuning/METHOD.yaml by default.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    checkpoint_every: CheckpointOption = None,
    trust_code: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Try settings of a method on a suite's development tasks; Ctrl-C stops cleanly, the same command goes on."""
    from rlnet_bench.analysis import tuning as rules
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.store import ENDED, Store
    from rlnet_bench.runs.suite import file_stem, load_suite, trust_typed
    from rlnet_bench.runs.tuned import write_record
    from rlnet_bench.trust import typed

    rules.require_optuna()
    loaded = load_suite(suite, list(set_ or []))
    trust_typed(loaded, set_ or ())
    typed(method)
    chosen = names(tasks) if tasks is not None else None
    found = rules.find_tuning(
        loaded, method, tasks=chosen, frames=frames, seeds=seeds, trials=trials, trust_code=trust_code
    )
    path = out or Path("tuning") / f"{file_stem(found.entry.name)}.yaml"
    _refuse_other(path, found.entry.id or str(found.entry.network))
    planner = partial(make_plan, device=device, threads=threads, trust_code=trust_code, asked_by=suite, tuning=True)
    planner(found.trials([rules.first_trial(found)]))  # what cannot run is said before a store is made
    opened = Store.create(store)
    places = ", ".join(f"{t} ({n:,} frames)" for t, n in found.frames.items())
    what = f"{trials} trial{'s' * (trials > 1)} x {seeds} seeds of {found.entry.name}"
    print(f"{found.space.describe()}\n{what} on {places}", file=sys.stderr)

    def run_left(store: Store, planned: Plan) -> None:
        if any(store.status(g)["status"] not in ENDED for g in planned.groups):
            engine = Engine(device=device, checkpoint_seconds=checkpoint_every)
            drive(store, planned, workers, False, Console(stderr=True), engine)

    def told(number: int, scored: Mapping[str, Trial]) -> None:
        for family, trial in scored.items():
            settings = ", ".join(f"{k} {v}" for k, v in trial.settings.items())
            print(f"trial {number}, {family}: {trial.score:.3g} with {settings}", file=sys.stderr, flush=True)

    record = rules.tune(opened, found, trials, planner, run_left, told)
    write_record(path, record)
    if json:
        print_json(record.model_dump(mode="json"))
    else:
        print("\n".join(rules.chosen_text(record)))
        print(f"Written to {path}; a suite adopts it with `tuned: FILE` at the method, a path from the suite's folder.")


def _refuse_other(path: Path, method: str) -> None:
    """A file that is no tuning record, or that of another method, is not overwritten."""
    from rlnet_bench.runs.tuned import read_record

    if not path.exists():
        return
    try:
        there = read_record(path).method
    except BadInput:
        raise BadInput(
            f"--out {path}: there is another file, which is no tuning record; choose another name."
        ) from None
    if there != method:
        raise BadInput(f"--out {path}: is the tuning record of {there}; choose another name.")
