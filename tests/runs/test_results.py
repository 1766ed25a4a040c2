"""Results: what scores say of runs that are ok, diverged, failed or missing; curves; the watch."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from small import SPEAKER, SPREAD, group, method, plan, store

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.loading import _method_info, load_results
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import StoreError
from rlnet_bench.runs.plan import Plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.watch import snapshot, time_left
from rlnet_bench.runs.worker import work

FLOOR = task_card(SPREAD).floor


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan]:
    opened, planned = store(tmp_path_factory.mktemp("results") / "s", method(), method("random"), seeds=3)
    work(opened, planned.groups)
    return opened, planned


@pytest.fixture
def copy(finished: tuple[Store, Plan], tmp_path: Path) -> tuple[Store, Plan]:
    import shutil

    shutil.copytree(finished[0].root, tmp_path / "s")
    return Store(tmp_path / "s"), finished[1]


def test_scores_are_means_over_episodes(finished: tuple[Store, Plan]) -> None:
    results = load_results(finished[0])
    assert results.is_complete and results.seeds == (0, 1, 2) and results.tasks == (SPREAD,)
    ippo, control = results.scores()
    record = results.find("ippo", SPREAD)[0]
    runs = ippo.runs[SPREAD]
    for k, seed in enumerate((0, 1, 2)):
        assert runs.scores[k] == record.lines("absolute", "deterministic", seed)[0].team.mean()
    assert runs.seeds == (0, 1, 2) and (runs.n_failed, runs.n_missing) == (0, 0)
    assert len(control.runs[SPREAD].scores) == 3
    success = results.scores(metric="success", mode="sampled", kind="final")[0].runs[SPREAD]
    assert success.scores[1] == record.lines("final", "sampled", 1)[0].success.mean()


def test_diverged_runs_score_the_floor_and_stay_on_the_curve(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    ippo = planned.groups[0]
    file = opened.folder(ippo) / "evals.jsonl"
    kept = [
        x for x in map(json.loads, file.read_text().splitlines())
        if x["seed"] != 1 or (x["kind"] == "curve" and x["point"] == 0)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(x) + "\n" for x in kept))
    opened.set_status(ippo, "ok", {0: "ok", 1: "diverged", 2: "ok"}, divergences=[{"seed": 1}])
    results = load_results(opened)
    runs = results.scores()[0].runs[SPREAD]
    assert runs.scores[1] == FLOOR and runs.statuses == ("ok", "diverged", "ok")
    assert results.scores(metric="success")[0].runs[SPREAD].scores[1] == 0.0
    assert results.is_complete
    frames, curve, seeds = results.curve("ippo", SPREAD)
    assert frames.tolist() == [0, 80, 160] and seeds == (0, 1, 2) and curve.shape == (3, 3)
    assert curve[1, 0] > FLOOR and curve[1, 1:].tolist() == [FLOOR, FLOOR]


def test_a_method_that_diverged_everywhere_is_judged_at_the_floor(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    file = opened.folder(planned.groups[0]) / "evals.jsonl"
    first = [x for x in file.read_text().splitlines() if '"kind": "curve"' in x and '"point": 0' in x]
    file.write_text("".join(x + "\n" for x in first))
    opened.set_status(planned.groups[0], "ok", dict.fromkeys((0, 1, 2), "diverged"))
    results = load_results(opened)
    found = {s.method: s.runs[SPREAD].scores.tolist() for s in judge(results).scores()}
    assert found["ippo"] == [FLOOR] * 3 and set(found) == {"ippo", "random"}
    frames, curve, _ = results.curve("ippo", SPREAD)
    assert frames.tolist() == [0, 80, 160] and (curve[:, 1:] == FLOOR).all() and (curve[:, 0] > FLOOR).all()


def test_a_damaged_record_is_a_failed_run_and_spoils_no_other(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    file = opened.folder(planned.groups[0]) / "evals.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], "{ not json", *lines[2:]]) + "\n")
    results = load_results(opened)
    ippo, control = results.scores()
    assert ippo.runs[SPREAD].n_failed == 3 and ippo.runs[SPREAD].n == 0 and control.runs[SPREAD].n == 3
    assert "line 2 is not JSON" in results.find("ippo", SPREAD)[0].reason


def test_published_results_are_the_store_s_and_carry_the_seed_plan(copy: tuple[Store, Plan], tmp_path: Path) -> None:
    opened, planned = copy
    declared = {"plan": {"batch": 3}, "digest": "0123"}
    name = f"{planned.suite.name}-v{planned.suite.version}"
    (opened.root / "seed-plans").mkdir()
    (opened.root / "seed-plans" / f"{name}.json").write_text(json.dumps(declared))
    target = tmp_path / "out" / name
    target.mkdir(parents=True)
    (target / "old").write_text("of a former version")
    files = publish(opened, planned, tmp_path / "out")
    assert sorted(files) == sorted(f for f in target.rglob("*") if f.is_file())  # nothing old, nothing aside
    assert [f.name for f in (tmp_path / "out").iterdir()] == [name]
    again, first = load_results(target), load_results(opened)
    assert again.suite["seed_plan"] == first.suite["seed_plan"] == declared
    for a, b in zip(again.scores(), first.scores()):
        assert a.runs[SPREAD].scores.tolist() == b.runs[SPREAD].scores.tolist()


def test_failed_runs_are_counted_and_not_scored(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    opened.set_status(planned.groups[0], "failed", {0: "ok", 1: "failed", 2: "failed"}, reason="x")
    results = load_results(opened)
    runs = results.scores()[0].runs[SPREAD]
    assert runs.seeds == (0,) and (runs.n_failed, runs.n_missing) == (2, 0) and not results.is_complete
    assert results.curve("ippo", SPREAD)[2] == (0,)


def test_absent_runs_are_missing(copy: tuple[Store, Plan]) -> None:
    import shutil

    opened, planned = copy
    shutil.rmtree(opened.folder(planned.groups[0]))
    results = load_results(opened)
    runs = results.scores()[0].runs[SPREAD]
    assert len(runs.scores) == 0 and (runs.n_failed, runs.n_missing) == (0, 3) and not results.is_complete
    frames, curve, seeds = results.curve("ippo", SPREAD)
    assert frames.size == 0 and curve.shape == (0, 0) and seeds == ()


def test_a_run_that_goes_on_is_missing_and_has_a_curve(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    file = opened.folder(planned.groups[0]) / "evals.jsonl"
    kept = [x for x in file.read_text().splitlines() if '"kind": "curve"' in x and '"point": 2' not in x]
    file.write_text("".join(x + "\n" for x in kept))
    opened.set_status(planned.groups[0], "running")
    results = load_results(opened)
    assert results.scores()[0].runs[SPREAD].n_missing == 3
    assert results.curve("ippo", SPREAD)[0].tolist() == [0, 80]


def test_the_table_of_everything(finished: tuple[Store, Plan]) -> None:
    results = load_results(finished[0])
    frame = results.frame()
    assert len(frame) == sum(len(r.evals) for r in results.records)
    assert set(frame["status"]) == {"ok"} and np.allclose(frame["return_mean"] * 3, frame["return"])


def test_what_the_tables_say_of_methods(finished: tuple[Store, Plan]) -> None:
    ippo, control = load_results(finished[0]).methods
    assert (ippo.execution, ippo.training, ippo.trains) == ("D0", "independent", True)
    seeing = plan(method(observe="all"), name="seeing", seeds=1)
    assert _method_info(seeing, "ippo", {}).training == "centralised critic"
    assert ippo.parameters == 21 * 8 + 8 + 8 * 5 + 5 and not control.trains and not control.parameters


def test_a_label_follows_the_plan_that_asks(copy: tuple[Store, Plan]) -> None:
    opened, _ = copy
    opened.add_plan(plan({**method(), "label": "ours"}, name="other", seeds=3))
    results = load_results(opened, "other")
    assert [m.label for m in results.methods] == ["ours"] and len(results.scores()[0].runs[SPREAD].scores) == 3


def test_a_store_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a run store, .* found a folder without store\.json"):
        load_results(tmp_path)


# -- watching ------------------------------------------------------------------------------------------------


def test_the_grid_from_outside(copy: tuple[Store, Plan]) -> None:
    opened, planned = copy
    rows = {r.method: r for r in snapshot(opened, planned)}
    assert rows["ippo"].status == "ok" and rows["ippo"].frames == rows["ippo"].budget == 160
    opened.set_status(planned.groups[0], "running")
    assert snapshot(opened, planned)[0].status == "waiting"  # nobody alive holds it
    opened.set_status(planned.groups[0], "missing")
    lease = opened.claim(planned.groups[0])
    assert lease is not None
    (opened.folder(planned.groups[0]) / "progress.json").write_text('{"frames": 40, "budget": 160, "rate": 10.0}')
    row = snapshot(opened, planned)[0]
    assert (row.status, row.frames, row.rate, row.seconds_left) == ("running", 40, 10.0, (160 - 40) * 3 / 10)
    assert row.worker == f"{socket.gethostname()}:{os.getpid()}" and rows["ippo"].worker == ""
    assert time_left(snapshot(opened, planned), 1) == 36.0 and time_left(snapshot(opened, planned), 2) == 18.0
    (opened.folder(planned.groups[0]) / "progress.json").write_text('{"fra')  # being rewritten this very moment
    assert snapshot(opened, planned)[0].frames == 0
    opened.set_status(planned.groups[0], "failed", reason="why")
    assert snapshot(opened, planned)[0].reason == "why"
    (opened.folder(planned.groups[0]) / "status.json").write_text("{")
    assert snapshot(opened, planned)[0].status == "failed"
    json.dumps([r.to_json() for r in rows.values()])
    assert time_left([], 1) is None


def test_the_continuous_task_goes_through_the_same_door(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", tasks=[SPEAKER])
    work(opened, planned.groups)
    assert opened.status(group(tasks=[SPEAKER]))["status"] == "ok" and load_results(opened).is_complete
