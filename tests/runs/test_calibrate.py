"""Estimates scale what was measured; the longest group comes first; what cannot fit is refused with both numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small

from rlnet_bench.errors import BadInput, WorkFailed
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.runs.calibrate import (
    Calibration,
    calibrate,
    estimate,
    key,
    longest_first,
    refuse_impossible,
    store,
    stored,
    together,
    unmeasured,
)
from rlnet_bench.runs.worker import work

MEASURED = Calibration(0.001, 0.5, 2.0, 2**30, 1000, 500)


def test_an_estimate_is_a_sum() -> None:
    config = small.group().config  # 160 frames per seed, points at 0, 80 and 160
    guess = estimate(config, MEASURED)
    assert guess.seconds == pytest.approx(5.0 + 160 * 0.001 + 3 * 0.5 + 2 * 2.0)
    assert (guess.frames, guess.memory) == (320, 2**30)
    assert guess.disk_peak == guess.disk + 3000
    assert estimate(config, None).seconds is None


def test_the_estimate_of_disk_covers_what_is_written(tmp_path: Path) -> None:
    place, plan = small.store(tmp_path / "s", evaluation={"every": 40, "episodes": 32, "absolute_episodes": 320})
    work(place, plan.groups)
    size = sum(f.stat().st_size for f in place.folder(plan.groups[0]).rglob("*") if f.is_file())
    guess = estimate(plan.groups[0].config, MEASURED)
    assert size <= guess.disk <= 4 * size


def test_measuring_is_stored_for_any_budget(tmp_path: Path) -> None:
    config = small.group().config
    assert stored(config, tmp_path) is None
    (found,) = calibrate([config], tmp_path)
    assert found.seconds_per_frame > 0
    assert found.memory > 2**26
    assert stored({**config, "frames": 10**9}, tmp_path) == found
    assert key({**config, "threads": 2}) != key(config)
    with pytest.raises(WorkFailed, match="calibrating ippo on nowhere-v1 failed"):
        calibrate([{**config, "threads": 2}, {**config, "task": "nowhere-v1"}], tmp_path)
    assert stored({**config, "threads": 2}, tmp_path) is not None  # what came before it is kept


def test_workers_share_the_time_and_one_unknown_makes_all_unknown() -> None:
    config = small.group().config
    each = [replace(estimate(config, MEASURED), seconds=s) for s in (1.0, 5.0, 3.0, 3.0)]
    assert together(each, 1) == 12.0
    assert together(each, 2) == 6.0  # 5 and 1; 3 and 3
    assert together(each, 9) == 5.0
    assert together([], 2) == 0.0
    assert together([*each, estimate(config, None)], 2) is None


def test_every_kind_of_group_is_measured_once(tmp_path: Path) -> None:
    plan = small.plan(small.method("ippo"), small.method("mappo"), seeds=4, seed_group=2)
    assert len(plan.groups) == 4
    kinds = unmeasured(plan.groups, tmp_path)
    assert sorted(c["label"] for c in kinds) == ["ippo", "mappo"]
    store(kinds[0], MEASURED, tmp_path)
    assert unmeasured(plan.groups, tmp_path) == kinds[1:]


def test_the_longest_group_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small.plan(small.method("ippo"), small.method("mappo"))
    slow = {"ippo": MEASURED, "mappo": replace(MEASURED, seconds_per_frame=1.0)}
    monkeypatch.setattr("rlnet_bench.runs.calibrate.stored", lambda config, folder: slow[config["label"]])
    ordered, guesses = longest_first(plan)
    assert [g.label for g in ordered.groups] == ["mappo", "ippo"]
    assert set(guesses) == {g.run_id for g in plan.groups}


def test_what_cannot_fit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    plan = small.plan(small.method("ippo"), small.method("mappo"))
    guesses = {g.run_id: estimate(g.config, MEASURED) for g in plan.groups}
    refuse_impossible(plan, guesses, place=tmp_path, workers=2, memory=2**31)
    with pytest.raises(BadInput, match=r"ippo on .* needs 1 GiB of memory; this machine has 0\.5 GiB"):
        refuse_impossible(plan, guesses, place=tmp_path, workers=1, memory=2**29)
    with pytest.raises(BadInput, match=r"2 workers need up to 2 GiB .* has 1\.5 GiB; use --workers 1"):
        refuse_impossible(plan, guesses, place=tmp_path, workers=2, memory=3 * 2**29)
    with pytest.raises(BadInput, match=r"the suite needs .* of disk, .* are free"):
        refuse_impossible(plan, guesses, place=tmp_path / "new", workers=2, memory=2**31, free=10)


def test_a_replay_counts_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PpoConfig, "memory_bytes", lambda self, card, replicas: replicas * 2**30)
    plan = small.plan(small.method("ippo"))
    config = plan.groups[0].config
    known, unknown = estimate(config, MEASURED), estimate(config, None)
    assert (known.memory, known.rows, known.disk_peak - known.disk) == (3 * 2**30, 2**31, 3000 + 2**32)
    assert unknown.memory is not None and 2**31 < unknown.memory < 3 * 2**30
    with pytest.raises(BadInput, match=r"needs 3 GiB of memory, of which 2 GiB are its replay .*; this machine has 2"):
        refuse_impossible(plan, {plan.groups[0].run_id: known}, place=tmp_path, workers=1, memory=2**31)


def test_a_budget_within_the_warm_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PpoConfig, "warmup_frames", 130)
    with pytest.raises(BadInput, match=r"a warm-up of 130 and one iteration \(170 frames per seed\), found 160"):
        small.plan(small.method("ippo"))
