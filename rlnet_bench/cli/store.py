"""``rlnet-bench store check|compact|list|adopt``: look after a run store."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, StoreOption, print_json, print_table
from rlnet_bench.errors import WorkFailed


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    group = typer.Typer(no_args_is_help=True, help="Check, compact and list a run store; adopt published runs.")
    group.command("check")(check)
    group.command("compact")(compact)
    group.command("list")(list_)
    group.command("adopt")(adopt)
    app.add_typer(group, name="store")


def check(store: StoreOption = DEFAULT_STORE, json: JsonFlag = False) -> None:
    """Verify ids, digest chains, weights, leases and checkpoints; exit code 1 when something was lost or changed."""
    from rlnet_bench.runs.check_store import check_store
    from rlnet_bench.runs.store import Store

    report = check_store(Store(store).checked())
    if json:
        print_json(report.to_json())
    else:
        for note in report.notes:
            print(f"note: {note}")
        print(f"{report.runs} runs, {report.lines} evaluation lines, {len(report.problems)} problems.")
    if report.problems:
        raise WorkFailed("\n".join(report.problems))


def compact(store: StoreOption = DEFAULT_STORE, json: JsonFlag = False) -> None:
    """Write the store's index, and remove what killed processes left behind."""
    from rlnet_bench.runs.compact import compact as write
    from rlnet_bench.runs.store import Store

    done = write(Store(store).checked())
    if json:
        print_json(asdict(done))
    else:
        print(
            f"{done.groups} ended groups ({done.records} records) in the index, {done.made} of them read anew; "
            f"{done.bytes:,} bytes; {done.freed:,} bytes of abandoned files removed."
        )


def adopt(
    results: Annotated[Path, typer.Argument(help="A folder of published results, such as results/quick-v2.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonFlag = False,
) -> None:
    """Let published runs count as done: the same runs of any suite are then skipped by `run`."""
    from rlnet_bench.runs.adopt import adopt as take
    from rlnet_bench.runs.store import Store

    done = take(Store.create(store), results)
    if json:
        print_json(asdict(done))
        return
    rest = {"had ended here": done.here, "are being worked on": done.held, "are open there": done.open}
    words = "".join(f"; {len(runs)} {what}" for what, runs in rest.items() if runs)
    print(f"{len(done.taken)} groups adopted from {results}{words}.")


def list_(store: StoreOption = DEFAULT_STORE, json: JsonFlag = False) -> None:
    """Records of all suites by method and task, from the index (`store compact` makes it)."""
    from rlnet_bench.runs.compact import index_frame
    from rlnet_bench.runs.store import Store

    frame = index_frame(Store(store).checked())
    chosen = frame[(frame["kind"] == "absolute") & (frame["mode"] == "deterministic")]
    table = chosen.groupby(["method", "task"], sort=True).agg(
        runs=("seed", "size"), mean_return=("return", "mean"), mean_success=("success", "mean")
    )
    found = json_.loads(table.reset_index().to_json(orient="records"))
    rows = [(r["method"], r["task"], r["runs"], r["mean_return"], r["mean_success"]) for r in found]
    columns = ("method", "task", "runs", "mean return", "mean success")
    if json:
        print_json([dict(zip(("method", "task", "runs", "return", "success"), row)) for row in rows])
        return
    print_table(columns, [(m, t, n, f"{r:.3f}", f"{s:.3f}") for m, t, n, r, s in rows])
    print("absolute metric, deterministic actions; diverged runs are left out here, and count in `rlnet-bench table`.")
