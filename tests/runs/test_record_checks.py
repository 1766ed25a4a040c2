"""Records whose parts do not agree, each forged with chains and ids that fit: refused, and an earlier one survives."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small

from rlnet_bench.analysis.lint import lint
from rlnet_bench.analysis.loading import load_results, load_source
from rlnet_bench.errors import StoreError
from rlnet_bench.foreign.table import ForeignTable
from rlnet_bench.runs import publish as publishing
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.compact import INDEX, compact, read_index
from rlnet_bench.runs.plan import Plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.published import read_published
from rlnet_bench.runs.records import CHAIN_START, run_id
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.watch import snapshot
from rlnet_bench.runs.worker import work

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and its publication."""
    root = tmp_path_factory.mktemp("finished")
    store, plan = small.store(root / "s", small.method(), small.method("random"), seeds=3)
    work(store, plan.groups)
    publish(store, plan, root / "out", weights=False)
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "x"))


def opened(root: Path) -> tuple[Store, Plan]:
    store = Store(root / "s")
    return store, store.plan()


def chained_again(lines: Lines) -> list[str]:
    heads: dict[int, str] = {}
    out = []
    for line in lines:
        if "kind" in line:
            body = json.dumps({k: v for k, v in line.items() if k != "chain"})
            before = heads.get(line["seed"], CHAIN_START)
            line["chain"] = heads[line["seed"]] = hashlib.sha256((before + body).encode()).hexdigest()[:16]
        out.append(json.dumps(line) + "\n")
    return out


def forge(root: Path, change: Callable[[Lines], None], label: str = "ippo") -> Path:
    """Change the lines of a published cell and chain them again."""
    folder = root / "out" / "small-v1"
    (file,) = (folder / label).glob("*.jsonl.gz") if label == "ippo" else (folder / label).glob("*v1.jsonl.gz")
    lines = [json.loads(x) for x in gzip.decompress(file.read_bytes()).splitlines()]
    change(lines)
    file.write_bytes(gzip.compress("".join(chained_again(lines)).encode(), mtime=0))
    return folder


def evals(lines: Lines, **wanted: Any) -> Lines:
    return [x for x in lines if "kind" in x and all(x[k] == v for k, v in wanted.items())]


def set_in(key: str, value: Any, **wanted: Any) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        for line in evals(lines, **wanted):
            line[key] = value

    return change


def set_config(key: str, value: Any) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[0]["config"][key] = value
        lines[0]["run_id"] = run_id(lines[0]["config"])

    return change


def copy_seed(lines: Lines) -> None:
    for line in evals(lines, seed=1):
        (mine,) = evals(lines, seed=0, kind=line["kind"], mode=line["mode"], point=line["point"]) or [line]
        line["returns"] = mine["returns"]
        line["success"], line["length"] = mine["success"], mine["length"]


def same_points(lines: Lines) -> None:
    """The absolute lines of a seed may be of another point: let all be of the last."""
    for line in evals(lines, kind="absolute"):
        line["point"] = 2
    copy_seed(lines)


FORGED = [
    (set_in("frames", 999_999, kind="final"), "frames 999999, expected at most 160"),
    (set_in("seed", 7, seed=2), "seed 7, expected one of"),
    (set_in("returns", [[1.0, 1.0, 1.0]], kind="final"), "episodes of"),
    (lambda lines: lines.append(dict(evals(lines)[0])), "a second line of its seed, kind, mode and point"),
    (lambda lines: [lines.remove(x) for x in evals(lines, seed=1, kind="absolute")], "seed 1 is ok, but its absolute"),
    (set_config("frames", 320), "expected a run of 'ippo' on .* that suite.json has"),
    (set_config("training_reward", "individual"), "expected a run of 'ippo' on .* that suite.json has"),
    (set_config("method", "mappo"), "expected a run of 'ippo' on .* that suite.json has"),
    (lambda lines: lines[0].update(run_id="0" * 16), "expected a run of 'ippo' on .* that suite.json has"),
    (lambda lines: lines[0]["config"].update(frames=320), "its configuration was changed"),
    (
        lambda lines: lines[0]["seeds"].update({"1": "diverged"}),
        "seed 1 is marked diverged, but its final and abs",
    ),
    (lambda lines: lines[0]["seeds"].pop("1"), "seed 1 is either in the configuration or in the status"),
    (lambda lines: lines[0]["seeds"].update({"9": "ok"}), "seed 9 is either in the configuration or in the status"),
    (lambda lines: lines.insert(0, lines.pop()), "line 1"),
    (same_points, "seeds 0 and 1 are one run under two numbers: all their episodes are equal"),
    (
        set_in("weights", "abcd", kind="final"),
        "seeds 0 and 1 are one run under two numbers: all their weights are",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), FORGED, ids=[s[:40] for _, s in FORGED])
def test_what_was_forged_and_chained_again_is_refused(
    copy: Path, change: Callable[[Lines], Any], sentence: str
) -> None:
    folder = forge(copy, lambda lines: None)
    assert len(load_results(folder).records) == 2  # chained again, nothing else changed
    forge(copy, change)
    with pytest.raises(StoreError, match=sentence) as caught:
        read_published(folder)
    assert "small-v1" in str(caught.value)


def test_a_plan_says_what_its_suite_says(copy: Path) -> None:
    folder = copy / "out" / "small-v1"
    for change, sentence in (
        (
            lambda p: p["suite"].update(training_reward="individual"),
            "training_reward: expected 'individual', as in",
        ),
        (lambda p: p["suite"]["budget"].update(frames=320), "frames: expected 320, as in the suite"),
        (lambda p: p["suite"].update(tasks=["mpe/other"]), "expected a method and a task of the suite"),
        (lambda p: p["groups"].append(p["groups"][0]), "every seed of a cell in one group"),
        (lambda p: p["groups"].pop(0), "expected a group for "),
        (lambda p: p["groups"][0].update(run_id="0" * 16), "the sha256 of its config"),
    ):
        plan = json.loads((copy / "out" / "small-v1" / "suite.json").read_text())
        change(plan)
        target = copy / "changed"
        shutil.copytree(folder, target)
        (target / "suite.json").write_text(json.dumps(plan))
        with pytest.raises(StoreError, match=sentence):
            read_published(target)
        shutil.rmtree(target)


def test_one_seed_under_the_numbers_of_all_is_shown_as_damaged(copy: Path) -> None:
    store, plan = opened(copy)
    file = store.folder(plan.groups[0]) / "evals.jsonl"
    lines = [json.loads(x) for x in file.read_text().splitlines()]
    mine = [x for x in lines if x["seed"] == 0]
    file.write_text("".join(chained_again([{**x, "seed": s} for s in (0, 1, 2) for x in mine])))
    (said,) = load_results(store).damage
    assert "seeds 0 and 1 are one run under two numbers" in said
    assert [row.damaged for row in snapshot(store, plan)] == [True, False]
    with pytest.raises(StoreError, match="nothing is published of what was damaged"):
        publish(store, plan, copy / "new")
    table = load_source(store.root).table
    assert isinstance(table, ForeignTable) and "damaged" in [f.rule for f in lint([table]) if f.severity == "problem"]


def test_one_run_in_two_groups_of_a_cell_is_found_in_a_store(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path, small.method(), seeds=2, seed_group=1)
    work(store, plan.groups)
    assert not check_store(store).problems
    first, second = (store.folder(g) / "evals.jsonl" for g in sorted(plan.groups, key=lambda g: g.config["seeds"]))
    lines = [json.loads(x) for x in first.read_text().splitlines()]
    second.write_text("".join(chained_again([{**x, "seed": 1} for x in lines])))
    assert any(
        p.startswith(f"ippo on {small.SPREAD}: seeds 0 and 1 are one run under two numbers")
        for p in check_store(store).problems
    )


def test_scores_that_were_changed_in_the_index_do_not_count(copy: Path) -> None:
    store, plan = opened(copy)
    compact(store)
    before = load_results(store).scores()[0].runs[small.SPREAD].scores
    text = (store.root / INDEX).read_text()
    line = next(x for x in text.splitlines() if '"method": "ippo"' in x)
    scores = json.loads(line)["scores"]
    changed = line.replace(json.dumps(scores), json.dumps({k: [v[0] + 50, v[1]] for k, v in scores.items()}))
    assert changed != line
    (store.root / INDEX).write_text(text.replace(line, changed))
    assert plan.groups[0].run_id not in read_index(store)
    assert (load_results(store).scores()[0].runs[small.SPREAD].scores == before).all()
    body = changed.rpartition(', "check"')[0] + "}"  # by somebody who knows the digest of a line
    forged = f'{body[:-1]}, "check": "{hashlib.sha256(body.encode()).hexdigest()[:16]}"}}'
    (store.root / INDEX).write_text(text.replace(line, forged))
    assert any("its scores in index.jsonl are not those of its lines" in p for p in check_store(store).problems)


@pytest.mark.parametrize("step", ["write", "read back", "rename"])
def test_what_is_published_survives_whatever_goes_wrong(copy: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = opened(copy)
    folder = copy / "out" / "small-v1"
    before = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def no(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def changed(*_: Any, **__: Any) -> Any:
        raise StoreError("it cannot be read")

    if step == "write":
        monkeypatch.setattr(publishing, "_write_gzip", no)
    elif step == "read back":
        monkeypatch.setattr(publishing, "read_published", changed)
    else:
        monkeypatch.setattr("rlnet_bench.runs.files._exchange", no)
    with pytest.raises((StoreError, OSError)):
        publish(store, plan, copy / "out", weights=False)
    monkeypatch.undo()
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert publish(store, plan, copy / "out", weights=False)
    assert [p.name for p in (copy / "out").iterdir()] == ["small-v1"]  # nothing is left beside it
    assert load_results(folder).is_complete


def test_folders_are_exchanged_in_two_steps_where_one_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlnet_bench.runs.files import put_in_place

    class Old:
        """A C library without renameat2."""

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Old())
    for name in ("new", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    put_in_place(tmp_path / "new", tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert [p.name for p in (tmp_path / "target").iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["networks-v1", "mpe-v1"])
def test_what_comes_with_the_project_is_read_and_agrees(name: str) -> None:
    results = load_results(Path(__file__).parent.parent.parent / "results" / name)
    assert results.is_complete and not results.damage
