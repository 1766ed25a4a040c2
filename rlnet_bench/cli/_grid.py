"""What ``plan``, ``run`` and ``resume`` share: from the command line to a plan that fits this machine."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.errors import WorkFailed

if TYPE_CHECKING:
    from rlnet_bench.runs.plan import Plan

WORTH_MEASURING = 1_000_000  # frames that no calibration covers; below, a run is over before its time is known

SuiteArgument = Annotated[str, typer.Argument(help="A suite's name, or a YAML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override, for instance budget.frames=100000.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Number of seeds.")]
ListOption = Annotated[str | None, typer.Option(help="Comma-separated; instead of the suite's own.")]
_ADDED = "Add to the suite's; may be repeated."
AddMethods = Annotated[list[str] | None, typer.Option("--method", help=f"A method id or file.py:Class. {_ADDED}")]
AddNetworks = Annotated[list[str] | None, typer.Option("--network", help=f"zoo/ID or a YAML file. {_ADDED}")]
AddTasks = Annotated[list[str] | None, typer.Option("--task", help=f"A task id, or code. {_ADDED}")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda; part of a run's identity.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Per worker; part of a run's identity.")]


def names(text: str) -> list[str]:
    """The names of a comma-separated list; ``a=1,b=2`` after a name are its arguments.

    >>> names("random, vmas:balance:n_agents=3,max_steps=50, x/y")
    ['random', 'vmas:balance:n_agents=3,max_steps=50', 'x/y']
    """
    found: list[str] = []
    for piece in filter(None, map(str.strip, text.split(","))):
        if found and _ARGUMENT.match(piece):
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


_ARGUMENT = re.compile(r"[A-Za-z_]\w*\s*=")


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
    trust_code: bool = False,
) -> Plan:
    """The plan of a suite under the command line's changes."""
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.suite import load_suite, trust_typed

    overrides = list(set_ or [])
    if seeds is not None:
        overrides.append(f"seeds={seeds}")
    for key, text in (("methods", methods), ("tasks", tasks)):
        if text is not None:
            overrides.append(f"{key}=[{', '.join(map(repr, names(text)))}]")
    loaded = load_suite(suite, overrides)
    if add_methods or add_networks or add_tasks:
        loaded = loaded.extended(add_methods or (), add_networks or (), add_tasks or ())
    trust_typed(loaded, [*overrides, *(add_methods or ()), *(add_tasks or ())])
    return make_plan(loaded, device=device, threads=threads, trust_code=trust_code, asked_by=suite)


def affordable(planned: Plan, store: str, launcher: str, workers: int | None) -> Plan:
    """The plan, longest groups first, and a sentence about how long what is left of it will take on this machine.

    Refused when it cannot fit. What nobody has measured yet is measured first where there is much of it.
    """
    from rlnet_bench.analysis.wording import duration
    from rlnet_bench.cli.doctor import memory_bytes
    from rlnet_bench.runs.calibrate import calibrate, longest_first, refuse_impossible, together, unmeasured
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import ENDED, Store

    opened = Store(store)
    left = [g for g in planned.groups if opened.status(g)["status"] not in ENDED]
    here = launcher == "local"  # the time and memory of a cluster's nodes are for its scheduler to know
    unknown = unmeasured(left) if here else []
    if sum(c["frames"] * len(c["seeds"]) for c in unknown) >= WORTH_MEASURING:
        print(f"measuring {len(unknown)} kinds of groups on this machine, a second or two each", file=sys.stderr)
        with contextlib.suppress(WorkFailed):  # the group itself will say why
            calibrate(unknown)
    ordered, guesses = longest_first(planned)
    memory = memory_bytes() if here else sys.maxsize
    count = workers or len(os.sched_getaffinity(0))
    needs = {g.run_id: guesses[g.run_id] for g in left}
    refuse_impossible(Plan(planned.suite, tuple(left)), needs, place=Path(store), workers=count, memory=memory)
    seconds = together(needs.values(), count) if here else None
    if seconds:
        frames = sum(g.frames for g in left)
        print(f"{len(left)} groups, {frames:,} frames: about {duration(seconds)} on this machine with {count} "
              f"worker{'s' * (count > 1)}.", file=sys.stderr)  # fmt: skip
    return ordered
