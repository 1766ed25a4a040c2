"""What scheduling and recording cost, and what a second worker brings. Ratios of one run; seconds are printed only.

The cost is CPU time of this process: a busy machine stretches everything alike, and the ratio holds.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlnet_bench.runs import checkpoint, loop, recorder, worker
from rlnet_bench.runs.check_launcher import tiny_plan
from rlnet_bench.runs.compact import compact, index_frame
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.local_launch import LocalLauncher
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import load_suite

MOST = 0.02  # of a group of a minute


class Meter:
    """Adds up the CPU seconds inside functions (outermost calls only)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.seconds, self.inside = patch, 0.0, False
        self.calls: dict[str, int] = {}

    def watch(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            if self.inside:
                return function(*args, **options)
            self.inside, start = True, time.process_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.process_time() - start
                self.calls[name] = self.calls.get(name, 0) + 1
                self.inside = False

        self.patch.setattr(owner, name, timed)


def test_recording_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ippo group of the quick suite at its real sizes, cut to 60 000 frames, with a checkpoint at every point."""
    suite = load_suite("quick", ["methods=[ippo]", "tasks=['mpe/simple_spread-discrete-v1']",
                                 "budget.frames=60000", "evaluation.every=20000"])  # fmt: skip
    plan = make_plan(suite)
    store = Store.create(tmp_path / "s")
    store.add_plan(plan)
    meter = Meter(monkeypatch)
    for owner, name in (
        (recorder.Recorder, "record"), (recorder.Recorder, "sync"), (recorder.Recorder, "timing"),
        (recorder.Recorder, "__init__"), (loop, "write_checkpoint"), (loop, "read_newest"), (loop, "save_policies"),
        (loop, "weights_digest"), (worker.Journal, "on_event"), (worker, "provenance"), (worker.Lease, "beat"),
        (Store, "claim"), (Store, "set_status"),
    ):  # fmt: skip
        meter.watch(owner, name)
    start = time.process_time()
    worker.work(store, plan.groups)
    total = time.process_time() - start
    # One checkpoint a minute belongs to it; the group was shorter than that.
    state = loop.build_learner(plan.groups[0].config)[1].state_dict()
    before = time.process_time()
    checkpoint.write_checkpoint(tmp_path / "c", 1, {"learner": state})
    one = time.process_time() - before
    share = meter.seconds / 60.0 + one / 60.0
    print(
        f"\nscheduling and recording: {meter.seconds:.3f} s of a group of {total:.1f} CPU s "
        f"({meter.seconds / total:.2%}), and {one:.3f} s per checkpoint; {share:.2%} of a group of a minute; "
        f"{meter.calls}"
    )
    assert share <= MOST


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    """Two one-thread workers against one, on the same four groups; printed only, and only where cores are idle."""
    plan = tiny_plan(frames=40_000, seeds=4)
    seconds = {}
    for count in (1, 2):
        store = Store.create(tmp_path / str(count))
        store.add_plan(plan)
        workers = Workers(store, plan, count, LocalLauncher(poll_seconds=0.05))
        start = time.perf_counter()
        workers.start()
        workers.wait(lambda: None)
        seconds[count] = time.perf_counter() - start
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    busy = f" (not meaningful: load {load:.1f} on {cores} cores)" if load > cores + 1 else ""
    print(f"\ntwo workers are {seconds[1] / seconds[2]:.2f} times as fast as one{busy}")


@pytest.mark.slow
def test_a_hundred_thousand_records(tmp_path: Path) -> None:
    """20 000 groups of five seeds: small records, copies of one run. Seconds are printed."""
    groups = int(os.environ.get("RLNET_BENCH_GROUPS", "20000"))
    plan = tiny_plan(frames=400, seeds=1)
    store = Store.create(tmp_path / "s")
    store.add_plan(plan)
    worker.work(store, plan.groups)
    source = store.folder(plan.groups[0])
    config = json.loads((source / "config.json").read_text())
    final = [x for x in map(json.loads, (source / "evals.jsonl").read_text().splitlines()) if x["kind"] != "curve"]
    lines = "".join(json.dumps({**x, "seed": s}) + "\n" for s in range(5) for x in final)
    status = json.dumps({"status": "ok", "seeds": dict.fromkeys("01234", "ok"), "attempts": 1})
    shutil.rmtree(source)
    for i in range(groups):
        folder = store.root / "runs" / f"{i:016x}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**config, "seeds": [0, 1, 2, 3, 4], "label": f"m{i % 10}"}))
        (folder / "evals.jsonl").write_text(lines)
        (folder / "status.json").write_text(status)

    def timed(what: Callable[[], Any]) -> tuple[float, Any]:
        start = time.perf_counter()
        found = what()
        return time.perf_counter() - start, found

    first, done = timed(lambda: compact(store))
    again, _ = timed(lambda: compact(store))
    listed, frame = timed(lambda: index_frame(store))
    mean, _ = timed(lambda: frame.groupby(["method", "task", "kind", "mode"])["return"].mean())
    assert done.records == 5 * groups == frame["run_id"].nunique() * frame["seed"].nunique()
    print(
        f"\n{done.records} records in {done.groups} groups: first compact {first:.1f} s, again {again:.1f} s, "
        f"{done.bytes / 1e6:.1f} MB; list {listed:.1f} s, aggregate {mean:.2f} s (load {os.getloadavg()[0]:.0f})"
    )
