"""The local launcher: starts workers, replaces the dead, passes complaints on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from small import method, store

from rlnet_bench.runs import launch
from rlnet_bench.runs.launch import LocalWorkers

CHATTY = "import sys; sys.stderr.write('x' * 300_000 + ' last words'); sys.exit(2)"


@pytest.mark.slow
def test_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", method(), seeds=2, seed_group=1, budget={"frames": 4000})
    workers = LocalWorkers(opened, planned, 1)
    workers.start()
    first = workers.processes[0]
    killed = []

    def kill_when_busy() -> None:
        if not killed and any(opened.status(g)["status"] == "running" for g in planned.groups):
            killed.append(first.pid)
            first.send_signal(signal.SIGKILL)

    assert workers.wait(kill_when_busy) == ""
    assert killed and first.returncode == -signal.SIGKILL
    assert [opened.status(g)["status"] for g in planned.groups] == ["ok", "ok"]
    assert sorted(opened.status(g)["attempts"] for g in planned.groups) == [1, 2]


def test_no_more_workers_than_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, planned = store(tmp_path / "s", method("random"), seeds=2, seed_group=1)
    started: list[int] = []
    monkeypatch.setattr(LocalWorkers, "_spawn", lambda self: started.append(1))
    LocalWorkers(opened, planned, 8).start()
    assert len(started) == 2
    opened.folder(planned.groups[0]).mkdir()
    opened.set_status(planned.groups[0], "ok")
    workers = LocalWorkers(opened, planned, 8)
    assert workers.unfinished() == [planned.groups[1].run_id]


def test_complaints_are_passed_on_whatever_their_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds: a worker must never wait for a reader."""
    opened, planned = store(tmp_path / "s", method("random"))
    real = launch.subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        assert options["env"]["OMP_NUM_THREADS"] == "1"  # type: ignore[index]
        return real([sys.executable, "-c", CHATTY], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    workers = LocalWorkers(opened, planned, 1)
    workers.start()
    complaint = workers.wait(lambda: None)
    assert complaint.endswith("xxx last words") and len(complaint) <= 2000 and not workers.complaints


@pytest.mark.slow
def test_stopping_the_launcher_stops_the_workers(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s", budget={"frames": 4_000_000})
    workers = LocalWorkers(opened, planned, 1)
    workers.start()

    def stop() -> None:
        if opened.status(planned.groups[0])["status"] == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.wait(stop)
    assert all(p.returncode is not None for p in workers.processes)
