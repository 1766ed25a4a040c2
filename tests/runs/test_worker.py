"""Workers: failures stay in their group, signals leave cleanly, kill -9 costs nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from small import SPREAD, StopAt, method, plan, products, store, whole

from rlnet_bench.errors import Interrupted, StoreError
from rlnet_bench.runs import loop, worker
from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.files import DiskRefused
from rlnet_bench.runs.launch import ENDINGS, EXIT_FAILED, Ending
from rlnet_bench.runs.lease import Lease, LeaseLost
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.store import MAX_ATTEMPTS, Store
from rlnet_bench.runs.worker import CannotListen, Journal, heartbeat, main, work, work_on

HERE = Path(__file__).parent


def done(opened: Store, groups: Any) -> list[str]:
    return [opened.status(g)["status"] for g in groups]


def claimed(opened: Store, group: Group) -> Lease:
    lease = opened.claim(group)
    assert lease is not None
    return lease


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, of: str = "ippo", at: int = 2) -> None:
    """Make the runs of a method raise after some events."""
    real = loop.run_group

    def run(folder: Path, config: Any, *, callbacks: Any = (), **options: Any) -> Any:
        more = (StopAt(at, error=error),) if config["method"] == of else ()
        return real(folder, config, callbacks=(*callbacks, *more), **options)

    monkeypatch.setattr(loop, "run_group", run)


def test_a_grid_is_worked_through_and_done_once(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    heard: list[tuple[str, str]] = []
    assert work(opened, planned.groups, on_group=lambda g, e: heard.append((g.label, e))) == []
    assert heard == [("ippo", "started"), ("ippo", "ok"), ("random", "started"), ("random", "ok")]
    assert done(opened, planned.groups) == ["ok", "ok"]
    heard.clear()
    work(opened, planned.groups, on_group=lambda g, e: heard.append((g.label, e)))
    assert heard == []
    folder = opened.folder(planned.groups[0])
    assert not (folder / "lease.json").exists() and not (folder / "checkpoints").exists()
    assert json.loads((folder / "config.json").read_text()) == planned.groups[0].config
    assert json.loads((folder / "provenance.json").read_text())["packages"]["torch"]
    expected = products(whole(tmp_path / "alone"))
    assert products(folder) == expected


def test_a_failed_group_keeps_the_grid_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    failing(monkeypatch, ZeroDivisionError("1 / 0"))
    assert work(opened, planned.groups) == [planned.groups[0]]
    assert done(opened, planned.groups) == ["failed", "ok"]
    status = opened.status(planned.groups[0])
    assert status["reason"].startswith("ZeroDivisionError: 1 / 0 (") and "small.py, line " in status["reason"]
    assert status["seeds"] == {"0": "failed", "1": "failed"}
    log = (opened.folder(planned.groups[0]) / "log.txt").read_text()
    assert "Traceback" in log and "ZeroDivisionError" in log and "evaluated: " in log


def test_a_tampered_record_fails_its_group_only(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    folder = opened.folder(planned.groups[0])
    folder.mkdir(parents=True)
    text = (whole(tmp_path / "a") / "evals.jsonl").read_text()
    (folder / "evals.jsonl").write_text(text.replace('"updates": 2', '"updates": 3', 1))
    work(opened, planned.groups)
    assert done(opened, planned.groups) == ["failed", "ok"]
    assert "was changed after it was written" in opened.status(planned.groups[0])["reason"]


def test_a_line_that_is_not_made_again_fails(tmp_path: Path) -> None:
    """A record of another machine whose chain holds, but whose numbers are not ours."""
    opened, planned = store(tmp_path / "s")
    folder = opened.folder(planned.groups[0])
    folder.mkdir(parents=True)
    other = whole(tmp_path / "other", method(learning_rate=0.1))
    (folder / "evals.jsonl").write_bytes((other / "evals.jsonl").read_bytes())
    work(opened, planned.groups)
    assert "not reproducible: the curve line of seed 0 at frame 80" in opened.status(planned.groups[0])["reason"]


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "missing", "teacher.pt"), StoreError("no policy")])
def test_what_a_method_cannot_read_is_no_fault_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A method may open files (and load policies of other runs): what it misses fails its group, with a traceback."""
    opened, planned = store(tmp_path / "s", method(), method("random"))
    build = loop.build_learner

    def learner(config: Any) -> Any:
        if config["method"] == "ippo":
            raise error
        return build(config)

    monkeypatch.setattr(loop, "build_learner", learner)
    assert work(opened, planned.groups) == [planned.groups[0]]
    assert done(opened, planned.groups) == ["failed", "ok"]
    reason = opened.status(planned.groups[0])["reason"]
    assert reason.startswith(f"{type(error).__name__}: {error} (") and "test_worker.py, line " in reason
    log = (opened.folder(planned.groups[0]) / "log.txt").read_text()
    assert "Traceback" in log and str(error) in log


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("rlnet_bench.runs.policies.save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
        ("rlnet_bench.runs.policies.save_file", FULL),
        ("rlnet_bench.runs.recorder.os.write", FULL),
        ("rlnet_bench.runs.recorder.os.truncate", FULL),
        ("rlnet_bench.runs.files.os.replace", FULL),
    ],
)
def test_a_full_disk_stops_the_worker_and_blames_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    folder = opened.folder(planned.groups[0])
    folder.mkdir(parents=True)
    (folder / "evals.jsonl").write_text('{"torn')

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        claimed_once = opened.claim  # what comes before the work has its own tests
        patch.setattr(opened, "claim", lambda group: [claimed_once(group), patch.setattr(where, refuse)][0])
        patch.setattr(opened, "forgive", lambda group: [patch.undo(), opened.forgive(group)][1])
        with pytest.raises(DiskRefused, match="No space left on device"):
            work(opened, planned.groups)
    assert done(opened, planned.groups) == ["running", "missing"]
    assert opened.status(planned.groups[0])["attempts"] == 0 and opened.holder(planned.groups[0]) is None
    work(opened, planned.groups)
    assert done(opened, planned.groups) == ["ok", "ok"]
    assert products(opened.folder(planned.groups[0])) == products(whole(tmp_path / "alone"))


def test_a_disk_that_is_full_from_some_moment_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to the disk fails from the n-th on: never a failed group, never damage."""
    opened, planned = store(tmp_path / "s", method("random"))
    group = planned.groups[0]
    real = {name: getattr(os, name) for name in ("write", "fsync", "replace")}
    for n in range(1, 40, 3):
        left = n
        with monkeypatch.context() as patch:

            def refuse(name: str) -> Callable[..., Any]:
                def call(*rest: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return real[name](*rest, **options)

                return call

            for name in real:
                patch.setattr(os, name, refuse(name))
            try:
                work(opened, [group])
                break
            except StoreError as error:
                assert "No space left on device" in str(error)
        assert opened.status(group)["status"] in ("missing", "running")
    work(opened, [group])
    assert opened.status(group)["status"] == "ok"
    assert products(opened.folder(group)) == products(whole(tmp_path / "alone", method("random")))


def test_a_stop_gives_the_group_back(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    heard: list[str] = []
    answers = iter([False, False, True])
    work(opened, planned.groups, should_stop=lambda: next(answers, True), on_group=lambda g, e: heard.append(e))
    assert heard == ["started", "interrupted"]
    status = opened.status(planned.groups[0])
    assert (status["status"], status["attempts"]) == ("running", 0) and opened.holder(planned.groups[0]) is None
    work(opened, planned.groups)
    assert done(opened, planned.groups) == ["ok", "ok"]


def test_a_lost_lease_is_left_alone(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    heard: list[tuple[str, str]] = []

    def steal(group: Group, event: str) -> None:
        heard.append((group.label, event))
        if (group.label, event) == ("ippo", "started"):
            path = opened.folder(group) / "lease.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "owner": "another"}))

    work(opened, planned.groups, on_group=steal)
    assert heard == [("ippo", "started"), ("ippo", "taken over"), ("random", "started"), ("random", "ok")]
    assert opened.status(planned.groups[0])["attempts"] == 1  # nothing of the other's was touched
    assert opened.holder(planned.groups[0]) == "another"


@pytest.mark.parametrize("error", [ZeroDivisionError("1 / 0"), DiskRefused("no space"), Interrupted("asked")])
def test_who_lost_the_lease_says_nothing_about_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A worker that was stopped for longer than its lease wakes up, and fails in whatever way before it looks."""
    opened, planned = store(tmp_path / "s")
    (group,) = planned.groups
    lease = claimed(opened, group)
    theirs: list[Lease] = []

    def overslept(*_: Any, **__: Any) -> None:
        body = json.loads(lease.path.read_text())
        lease.path.write_text(json.dumps({**body, "place": "elsewhere"}))
        os.utime(lease.path, (0, 0))
        theirs.append(claimed(opened, group))
        raise error

    monkeypatch.setattr(loop, "run_group", overslept)
    with pytest.raises(LeaseLost, match="the lease was taken over by another worker; stopping"):
        work_on(opened, group, lease)
    status = opened.status(group)
    assert (status["status"], status["attempts"]) == ("running", 2)
    assert opened.holder(group) == theirs[0].owner


def test_all_diverged_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlnet_bench.learning.learner import Divergence

    opened, planned = store(tmp_path / "s")
    found = (Divergence(0, "policy_loss", 80), Divergence(1, "weights", 120))
    outcome = loop.Outcome({0: "diverged", 1: "diverged"}, found)
    monkeypatch.setattr(loop, "run_group", lambda *a, **k: outcome)
    assert work_on(opened, planned.groups[0], claimed(opened, planned.groups[0])) == "diverged"
    status = opened.status(planned.groups[0])
    assert status["divergences"] == [
        {"seed": 0, "tensor": "policy_loss", "frames": 80}, {"seed": 1, "tensor": "weights", "frames": 120},
    ]  # fmt: skip


def test_the_journal_beats_and_writes(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s")
    lease = claimed(opened, planned.groups[0])
    now = [1000.0]
    journal = Journal(tmp_path, lease, lambda: now[0])
    progress = {"frames": 5, "budget": 10, "rate": 2.0, "metrics": {}}
    journal.on_event(Event("progress", progress))
    assert json.loads((tmp_path / "progress.json").read_text()) == {"frames": 5, "budget": 10, "rate": 2.0}
    assert lease.path.stat().st_mtime == 1000
    now[0] += 0.5
    journal.on_event(Event("progress", {**progress, "frames": 6}))  # too soon
    assert json.loads((tmp_path / "progress.json").read_text())["frames"] == 5 and lease.path.stat().st_mtime == 1000
    now[0] += 10
    journal.on_event(Event("evaluated", {"frames": 6, "best": [1.0, 2.5]}))
    assert lease.path.stat().st_mtime == 1010.5
    assert (tmp_path / "log.txt").read_text().rstrip().endswith("evaluated: frames 6, best [1, 2.5]")


def test_the_background_heartbeat_covers_long_silence(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s")
    lease = claimed(opened, planned.groups[0])
    os.utime(lease.path, (0, 0))
    with heartbeat(lease, 0.005):
        deadline = time.monotonic() + 30
        while lease.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
    assert lease.path.stat().st_mtime > 0
    os.utime(lease.path, (0, 0))
    lease.path.write_text('{"owner": "another"}')
    with heartbeat(lease, 0.001):
        pass
    with pytest.raises(LeaseLost):
        lease.beat()


def test_a_group_whose_workers_die_fails_after_three_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, planned = store(tmp_path / "s")

    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        failing(patch, Killed())
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Killed):
                work(opened, planned.groups)
        assert work(opened, planned.groups) == []
    assert opened.status(planned.groups[0])["status"] == "failed"


def test_main_says_what_happens(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    opened, planned = store(tmp_path / "s", method("random"))
    monkeypatch.setattr(worker.StopFlag, "install", lambda self: self)
    assert main([str(opened.root), "small-v1"]) == 0
    events = [json.loads(x) for x in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events] == ["started", "ok"]
    assert events[0]["what"] == f"random on {SPREAD}, seeds 0-1" and events[0]["run_id"] == planned.groups[0].run_id


def test_main_tells_failed_groups_from_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = store(tmp_path / "s", method())
    monkeypatch.setattr(worker.StopFlag, "install", lambda self: self)
    failing(monkeypatch, ZeroDivisionError("1 / 0"))
    assert main([str(opened.root), "small-v1"]) == EXIT_FAILED
    assert ENDINGS[EXIT_FAILED] is Ending.done and 1 not in ENDINGS


def test_a_logger_that_cannot_be_made_stops_the_worker_and_fails_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is in the lock file")
    opened, planned = store(tmp_path / "s", method("random"))
    (group,) = planned.groups
    (opened.root / "tensorboard").write_text("in the way")
    monkeypatch.setattr(worker.StopFlag, "install", lambda self: self)
    for _ in range(MAX_ATTEMPTS + 1):
        assert main([str(opened.root), "small-v1", "--log=tensorboard"]) == 2
        assert "a logger failed (" in capsys.readouterr().err
    status = opened.status(group)
    assert (status["status"], status["attempts"]) == ("running", 0) and opened.holder(group) is None
    assert "Traceback" in (opened.folder(group) / "log.txt").read_text()
    assert main([str(opened.root), "small-v1"]) == 0
    assert done(opened, planned.groups) == ["ok"]


def test_a_logger_that_fails_later_fails_nobody(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method("random"))
    with pytest.raises(CannotListen, match=r"a logger failed \(OSError: no route to the host\)"):
        work(opened, planned.groups, callbacks=lambda group: (StopAt(1, error=OSError("no route to the host")),))
    assert done(opened, planned.groups) == ["running"] and opened.holder(planned.groups[0]) is None
    work(opened, planned.groups)
    assert products(opened.folder(planned.groups[0])) == products(whole(tmp_path / "alone", method("random")))


def test_stop_flags() -> None:
    flag = worker.StopFlag()
    assert not flag()
    flag._on_signal(signal.SIGTERM, None)
    assert flag()


# -- real processes ------------------------------------------------------------------------------------------


def start(opened: Store, pause: float, *killed_at: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "worker_process.py"), str(opened.root), "small-v1", str(pause)]
    command += map(str, killed_at)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def checkpoints(folder: Path) -> list[str]:
    return [p.name for p in folder.glob("checkpoints/0*")]


VMAS = pytest.mark.skipif(find_spec("vmas") is None, reason="no vmas")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ippo", SPREAD),
        ("mappo", SPREAD),
        ("zoo/tag-2ppo", SPREAD),
        ("ippo", "lbf/8x8-2p-2f-coop-v1"),
        pytest.param("ippo", "vmas/balance-continuous-v1", marks=VMAS),
    ],
)
def test_killed_twice_and_resumed_to_the_bit(tmp_path: Path, name: str, task: str) -> None:
    """Two real kill -9, the first and the third iteration being the last that reached a checkpoint."""
    changes: dict[str, Any] = {"tasks": [task], "seeds": 1 if task.startswith("vmas/") else 2}
    opened, planned = store(tmp_path / "s", method(name), **changes)
    (group,) = planned.groups
    folder = opened.folder(group)
    for frames in (40, 120):
        process = start(opened, 0.0, frames)
        process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL and max(checkpoints(folder)).endswith(str(frames))
        assert opened.status(group)["status"] == "running" and opened.holder(group) is None
    process = start(opened, 0.0)
    out, complaint = process.communicate(timeout=600)
    assert process.returncode == 0, complaint
    assert [json.loads(x)["event"] for x in out.splitlines()] == ["started", "ok"]
    status = opened.status(group)
    assert (status["attempts"], status["reached"]) == (1, 120)  # each death had made progress
    assert (folder / "log.txt").read_text().count("resumed: frames") == 2
    assert products(folder) == products(whole(tmp_path / "whole", method(name), **changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_checkpoint_and_leave(tmp_path: Path, name: signal.Signals) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"))
    folder = opened.folder(planned.groups[0])
    process = start(opened, 0.3)
    wait_for(lambda: bool(checkpoints(folder)), process)
    process.send_signal(name)
    out, complaint = process.communicate(timeout=120)
    assert process.returncode in (0, 75) and complaint == ""
    assert [json.loads(x)["event"] for x in out.splitlines()] == ["started", "interrupted"]
    assert checkpoints(folder) and not (folder / "lease.json").exists()
    assert opened.status(planned.groups[0])["attempts"] == 0
    assert opened.status(planned.groups[1])["status"] == "missing"


@pytest.mark.slow
def test_two_workers_on_one_store_run_nothing_twice(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), method("random"), method("uncoordinated"), seeds=3, seed_group=1)
    processes = [start(opened, 0.05) for _ in range(2)]
    started = []
    for process in processes:
        out, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
        started += [json.loads(x)["run_id"] for x in out.splitlines() if json.loads(x)["event"] == "started"]
    assert sorted(started) == sorted(g.run_id for g in planned.groups)
    assert set(done(opened, planned.groups)) == {"ok"}
    assert plan(method(), method("random"), method("uncoordinated"), seeds=3, seed_group=1) == planned


def test_interrupted_is_raised_by_work_on(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s")
    with pytest.raises(Interrupted):
        work_on(opened, planned.groups[0], claimed(opened, planned.groups[0]), should_stop=lambda: True)
    assert opened.status(planned.groups[0])["attempts"] == 0
