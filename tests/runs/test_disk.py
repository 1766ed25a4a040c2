"""A full disk, a read-only one, and verbs that are killed while they write: nothing is damaged, the same goes on."""

from __future__ import annotations

import hashlib
import itertools
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from killed import killed_at_write
from small import method, products, store, whole

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.errors import StoreError
from rlnet_bench.runs import worker
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.compact import compact
from rlnet_bench.runs.files import DiskRefused
from rlnet_bench.runs.plan import Plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.published import read_published
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.watch import snapshot

work = partial(worker.work, checkpoint_seconds=0.0)


class Disk:
    """A disk of its own: a tmpfs where we may mount one, else a limit on what this process may write."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
        self.mounted = subprocess.run(mount, capture_output=True).returncode == 0
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def room(self, kib: int) -> None:
        """Let there be so much room in all (per file, where nothing can be mounted)."""
        self._set(f"rw,size={kib}k", 1024 * kib)

    def read_only(self) -> None:
        """Nothing can be written any more."""
        self._set("ro", 0)

    def _set(self, options: str, limit: int) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self.before[1]))

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error instead of a death
    made = Disk(tmp_path / "disk")
    try:
        yield made
    finally:
        made.remove()
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full(disk: Disk, tmp_path: Path) -> None:
    """Each time there is a little more room, work goes on until there is none."""
    calm = products(whole(tmp_path / "calm"))
    refused = 0
    for kib in itertools.count(16, 8):
        disk.room(kib)
        try:
            opened, planned = store(disk.place / "s")
            work(opened, planned.groups)
            break
        except DiskRefused as error:
            refused += 1
            assert any(words in str(error) for words in ("No space left on device", "File too large")), error
        if (disk.place / "s" / "store.json").exists():
            opened = Store(disk.place / "s").checked()
            assert opened.status(planned.groups[0])["status"] in ("missing", "running")
            assert check_store(opened).problems == ()
    (group,) = planned.groups
    assert refused > 3 or not disk.mounted
    assert refused > 0
    assert opened.status(group)["status"] == "ok"
    assert products(opened.folder(group)) == calm and check_store(opened).problems == ()


def test_a_read_only_store(disk: Disk, tmp_path: Path) -> None:
    disk.room(4096)
    opened, planned = store(disk.place / "s", method("random"), method("uncoordinated"))
    work(opened, planned.groups[:1])
    disk.read_only()
    assert [row.status for row in snapshot(opened, planned)] == ["ok", "missing"]
    assert len(load_results(opened).records) == 1 and check_store(opened).problems == ()
    for verb in (lambda: work(opened, planned.groups), lambda: compact(opened), lambda: opened.add_plan(planned)):
        with pytest.raises(StoreError, match=r"cannot be written \((Read-only file system|File too large)\)"):
            verb()
    with pytest.raises(StoreError, match=r"cannot be written \((Read-only file system|File too large)\)"):
        publish(opened, planned, disk.place / "results", finished=True)
    disk.room(4096)
    assert not list(disk.place.rglob(".*")) or not disk.mounted
    work(opened, planned.groups)
    assert check_store(opened).problems == ()


# -- kill -9 while verbs write ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan]:
    opened, planned = store(tmp_path_factory.mktemp("finished") / "s", method(), method("random"))
    work(opened, planned.groups)
    return opened, planned


def digest(folder: Path) -> str:
    """Of everything in a folder but what a killed process left aside."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")) if folder.exists() else ():
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            total.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return total.hexdigest()


def moments(last: int, few: int = 6) -> Iterator[int]:
    """Some of the first writes, and of all others up to the last."""
    yield from (1, 2, 3, *sorted(random.Random(last).sample(range(4, last), few)), last - 1, last, 10 * last)


@pytest.mark.parametrize("earlier", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_publish_killed(finished: tuple[Store, Plan], tmp_path: Path, earlier: bool) -> None:
    """What stood there before stands there whole, or the new one does."""
    opened, planned = finished
    out = tmp_path / "results"
    publish(opened, planned, out, weights=False)
    old = digest(out / "small-v1")
    publish(opened, planned, tmp_path / "new")
    new = digest(tmp_path / "new" / "small-v1")
    assert old != new
    seen = set()
    for n in moments(60):
        shutil.rmtree(out)
        if earlier:
            publish(opened, planned, out, weights=False)
        killed_at_write(n, lambda: publish(opened, planned, out))
        target = out / "small-v1"
        seen.add(digest(target) if target.exists() else "")
        if target.exists():
            assert len(read_published(target).records) == 2
        publish(opened, planned, out)
        assert digest(target) == new and [p.name for p in out.iterdir()] == ["small-v1"]
    assert seen == {old if earlier else "", new}


def test_compact_killed(finished: tuple[Store, Plan], tmp_path: Path) -> None:
    opened = Store(Path(shutil.copytree(finished[0].root, tmp_path / "s")))
    before = snapshot(opened, finished[1])
    for n in itertools.count(1):
        shutil.rmtree(opened.folder(finished[1].groups[0]) / "checkpoints", ignore_errors=True)
        (opened.folder(finished[1].groups[0]) / "checkpoints" / "000000000000040").mkdir(parents=True)
        (opened.folder(finished[1].groups[0]) / "checkpoints" / "000000000000040" / "state.json").write_text("{}")
        (opened.root / "index.jsonl").unlink(missing_ok=True)
        killed = killed_at_write(n, lambda: compact(opened))
        assert snapshot(opened, finished[1]) == before and check_store(opened).problems == ()
        compact(opened)
        assert not list(opened.root.rglob(".*"))
        if not killed:
            break
    assert n > 4


@pytest.mark.slow
def test_report_killed(finished: tuple[Store, Plan], tmp_path: Path) -> None:
    """The page is the earlier one or the new one; nothing else is left once the same command has run."""
    from rlnet_bench.reports.build import build_report

    results, out = load_results(finished[0]), tmp_path / "report"
    make = partial(build_report, results, timings=False, pdf=False)
    expected = digest(make(tmp_path / "expected").parent)
    page = (tmp_path / "expected" / "index.html").read_bytes()
    writes = 2 * sum(f.is_file() for f in (tmp_path / "expected").rglob("*"))
    for n in (1, 4, writes // 2, writes - 1, 10 * writes):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / "index.html").write_text("the earlier page")
        (out / "notes.txt").write_text("the user's own")
        killed_at_write(n, lambda: make(out))
        assert (out / "index.html").read_bytes() in (b"the earlier page", page)
        make(out)
        assert (out / "notes.txt").read_text() == "the user's own"
        (out / "notes.txt").unlink()
        assert digest(out) == expected and not list(out.rglob(".*"))
