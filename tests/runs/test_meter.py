"""Groups that end teach what their cell costs, on an injected clock; plans and the grid use it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import small

from rlnet_bench.runs import calibrate
from rlnet_bench.runs.calibrate import Calibration, estimate, longest_first, stored
from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.meter import Meter, learn
from rlnet_bench.runs.watch import live_workers, snapshot, time_left
from rlnet_bench.runs.worker import work

MEASURED = Calibration(0.5, 2.0, 10.0, 2**30, 1000, 500)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tell(meter: Meter, clock: Clock, kind: str, seconds: float, frames: int = 0) -> None:
    """An event after so many seconds."""
    clock.now += seconds
    meter.on_event(Event(kind, {"frames": frames}))


def test_seconds_go_to_what_they_were_spent_on(tmp_path: Path) -> None:
    clock = Clock()
    meter = Meter(clock)
    tell(meter, clock, "evaluated", 7.0)  # building and starting, too
    for frames in (40, 80):
        tell(meter, clock, "progress", 4.0, frames)
        tell(meter, clock, "checkpoint", 1.0, frames)
        tell(meter, clock, "evaluated", 3.0, frames)
    clock.now += 12.0
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "final.safetensors").write_bytes(bytes(10))
    (tmp_path / "checkpoints" / "0080").mkdir(parents=True)
    (tmp_path / "checkpoints" / "0080" / "state.safetensors").write_bytes(bytes(70))
    found = meter.calibration(tmp_path)
    assert found is not None and found.memory > 2**20
    assert replace(found, memory=0) == Calibration(10 / 80, 3.0, 6.0, 0, 70, 10)


def test_a_resumed_group_counts_what_this_process_trained(tmp_path: Path) -> None:
    clock = Clock()
    meter = Meter(clock)
    tell(meter, clock, "resumed", 30.0, 1000)
    tell(meter, clock, "progress", 4.0, 1040)
    tell(meter, clock, "evaluated", 3.0, 1040)
    found = meter.calibration(tmp_path)
    assert found is not None and (found.seconds_per_frame, found.seconds_per_point) == (0.1, 3.0)


def test_a_group_of_which_nothing_was_seen_teaches_nothing(tmp_path: Path) -> None:
    meter = Meter(Clock())
    meter.on_event(Event("resumed", {"frames": 40}))
    assert meter.calibration(tmp_path) is None
    config = small.group().config
    learn(config, None, tmp_path)
    assert stored(config, tmp_path) is None


def test_times_are_averaged_with_those_before(tmp_path: Path) -> None:
    config = small.group().config
    learn(config, MEASURED, tmp_path)
    assert stored(config, tmp_path) == MEASURED
    learn(config, Calibration(0.25, 1.0, 20.0, 10, 20, 30), tmp_path)
    assert stored(config, tmp_path) == Calibration(0.375, 1.5, 15.0, 10, 20, 30)


def test_a_cache_that_cannot_be_written_costs_no_group(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    learn(small.group().config, MEASURED, tmp_path / "file" / "cache")


def test_what_has_run_once_needs_no_calibration(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s", small.method("ippo"), small.method("random"))
    cache = tmp_path / "cache"
    work(store, plan.groups)
    assert not cache.exists()  # only those who ask learn
    again, _ = small.store(tmp_path / "again", small.method("ippo"), small.method("random"))
    work(again, plan.groups, calibrations=cache)
    longer = small.plan(small.method("ippo"), small.method("random"), budget={"frames": 16_000})
    _, guesses = longest_first(longer, cache)
    ippo, control = (guesses[g.run_id] for g in longer.groups)
    assert ippo.seconds is not None and control.seconds is not None and ippo.seconds > control.seconds > 0
    assert ippo.memory is not None and ippo.memory > 2**24


def test_the_grid_knows_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLNET_BENCH_CACHE", str(tmp_path))
    store, plan = small.store(tmp_path / "s", small.method("ippo"), small.method("mappo"))
    assert time_left(snapshot(store, plan), 1) is None
    ippo, mappo = plan.groups
    calibrate.store(ippo.config, MEASURED)
    whole = estimate(ippo.config, MEASURED).seconds
    rows = snapshot(store, plan)
    assert rows[0].seconds_left == whole and rows[1].seconds_left is None
    assert whole is not None and time_left(rows, 1) == 2 * whole  # the other costs as much per frame
    for group in plan.groups:
        assert store.claim(group) is not None
    (store.folder(mappo) / "progress.json").write_text(json.dumps({"frames": 80, "budget": 160, "rate": 4.0}))
    rows = snapshot(store, plan)
    assert live_workers(rows) == 2 and live_workers([]) == 1
    assert [row.seconds_left for row in rows] == [None, 40.0]  # who runs tells by its own rate
    assert time_left(rows, live_workers(rows)) == (40.0 + 80.0) / 2
