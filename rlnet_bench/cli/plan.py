"""``rlnet-bench plan``: what a suite will cost, before anything is spent."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

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
    resolve,
)
from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, StoreOption, TrustFlag, print_json, print_table


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(plan)


def plan(
    suite: SuiteArgument,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    methods: ListOption = None,
    tasks: ListOption = None,
    method: AddMethods = None,
    network: AddNetworks = None,
    task: AddTasks = None,
    store: StoreOption = DEFAULT_STORE,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Of how many workers to tell the time; one per core here.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure every kind of group, a second or two each.")
    ] = False,
    trust_code: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Show the groups of a suite before anything is spent."""
    from pathlib import Path

    from rlnet_bench.analysis.wording import duration
    from rlnet_bench.cli.doctor import memory_bytes
    from rlnet_bench.runs.calibrate import calibrate as measure
    from rlnet_bench.runs.calibrate import key, longest_first, refuse_impossible, together

    planned = resolve(suite, set_, seeds, methods, tasks, method, network, task, device, threads, trust_code)
    if calibrate:
        kinds = list({key(g.config): g.config for g in planned.groups}.values())
        print(f"measuring {len(kinds)} kinds of groups, a second or two each", file=sys.stderr)
        measure(kinds)
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
        one, count = together(guesses.values(), 1), workers or len(os.sched_getaffinity(0))
        time = "unknown time (--calibrate measures it)"
        if one is not None:
            time = f"{duration(one)} of one worker, {duration(together(guesses.values(), count))} of {count}"
        print(f"{len(planned.groups)} groups, {total:,} frames, {time}, {disk / 2**20:,.1f} MiB in all.")
    refuse_impossible(planned, guesses, place=Path(store), workers=1, memory=memory_bytes())
