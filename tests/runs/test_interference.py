"""Several processes, clocks and copies around one store: nothing is lost, and the bits are those of a calm run."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from killed import at_write
from small import products, store, whole

from rlnet_bench.runs import lease as leases
from rlnet_bench.runs import worker
from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.lease import LEASE_SECONDS
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.store import Store


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    return products(whole(tmp_path_factory.mktemp("calm") / "run"))


work = partial(worker.work, checkpoint_seconds=0.0)


def same(opened: Store, group: Group, calm: dict[str, bytes]) -> None:
    """The group is done, with the calm run's bits, and nothing in the store is wrong."""
    assert opened.status(group)["status"] == "ok"
    assert products(opened.folder(group)) == calm
    assert check_store(opened).problems == ()


def silent(path: Path, seconds: float = LEASE_SECONDS + 1) -> None:
    """Make a lease that of a worker elsewhere that has not been heard of for so long."""
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "place": "elsewhere"}))
    past = path.stat().st_mtime - seconds
    os.utime(path, (past, past))


def is_locked(file: Path) -> bool:
    """Whether somebody holds a file's lock."""
    with contextlib.suppress(FileNotFoundError), file.open("r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Once:
    """Does something at the n-th event of a kind."""

    def __init__(self, kind: str, n: int, action: Callable[[], object]) -> None:
        self.kind, self.left, self.action = kind, n, action

    def on_event(self, event: Event) -> None:
        self.left -= event.kind == self.kind
        if self.left == 0:
            self.left = -1
            self.action()


STRIDES = [11, pytest.param(2, marks=pytest.mark.slow)]  # between the writes at which something happens


@pytest.mark.parametrize("stride", STRIDES)
def test_a_worker_that_is_stopped_at_any_write_for_longer_than_its_lease(
    tmp_path: Path, calm: dict[str, bytes], stride: int
) -> None:
    """SIGSTOP, and SIGCONT when another worker has done everything: it sees that it is late, and harms nothing."""
    reached = 0
    for n in itertools.count(1, stride):
        opened, (group,) = (made := store(tmp_path / str(n)))[0], made[1].groups
        heard: list[str] = []

        def another(opened: Store = opened, group: Group = group) -> None:
            if is_locked(opened.root / "lock") or is_locked(opened.folder(group) / "evals.jsonl"):
                return  # it claims, or adds a line, this very moment: all others wait
            if opened.holder(group) is not None:
                silent(opened.folder(group) / "lease.json")
            work(opened, [group])

        with at_write(n, another) as shot:
            work(opened, [group], on_group=lambda g, event, heard=heard: heard.append(event))
        same(opened, group, calm)
        if not shot.done:
            break
        reached += heard[-1:] == ["taken over"]
    assert reached * stride > 30


@pytest.mark.parametrize("stride", STRIDES)
def test_a_store_that_is_copied_while_it_runs_moved_and_continued(
    tmp_path: Path, calm: dict[str, bytes], stride: int
) -> None:
    """At any write; the lease that was copied along is of a worker that never beats there."""
    for n in itertools.count(2, stride):
        opened, planned = store(tmp_path / str(n) / "s")
        copy = tmp_path / str(n) / "copy"
        with at_write(n, lambda a=opened.root, b=copy: shutil.copytree(a, b)) as shot:  # type: ignore[misc]
            work(opened, planned.groups)
        if not shot.done:
            break
        moved = Store(copy.rename(tmp_path / str(n) / "elsewhere")).checked()
        (group,) = moved.plan().groups if moved.plans() else planned.groups
        file = moved.folder(group) / "lease.json"
        if moved.holder(group) is not None:
            assert moved.claim(group) is None  # until the two minutes are over
            silent(file)
        work(moved, [group])
        same(moved, group, calm)
        same(opened, group, calm)
    assert n > 40


@pytest.mark.parametrize("hour", [-3600.0, 3600.0])
def test_a_clock_that_is_an_hour_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calm: dict[str, bytes], hour: float
) -> None:
    """Slow, its group is taken over at once; fast, its death is seen an hour late. Nothing is lost either way."""
    opened, planned = store(tmp_path / "s")
    (group,) = planned.groups
    file = opened.folder(group) / "lease.json"
    heard: list[str] = []
    now = leases.time.time

    def another() -> None:
        monkeypatch.setattr(leases.time, "time", now)
        file.write_text(json.dumps({**json.loads(file.read_text()), "place": "elsewhere"}))
        os.utime(file, (now() + hour, now() + hour))
        if hour > 0:
            assert opened.claim(group, lambda: now() + 3600) is None
            lease = opened.claim(group, lambda: now() + 3600 + LEASE_SECONDS + 1)
            assert lease is not None
            lease.release()
        work(opened, [group])

    work(
        opened, [group], on_group=lambda g, event: heard.append(event),
        callbacks=lambda g: (Once("checkpoint", 2, another),),
    )  # fmt: skip
    assert heard == ["started", "taken over"]
    same(opened, group, calm)
