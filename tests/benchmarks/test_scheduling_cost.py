"""What scheduling and recording cost, and what a second worker brings. Ratios of one run; seconds are printed only.

The cost is CPU time of this process: a busy machine stretches everything alike, and the ratio holds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.runs import checkpoint, loop, recorder, worker
from rlnet_bench.runs.check_launcher import tiny_plan
from rlnet_bench.runs.compact import compact, index_frame
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.local_launch import LocalLauncher
from rlnet_bench.runs.plan import Group, Plan, make_plan, run_id
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite, load_suite

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
@pytest.mark.minutes
def test_a_hundred_thousand_records(tmp_path: Path) -> None:
    """20 000 groups of five seeds: small records, copies of one run. CPU seconds are printed."""
    groups = int(os.environ.get("RLNET_BENCH_GROUPS", "20000"))
    methods = [{"id": "random", "label": f"m{i}"} for i in range(10)]
    entry = {"name": "many", "tasks": ["mpe/simple_spread-discrete-v1"], "budget": {"frames": 400}}
    tiny = {**entry, "methods": methods[:1], "seeds": 1, "evaluation": {"episodes": 2, "absolute_episodes": 3}}
    source = Store.create(tmp_path / "source")
    one = make_plan(Suite.model_validate(tiny)).groups
    worker.work(source, one)
    run = source.folder(one[0])
    ends = [x for x in map(json.loads, (run / "evals.jsonl").read_text().splitlines()) if x["kind"] != "curve"]
    seeds = list(range(groups // 2))
    # One method under ten labels would be one run: settings tell them apart, as in a sweep.
    plan = make_plan(Suite.model_validate({**tiny, "seeds": seeds, "seed_group": 5}))
    configs = [{**g.config, "settings": {"sweep": i}, "label": f"m{i}"} for i in range(10) for g in plan.groups]
    suite = Suite.model_validate({**tiny, "methods": methods, "seeds": seeds, "seed_group": 5})
    plan = Plan(suite, tuple(Group(run_id(c), c) for c in configs))
    store = Store.create(tmp_path / "s")
    store.add_plan(plan)
    for group in plan.groups:
        folder, mine = store.folder(group), group.config["seeds"]
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(group.config))
        (folder / "evals.jsonl").write_text("".join(json.dumps({**x, "seed": s}) + "\n" for s in mine for x in ends))
        (folder / "status.json").write_text(
            json.dumps({"status": "ok", "seeds": dict.fromkeys(map(str, mine), "ok"), "attempts": 1})
        )

    def timed(what: Callable[[], Any]) -> tuple[float, Any]:
        start = time.process_time()
        found = what()
        return time.process_time() - start, found

    raw, before = timed(lambda: load_results(store).scores())
    first, done = timed(lambda: compact(store))
    again, _ = timed(lambda: compact(store))
    listed, frame = timed(lambda: index_frame(store))
    mean, _ = timed(lambda: frame.groupby(["method", "task", "kind", "mode"])["return"].mean())
    indexed, after = timed(lambda: load_results(store).scores())
    assert done.records == 5 * len(plan.groups) == frame["run_id"].nunique() * 5
    assert [r.runs[entry["tasks"][0]].scores.tolist() for r in before] == [
        r.runs[entry["tasks"][0]].scores.tolist() for r in after
    ]
    print(
        f"\n{done.records} records in {done.groups} groups, CPU seconds: first compact {first:.1f}, again {again:.1f}, "
        f"{done.bytes / 1e6:.1f} MB; list {listed:.1f}, aggregate {mean:.2f}; "
        f"results and scores from the files {raw:.1f}, from the index {indexed:.1f}"
    )
    assert indexed < raw
