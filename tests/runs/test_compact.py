"""`store check` names every kind of damage; the index says what the records say, and is never stale."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.results import Results
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.compact import INDEX, compact, index_frame, read_index
from rlnet_bench.runs.records import CHAIN_START, chained, read_evals
from rlnet_bench.runs.watch import snapshot
from rlnet_bench.runs.worker import work
from rlnet_bench.vocabulary import Kind


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "s"
    store, plan = small.store(root, small.method("ippo"), small.method("random"))
    work(store, plan.groups)
    return root


@pytest.fixture
def damaged(finished: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "s"))


def ippo(root: Path) -> Path:
    return next(p.parent for p in root.glob("runs/*/config.json") if json.loads(p.read_text())["label"] == "ippo")


def test_a_finished_store_has_no_problems(finished: Path) -> None:
    report = check_store(small.Store(finished))
    assert (report.runs, report.problems, report.notes) == (2, (), ())
    assert (
        report.lines == 32
    )  # 2 methods: (3 points and final and absolute, 1 and final and absolute) x 2 modes x 2 seeds


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        file = folder / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return harm


def flip(folder: Path) -> None:
    file = folder / "policies" / "best-deterministic.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(bytes(data))


DAMAGE = [
    (change("evals.jsonl", '"success": [0.0', '"success": [1.0'), "chain digest"),
    (change("evals.jsonl", '{"kind"', '{"kond'), "line 1: expected JSON"),
    (change("config.json", '"frames": 160', '"frames": 161'), "its configuration was changed: the id is"),
    (
        change("status.json", '"status": "ok"', '"status": "fine"'),
        "status: expected one of running, ok, diverged, failed",
    ),
    (change("status.json", "{", ""), "expected JSON, found a syntax error"),
    (lambda folder: os.truncate(folder / "evals.jsonl", (folder / "evals.jsonl").stat().st_size - 3), "is torn"),
    (lambda folder: (folder / "evals.jsonl").unlink(), "its final deterministic line is missing"),
    (lambda folder: (folder / "config.json").unlink(), "config.json: expected a regular file, found nothing there"),
    (
        lambda folder: (folder / "policies" / "final.safetensors").unlink(),
        "final.safetensors: expected a regular file, found",
    ),
    (flip, "is not what was evaluated"),
]


@pytest.mark.parametrize(("harm", "sentence"), DAMAGE, ids=[s[:24] for _, s in DAMAGE])
def test_damage_is_a_sentence(damaged: Path, harm: Callable[[Path], None], sentence: str) -> None:
    folder = ippo(damaged)
    harm(folder)
    report = check_store(small.Store(damaged))
    assert any(sentence in p and folder.name in p for p in report.problems), report


def test_what_a_killed_worker_leaves_is_a_note(damaged: Path) -> None:
    folder = ippo(damaged)
    (folder / "lease.json").write_text(json.dumps({"owner": "gone:1", "host": "gone", "pid": 1}))
    (folder / ".status.json.12345678").write_text("{")
    report = check_store(small.Store(damaged), clock=lambda: 1e12)
    assert report.problems == ()
    assert any("lease of gone:1 is left over" in n for n in report.notes)
    assert compact(small.Store(damaged)).freed == 1
    assert not list(folder.glob(".status*"))


def checkpoint(folder: Path) -> Path:
    """A whole checkpoint of 40 bytes, and one of 2 whose writer was killed."""
    whole, torn = folder / "checkpoints" / "000000000000040", folder / "checkpoints" / ".000000000000080.1"
    for path, size in ((whole, 40), (torn, 2)):
        path.mkdir(parents=True)
        (path / "state.json").write_text("x" * size)
    (folder / ".status.json.12345678").write_text("{")
    return whole


def test_a_failed_group_keeps_what_a_retry_goes_on_from(damaged: Path) -> None:
    store = small.Store(damaged)
    failed, ok = store.plan().groups
    store.set_status(failed, "failed", reason="for the test")
    mine, others = checkpoint(store.folder(failed)), checkpoint(store.folder(ok))
    assert compact(store).freed == 2 + 1 + 40 + 2 + 1
    assert [p.name for p in mine.parent.iterdir()] == [mine.name] and (mine / "state.json").exists()
    assert not others.parent.exists()
    assert not [*damaged.glob("runs/*/.*")]


def test_a_group_that_is_tried_again_meanwhile_is_not_swept(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its status and the sweep, somebody retried it and works on it."""
    store = small.Store(damaged)
    (group,) = [g for g in store.plan().groups if g.label == "ippo"]
    store.set_status(group, "failed", reason="for the test")
    kept = checkpoint(store.folder(group))
    locked = store.locked

    def retried_first() -> Any:
        monkeypatch.undo()
        assert store.retry(group) and store.claim(group)
        return locked()

    monkeypatch.setattr(store, "locked", retried_first)
    assert compact(store).freed == 0
    assert len([*kept.parent.iterdir()]) == 2 and (store.folder(group) / ".status.json.12345678").exists()


def test_the_index_says_what_the_records_say(damaged: Path) -> None:
    store = small.Store(damaged)
    before = snapshot(store, store.plan())
    done = compact(store)
    assert (done.groups, done.records, done.made) == (2, 4, 2)
    assert snapshot(store, store.plan()) == before
    frame = index_frame(store).set_index(["method", "seed", "kind", "mode"]).sort_index()
    full = load_results(store).frame().query("kind != 'curve'").set_index(["method", "seed", "kind", "mode"])
    for column in ("return", "success"):
        assert frame[column].tolist() == full.sort_index()[column].tolist()
    assert compact(store).made == 0  # nothing is read twice


def everything(results: Results) -> list[object]:
    """All that is said of a suite's results, as plain values: equality is equality to the bit."""
    kinds: tuple[Kind, ...] = ("final", "absolute", "curve")
    scores = [
        (s.method, task, runs.scores.tolist(), runs.seeds, runs.statuses, runs.n_failed, runs.n_missing)
        for kind in kinds for mode in ("deterministic", "sampled") for metric in ("return", "success")
        for s in results.scores(kind, mode, metric) for task, runs in s.runs.items()
    ]  # fmt: skip
    curves = [[x.tolist() for x in results.curve(m.label, t)[:2]] for m in results.methods for t in results.tasks]
    records = [
        (r.run_id, r.config, r.status, r.seed_status, list(r.timings), r.provenance, r.divergences, r.reason)
        for r in results.records
    ]
    lines = [e.to_json() | {"chain": e.chain} for r in results.records for e in r.evals]
    return [scores, curves, records, lines, results.methods, results.is_complete, results.frame().to_dict("list")]


def test_results_from_the_index_are_those_of_the_files(damaged: Path) -> None:
    store = small.Store(damaged)
    group = store.plan().groups[0]
    store.set_status(group, "ok", {0: "ok", 1: "diverged"}, divergences=[{"seed": 1, "tensor": "x", "frames": 80}])
    before = everything(load_results(store))
    compact(store)
    assert everything(load_results(store)) == before


def test_scores_from_the_index_read_no_record(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small.Store(damaged)
    compact(store)

    def no(path: Path) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("rlnet_bench.runs.indexed.read_evals", no)
    monkeypatch.setattr("rlnet_bench.runs.record_checks.read_evals", no)
    results = load_results(store)
    assert results.scores() and results.is_complete
    with pytest.raises(AssertionError, match=r"evals\.jsonl was read"):
        results.frame()


def test_a_record_that_was_written_since_is_read_from_its_file(damaged: Path) -> None:
    store = small.Store(damaged)
    compact(store)
    before = load_results(store).scores()[0].runs[small.SPREAD].scores
    file = ippo(damaged) / "evals.jsonl"
    heads: dict[int, str] = {}
    texts = []
    for line in read_evals(file)[0]:
        better = replace(line, returns=line.returns + 1)
        texts.append(chained(better, heads.get(line.seed, CHAIN_START)) + "\n")
        heads[line.seed] = better.digest(heads.get(line.seed, CHAIN_START))
    file.write_text("".join(texts))
    after = load_results(store).scores()[0].runs[small.SPREAD].scores
    assert (after > before).all()


def test_a_stale_line_does_not_count(damaged: Path) -> None:
    store = small.Store(damaged)
    compact(store)
    group = store.plan().groups[0]
    store.set_status(group, "failed", reason="for the test")
    assert group.run_id not in read_index(store)
    assert next(r for r in snapshot(store, store.plan()) if r.run_id == group.run_id).status == "failed"
    assert compact(store).made == 1


def test_the_index_can_be_lost_or_damaged(damaged: Path) -> None:
    store = small.Store(damaged)
    compact(store)
    rows = snapshot(store, store.plan())
    (damaged / INDEX).write_text("{\n{\n{}\n")
    assert read_index(store) == {}
    assert snapshot(store, store.plan()) == rows
    assert compact(store).made == 2
