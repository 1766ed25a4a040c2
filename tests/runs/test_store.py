"""The store: leases, takeover, several workers, damaged files, read-only and full disks."""

from __future__ import annotations

import errno
import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from killed import killed_at_write
from small import SPREAD, method, plan, store

from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.lease import LEASE_SECONDS, LeaseLost, place
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.process import signature
from rlnet_bench.runs.store import MAX_ATTEMPTS, Store


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def pretend(store: Store, group: Group, **changes: Any) -> None:
    """Rewrite who holds a lease, keeping its age."""
    path = store.folder(group) / "lease.json"
    stat = path.stat()
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    os.utime(path, (stat.st_atime, stat.st_mtime))


def dead() -> int:
    """A process id that nobody has."""
    return next(pid for pid in range(2**22 - 1, 2, -1) if not Path(f"/proc/{pid}").exists())


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, Group, Clock]:
    opened, planned = store(tmp_path / "store")
    return opened, planned.groups[0], Clock()


def test_a_group_is_claimed_once(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    assert opened.status(group)["status"] == "missing"
    lease = opened.claim(group, clock)
    assert lease is not None and opened.claim(group, clock) is None
    seeds = {"0": "running", "1": "running"}
    assert opened.status(group) == {"status": "running", "seeds": seeds, "attempts": 1, "reached": 0}
    lease.release()
    again = opened.claim(group, clock)
    assert again is not None and opened.status(group)["attempts"] == 2


def test_a_lease_without_a_heartbeat_is_taken_over(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    lease = opened.claim(group, clock)
    assert lease is not None
    pretend(opened, group, place="elsewhere")
    clock.now += LEASE_SECONDS - 1
    assert opened.claim(group, clock) is None
    lease.beat(clock)
    clock.now += LEASE_SECONDS - 1
    assert opened.claim(group, clock) is None
    clock.now += 2
    taken = opened.claim(group, clock)
    assert taken is not None and taken.owner != lease.owner
    with pytest.raises(LeaseLost, match="the lease was taken over by another worker; stopping"):
        lease.beat(clock)
    lease.release()  # no longer its own: nothing happens
    assert opened.holder(group, clock) == taken.owner


def test_a_dead_process_of_this_host_is_taken_over_at_once(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    assert opened.claim(group, clock) is not None
    assert opened.claim(group, clock) is None
    pretend(opened, group, pid=dead())
    assert opened.holder(group, clock) is None and opened.claim(group, clock) is not None


def test_a_process_of_another_host_is_judged_by_its_heartbeat_alone(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    assert opened.claim(group, clock) is not None
    pretend(opened, group, place=f"not-{place()}", pid=dead())
    assert opened.claim(group, clock) is None


@pytest.mark.parametrize("other", ["host boot pid:[2]", "host later-boot pid:[1]", "", None])
def test_containers_of_one_host_name_do_not_mistake_each_others_processes(
    made: tuple[Store, Group, Clock], monkeypatch: pytest.MonkeyPatch, other: str | None
) -> None:
    """The pid of a lease says nothing in another namespace of process ids; a lease of an old version has no place."""
    opened, group, clock = made
    monkeypatch.setattr("rlnet_bench.runs.lease.place", lambda: "host boot pid:[1]")
    assert opened.claim(group, clock) is not None
    pretend(opened, group, pid=dead())
    assert opened.holder(group, clock) is None  # the same place, where there is no such process
    pretend(opened, group, place=other)
    assert opened.holder(group, clock) is not None and opened.claim(group, clock) is None
    clock.now += LEASE_SECONDS + 1
    assert opened.claim(group, clock) is not None


def test_where_nothing_tells_containers_apart_heartbeats_decide(
    made: tuple[Store, Group, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, group, clock = made
    monkeypatch.setattr("rlnet_bench.runs.lease.place", lambda: "")
    assert opened.claim(group, clock) is not None
    pretend(opened, group, pid=dead())
    assert opened.holder(group, clock) is not None


def test_after_three_retries_a_group_has_failed(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    for _ in range(MAX_ATTEMPTS):
        lease = opened.claim(group, clock)
        assert lease is not None
        lease.release()
    assert opened.claim(group, clock) is None
    status = opened.status(group)
    assert status["status"] == "failed" and set(status["seeds"].values()) == {"failed"}
    logs = f"see `rlnet-bench logs {group.run_id}`"
    assert status["reason"] == f"its worker died 4 times without a new checkpoint; {logs}"
    assert opened.claim(group, clock) is None


def test_deaths_with_progress_are_forgiven(made: tuple[Store, Group, Clock]) -> None:
    """Only a checkpoint beyond that of the last claim counts as progress."""
    opened, group, clock = made

    def die(checkpoint: int) -> int:
        lease = opened.claim(group, clock)
        assert lease is not None
        (opened.folder(group) / "checkpoints" / f"{checkpoint:015d}").mkdir(parents=True, exist_ok=True)
        lease.release()
        return int(opened.status(group)["attempts"])

    assert [die(frames) for frames in (40, 80, 80, 80, 120, 160, 200)] == [1, 1, 1, 2, 3, 1, 1]
    assert [die(frames) for frames in (200, 160, 120, 40)] == [1, 2, 3, 4]
    assert opened.claim(group, clock) is None and opened.status(group)["status"] == "failed"
    assert opened.retry(group) and die(200) == 1


def test_leaving_cleanly_keeps_how_far_it_came(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    (opened.folder(group) / "checkpoints" / f"{40:015d}").mkdir(parents=True)
    lease = opened.claim(group, clock)
    assert lease is not None
    opened.forgive(group)
    assert (opened.status(group)["attempts"], opened.status(group)["reached"]) == (0, 40)


def test_leaving_cleanly_is_no_attempt(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    for _ in range(3 * MAX_ATTEMPTS):
        lease = opened.claim(group, clock)
        assert lease is not None
        opened.forgive(group)
        lease.release()
    assert opened.status(group)["attempts"] == 0
    opened.set_status(group, "diverged", divergences=[{"seed": 0}])
    opened.forgive(group)  # over: nothing is forgotten
    assert opened.status(group)["divergences"] == [{"seed": 0}]


def test_many_claims_at_once_give_one_lease(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "store", seeds=8, seed_group=1)
    won: list[str] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        mine = Store(opened.root)
        won.extend(g.run_id for g in planned.groups if mine.claim(g) is not None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(won) == sorted(g.run_id for g in planned.groups)


def test_a_run_that_is_killed_while_it_plans_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """At each of its writes. The same command goes on, and sweeps what the dead one left."""
    for n in itertools.count(1):
        root = tmp_path / str(n) / "s"

        def begin(root: Path = root) -> None:
            made, planned = store(root)
            made.keep_plan(planned)

        killed = killed_at_write(n, begin)
        begin()
        made = Store(root).checked()
        made.sweep()
        assert sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) == [
            f"plans/{made.keep_plan(made.plan())}.json", "store.json", "suites/small-v1.json",
        ]  # fmt: skip
        assert made.run_folders() == []
        if not killed:
            break
    assert n > 10


def test_only_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s")
    kept = opened.folder(planned.groups[0])
    kept.mkdir()
    assert killed_at_write(1, lambda: opened.add_plan(planned))
    (left,) = opened.root.glob("suites/.small*")
    ours = left.with_name(f".small-v1.json{signature()}")
    elsewhere = left.with_name(".small-v1.json.01234567-1-01234567")
    older, old = left.with_name(".other-v1.json.12345678"), left.with_name(".small-v1.json.abcdef01-1-01234567")
    for path in (ours, elsewhere, older, old):
        path.write_text("{")
    os.utime(old, (0, 0))  # of another host, a long time ago
    (kept / left.name).write_text("{")
    freed = left.stat().st_size + 1
    assert opened.sweep() == freed
    assert not left.exists() and not old.exists() and ours.exists() and elsewhere.exists() and older.exists()
    assert opened.claim(planned.groups[0]) is not None  # what is left in a run is swept by whoever takes it
    assert not (kept / left.name).exists()


def test_opening_a_store_again_and_opening_what_is_none(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "store")
    assert Store.create(opened.root).plan().groups == planned.groups
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for path in (tmp_path / "full", tmp_path / "full" / "thesis.tex"):
        with pytest.raises(StoreError, match=r"expected a run store or an empty directory; choose another --store"):
            Store.create(path)
    with pytest.raises(StoreError, match=r"expected a run store, found .*\. `rlnet-bench run SUITE` makes one"):
        Store(tmp_path / "full").checked()
    (opened.root / "store.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="store format 99, this version reads 1"):
        Store.create(opened.root)


def test_plans_by_name(tmp_path: Path) -> None:
    opened, first = store(tmp_path / "store")
    opened.add_plan(plan(name="small", version=2, seeds=1))
    opened.add_plan(plan(name="other"))
    assert list(opened.plans()) == ["other-v1", "small-v1", "small-v2"]
    assert opened.plan("small-v1") == first and opened.plan("small").suite.version == 2
    assert opened.suites()[0] == "other-v1" and opened.plan().suite.name == "other"
    later = (opened.root / "suites" / "other-v1.json").stat().st_mtime_ns + 10**9
    os.utime(opened.root / "suites" / "small-v1.json", ns=(later, later))  # planned again
    assert opened.suites()[0] == "small-v1" and opened.plan() == first
    with pytest.raises(UnknownName, match=r"unknown suite 'smal'\. Did you mean 'small-v2'\? Suites in "):
        opened.plan("smal")


def test_damaged_files_are_sentences(made: tuple[Store, Group, Clock]) -> None:
    opened, group, clock = made
    lease = opened.claim(group, clock)
    assert lease is not None
    (opened.folder(group) / "lease.json").write_text("{")
    assert opened.holder(group, clock) is None
    for text in ("{", "[]", ""):
        (opened.folder(group) / "status.json").write_text(text)
        status = opened.status(group)
        assert status["status"] == "failed" and "Delete that file and run again" in status["reason"]
        assert opened.claim(group, clock) is None
    (opened.folder(group) / "status.json").unlink()
    assert opened.claim(group, clock) is not None
    (opened.root / "suites" / "small-v1.json").write_text("{")
    with pytest.raises(StoreError, match=r"small-v1\.json: expected JSON, found a syntax error"):
        opened.plans()


def refuse(monkeypatch: pytest.MonkeyPatch, code: int, functions: tuple[str, ...] = ("fsync", "replace")) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    for name in functions:
        monkeypatch.setattr(os, name, no)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, "old")
    with monkeypatch.context() as patch:
        refuse(patch, errno.ENOSPC, (function,))
        with pytest.raises(
            StoreError, match=r"status\.json: cannot be written \(No space left on device\); nothing was"
        ):
            write_atomic(file, "new")
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["status.json"]
    write_atomic(file, "new")
    assert file.read_text() == "new"


def test_claims_on_a_full_disk(made: tuple[Store, Group, Clock], monkeypatch: pytest.MonkeyPatch) -> None:
    opened, group, clock = made
    with monkeypatch.context() as patch:
        refuse(patch, errno.ENOSPC)
        with pytest.raises(StoreError, match="No space left on device"):
            opened.claim(group, clock)
    assert opened.status(group)["status"] == "missing" and opened.claim(group, clock) is not None


def test_a_read_only_store_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, planned = store(tmp_path / "store")
    group = planned.groups[0]
    lease = opened.claim(group)
    assert lease is not None
    lease.release()
    real = Path.open

    def no_writing(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", no_writing)
    again = Store(opened.root).checked()
    assert again.plan().groups == planned.groups and again.status(group)["status"] == "running"
    assert again.record(group) is not None
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\); a store needs write access"):
        again.claim(planned.groups[-1])  # nobody holds it
    with pytest.raises(StoreError, match="Read-only file system"):
        again.add_plan(planned)


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made|expected a run store"):
        Store.create(tmp_path / "file" / "store")


def test_a_trial_does_not_change_after_its_runs_were_begun(tmp_path: Path) -> None:
    methods = [method("ippo"), method("mappo"), method("iql")]
    trial = {"primary": "ippo", "comparators": ["mappo", "iql"]}
    opened, first = store(tmp_path / "store", *methods, test=[SPREAD], trial=trial)
    easier = plan(*methods, test=[SPREAD], trial={**trial, "comparators": ["iql"]})
    opened.add_plan(easier)  # nothing was begun yet
    opened.add_plan(first)
    opened.keep_plan(first)
    opened.add_plan(plan(*methods))  # a part is run
    opened.add_plan(first)
    with pytest.raises(BadInput, match=r"small-v1: expected the trial .* under which its runs\s+were begun"):
        opened.add_plan(easier)
    with pytest.raises(BadInput, match="another `version`"):
        opened.add_plan(plan(*methods, test=[SPREAD], trial={**trial, "margin": 0.5}))
    opened.add_plan(plan(*methods, test=[SPREAD], trial={**trial, "comparators": ["iql"]}, version=2))
