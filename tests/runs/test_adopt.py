"""Work outlives a session: what has ended is published, adopted elsewhere, and never run twice."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from killed import killed_at_write
from small import SPREAD, method, plan, products, store

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import StoreError
from rlnet_bench.runs import loop
from rlnet_bench.runs.adopt import adopt
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.plan import Plan
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.published import read_published
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.worker import work


def cells() -> Plan:
    """Two groups of ippo, one of random."""
    return plan(method(), method("random"), seeds=3, seed_group=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(store, publication) of a finished suite."""
    root = tmp_path_factory.mktemp("done")
    opened = Store.create(root / "s")
    opened.add_plan(cells())
    work(opened, cells().groups)
    publish(opened, cells(), root / "results")
    return opened.root, root / "results" / "small-v1"


def lines(publication: Path) -> dict[str, list[Any]]:
    """Every published line except where it was made, by file."""
    found = {}
    for file in sorted(publication.rglob("*.jsonl.gz")):
        rows = [json.loads(x) for x in gzip.decompress(file.read_bytes()).splitlines()]
        for row in rows:
            row.get("provenance", {}).pop("adopted", None)
        found[str(file.relative_to(publication))] = rows
    return found


def said(results: Results) -> list[Any]:
    return [
        (s.method, task, runs.scores.tolist(), runs.seeds, runs.statuses, runs.n_failed, runs.n_missing)
        for kind in ("final", "absolute") for s in results.scores(kind) for task, runs in s.runs.items()
    ]  # fmt: skip


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(loop, "run_group", run)


def test_what_was_adopted_is_done(done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, publication = done
    opened = Store.create(tmp_path / "s")
    taken = adopt(opened, publication)
    assert set(taken.taken) == {g.run_id for g in cells().groups} and not (taken.here or taken.held or taken.open)
    with pytest.raises(StoreError, match=r"it holds 4 runs of none, 4 of them adopted from small-v1\."):
        opened.plan()
    opened.add_plan(cells())
    no_training(monkeypatch)
    assert work(opened, cells().groups) == []
    assert said(load_results(opened)) == said(load_results(Store(root)))
    report = check_store(opened)
    assert (report.problems, report.notes) == ((), ())
    for group in cells().groups:
        mine, theirs = opened.folder(group), Store(root).folder(group)
        assert (mine / "evals.jsonl").read_bytes() == (theirs / "evals.jsonl").read_bytes()
        provenance = json.loads((mine / "provenance.json").read_text())
        origin = provenance.pop("adopted")
        assert (origin["suite"], origin["from"], len(origin["sha256"])) == ("small-v1", "small-v1", 64)
        theirs_provenance = json.loads((theirs / "provenance.json").read_text())
        assert provenance == {k: v for k, v in theirs_provenance.items() if k != "host"}
    again = adopt(opened, publication)
    assert again.taken == () and set(again.here) == set(taken.taken)


def test_what_was_adopted_is_published_as_it_was(done: tuple[Path, Path], tmp_path: Path) -> None:
    _, publication = done
    opened = Store.create(tmp_path / "s")
    adopt(opened, publication)
    publish(opened, cells(), tmp_path / "again")
    again = tmp_path / "again" / "small-v1"
    assert lines(again) == lines(publication)
    files = sorted(p.relative_to(publication) for p in publication.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in files:
        if not name.name.endswith(".jsonl.gz"):
            assert (publication / name).read_bytes() == (again / name).read_bytes(), name
    publish(opened, cells(), tmp_path / "bare", weights=False)
    assert not list((tmp_path / "bare").rglob("*.safetensors"))


def test_the_published_weights_can_be_played(done: tuple[Path, Path], tmp_path: Path) -> None:
    root, publication = done
    opened = Store.create(tmp_path / "s")
    adopt(opened, publication)
    files = sorted(publication.glob("ippo/*.safetensors"))
    assert len(files) == 3  # of every seed
    for file in files:
        seed = int(file.name.split(".seed")[1].split(".")[0])
        (group,) = [g for g in cells().groups if g.label == "ippo" and seed in g.config["seeds"]]
        mine, theirs = load_policy(opened.folder(group), seed), load_policy(Store(root).folder(group), seed)
        assert all((v == theirs.state_dict()[k]).all() for k, v in mine.state_dict().items())
    with pytest.raises(StoreError, match="no final weights here"):
        load_policy(opened.folder(group), seed, "final")
    broken = opened.folder(group) / "policies" / f"best.seed{seed}.safetensors"
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(bytes(data))
    assert any("not what was evaluated" in p for p in check_store(opened).problems)
    with pytest.raises(StoreError, match="not what was evaluated"):
        publish(opened, cells(), tmp_path / "out")


def test_another_suite_takes_what_it_shares(
    done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other labels, more methods: the run id decides."""
    other = plan({**method(), "label": "ours"}, method("uncoordinated"), name="other", seeds=3, seed_group=2)
    opened = Store.create(tmp_path / "s")
    opened.add_plan(other)
    adopt(opened, done[1])
    ran: list[str] = []
    work(opened, other.groups, on_group=lambda group, event: ran.append(group.label))
    assert set(ran) == {"uncoordinated"}
    results = load_results(opened, "other")
    assert results.is_complete and [m.label for m in results.methods] == ["ours", "uncoordinated"]
    publish(opened, other, tmp_path / "out")
    assert read_published(tmp_path / "out" / "other-v1").plan == other


def tampered(publication: Path, copy: Path, old: str, new: str) -> Path:
    shutil.copytree(publication, copy)
    file = next(copy.glob("ippo/*.jsonl.gz"))
    text = gzip.decompress(file.read_bytes()).decode()
    assert old in text
    file.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))
    return copy


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"updates": 2', '"updates": 3', "chain"),
        ('"frames": 160', '"frames": 161', "configuration"),
        ('"0": "ok"', '"0": "diverged"', "marked diverged"),
        ('"seeds": {"0"', '"seeds": {"7"', "seed"),
    ],
)
def test_a_tampered_publication_gives_nothing(
    done: tuple[Path, Path], tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    opened = Store.create(tmp_path / "s")
    with pytest.raises(StoreError, match=sentence):
        adopt(opened, tampered(done[1], tmp_path / "r", old, new))
    assert opened.run_folders() == []


def test_weights_that_were_not_scored_are_refused(done: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(done[1], tmp_path / "r"))
    file = next(copy.glob("ippo/*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    opened = Store.create(tmp_path / "s")
    with pytest.raises(StoreError, match=r"expected the weights of seed \d that were scored"):
        adopt(opened, copy)
    assert opened.run_folders() == []


def test_work_goes_on_in_another_session(
    done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session publishes what it has, the next one adopts it, runs the rest, and publishes everything."""
    planned = cells()
    first = Store.create(tmp_path / "first")
    first.add_plan(planned)
    work(first, planned.groups[:2])
    with pytest.raises(StoreError, match=r"random on .* goes on; --finished publishes the others"):
        publish(first, planned, tmp_path / "results")
    publish(first, planned, tmp_path / "results", finished=True)
    target = tmp_path / "results" / "small-v1"
    found = read_published(target)
    missing = {g.run_id for g in planned.groups[2:]}
    assert set(found.open) == missing and set(found.open.values()) == {"missing"}
    results = load_results(target)
    assert not results.is_complete and said(results) == said(load_results(first))

    second = Store.create(tmp_path / "second")
    second.add_plan(planned)
    with pytest.raises(StoreError, match="not finished"):  # nothing has: there is nothing to publish
        publish(second, planned, tmp_path / "results", finished=True)
    work(second, planned.groups[2:3])
    with pytest.raises(StoreError, match=r"holds 2 groups that have not ended here .*`rlnet-bench store adopt"):
        publish(second, planned, tmp_path / "results", finished=True)
    assert read_published(target).digests == found.digests  # the earlier one is untouched
    assert set(adopt(second, target).taken) == {g.run_id for g in planned.groups[:2]}
    work(second, planned.groups)
    publish(second, planned, tmp_path / "results")
    assert lines(target).keys() == lines(done[1]).keys()
    assert said(load_results(target)) == said(load_results(done[1]))


def test_failed_groups_are_declared_and_counted(done: tuple[Path, Path], tmp_path: Path) -> None:
    opened = Store(Path(shutil.copytree(done[0], tmp_path / "s")))
    failed = next(g for g in cells().groups if g.label == "random")
    opened.set_status(failed, "failed", reason="for the test")
    (opened.folder(failed) / "evals.jsonl").unlink()
    publish(opened, cells(), tmp_path / "results", finished=True)
    target = tmp_path / "results" / "small-v1"
    assert read_published(target).open == {failed.run_id: "failed"}
    runs = {s.method: s.runs[SPREAD] for s in load_results(target).scores()}
    assert (runs["random"].n_failed, runs["random"].n_missing) == (len(failed.config["seeds"]), 0)
    assert runs["ippo"].n_failed == 0
    fresh = Store.create(tmp_path / "fresh")
    assert failed.run_id not in adopt(fresh, target).taken


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda open_: open_.update({"0123456789abcdef": "missing"}), "run ids of its groups"),
        (lambda open_: open_.update(dict.fromkeys(open_, "ok")), "open"),
        (lambda open_: open_.clear(), r"missing|nothing|cannot|no such"),
    ],
)
def test_what_is_declared_open_must_be(tmp_path: Path, change: Any, sentence: str) -> None:
    opened, planned = store(tmp_path / "s", method("random"), method("uncoordinated"))
    work(opened, planned.groups[:1])
    publish(opened, planned, tmp_path / "out", finished=True)
    file = tmp_path / "out" / "small-v1" / "suite.json"
    body = json.loads(file.read_text())
    change(body["open"])
    file.write_text(json.dumps(body))
    with pytest.raises(StoreError, match=sentence):
        read_published(file.parent)


def test_a_group_in_somebody_s_hands_is_left_alone(done: tuple[Path, Path], tmp_path: Path) -> None:
    opened = Store.create(tmp_path / "s")
    held, begun, *_ = cells().groups
    lease, dropped = opened.claim(held), opened.claim(begun)
    assert lease is not None and dropped is not None
    (opened.folder(begun) / "evals.jsonl").write_text('{"torn')
    dropped.release()
    taken = adopt(opened, done[1])
    assert taken.held == (held.run_id,) and begun.run_id in taken.taken
    assert products(opened.folder(begun))["evals.jsonl"] == products(Store(done[0]).folder(begun))["evals.jsonl"]
    lease.beat()


def test_kill_9_while_adopting(done: tuple[Path, Path], tmp_path: Path) -> None:
    """Each group is there whole or not at all; the same command takes the rest, and the leftovers are swept."""
    for n in range(2, 200, 9):
        opened = Store.create(tmp_path / str(n))
        killed = killed_at_write(n, lambda opened=opened: adopt(opened, done[1]))  # type: ignore[misc]
        assert check_store(opened).problems == ()
        adopt(opened, done[1])
        opened.sweep()
        assert check_store(opened).problems == () and len(opened.run_folders()) == len(cells().groups)
        assert not list(opened.root.rglob(".*"))
        if not killed:
            break
    assert n > 20
