"""Launchers: one conformance check for all engines; what each deals out and refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small

from rlnet_bench.errors import BadInput, ContractViolation, StoreError
from rlnet_bench.runs import loop
from rlnet_bench.runs.check_launcher import check_launcher, tiny_plan
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.launch import DEATHS_WITHOUT_WORK, Ending, Job, Workers, make_launcher
from rlnet_bench.runs.local_launch import LocalLauncher, Process
from rlnet_bench.runs.store import MAX_ATTEMPTS
from rlnet_bench.runs.worker import StopFlag, main, work


def test_local_keeps_the_contract() -> None:
    report = check_launcher(lambda: LocalLauncher(poll_seconds=0.02))
    report.raise_if_failed()
    assert len(report.killed) == 1


class Script:
    """A worker that ends as it is told."""

    def __init__(self, ending: Ending, words: str = "") -> None:
        self.ending, self.said = ending, words

    def poll(self) -> Ending:
        return self.ending

    def stop(self) -> None: ...

    def words(self) -> str:
        return self.said


class Scripted:
    """A launcher whose workers end at once, in the given ways."""

    poll_seconds = 0.0

    def __init__(self, *endings: Ending) -> None:
        self.endings, self.started, self.jobs = list(endings), 0, list[Job]()

    def submit(self, job: Job, count: int) -> Sequence[Script]:
        self.jobs.append(job)
        self.started += count
        return [Script(self.endings.pop(0) if self.endings else Ending.died, "no torch here") for _ in range(count)]

    def close(self) -> None: ...


def test_workers_that_die_before_they_claim_are_given_up(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s")
    launcher = Scripted()
    workers = Workers(store, plan, 1, launcher)
    workers.start()
    assert workers.wait(lambda: None) == "no torch here"
    assert launcher.started == DEATHS_WITHOUT_WORK


@pytest.mark.parametrize("ending", [Ending.broken, Ending.stopped])
def test_workers_that_cannot_or_must_not_work_are_not_replaced(tmp_path: Path, ending: Ending) -> None:
    store, plan = small.store(tmp_path / "s")
    launcher = Scripted(ending)
    workers = Workers(store, plan, 1, launcher)
    workers.start()
    workers.wait(lambda: None)
    assert launcher.started == 1


def test_a_worker_that_crashes_stops_the_run_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process for which importing torch raises: nothing is claimed, no attempt is burned."""
    store, plan = small.store(tmp_path / "s", small.method("random"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise RuntimeError('torch is broken here')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))  # a worker finds what its driver finds
    launcher = LocalLauncher(poll_seconds=0.02)
    workers = Workers(store, plan, 1, launcher)
    workers.start()
    assert workers.wait(lambda: None).endswith("RuntimeError: torch is broken here")
    assert len(launcher.started) == 1
    assert store.status(plan.groups[0])["status"] == "missing"


def test_a_file_in_the_folder_where_a_worker_starts_is_not_imported(tmp_path: Path) -> None:
    """A folder that somebody sent may hold a ``torch.py``."""
    store, plan = small.store(tmp_path / "s", small.method("random"))
    (tmp_path / "torch.py").write_text("import pathlib\npathlib.Path(__file__).with_name('sang').touch()\n")

    class There(LocalLauncher):
        def submit(self, job: Job, count: int) -> Sequence[Process]:
            return super().submit(replace(job, folder=str(tmp_path)), count)

    workers = Workers(store, plan, 1, There(poll_seconds=0.02))
    workers.start()
    assert workers.wait(lambda: None) == ""
    assert store.status(plan.groups[0])["status"] == "ok" and not (tmp_path / "sang").exists()


def test_what_broke_a_worker_is_not_drowned(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s", small.method("random"))
    workers = Workers(store, plan, 2, Scripted())
    workers.handles = [Script(Ending.broken, "the reason"), Script(Ending.done, "a warning")]
    assert workers.wait(lambda: None) == "the reason"


def test_workers_that_claim_nothing_are_given_up(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s")
    launcher = Scripted(*[Ending.done] * 20)
    workers = Workers(store, plan, 1, launcher)
    workers.start()
    assert "1 groups are left and free, but 3 workers in a row ended without" in workers.wait(lambda: None)
    assert launcher.started == 1 + DEATHS_WITHOUT_WORK


def test_workers_get_the_plan_of_their_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run of the same suite with other settings, between the launch and the start of a queued worker."""
    monkeypatch.setattr(StopFlag, "install", lambda self: self)
    store, mine = small.store(tmp_path / "s", small.method("random"))
    launcher = Scripted(Ending.done)
    Workers(store, mine, 1, launcher).start()
    others = small.plan(small.method("random"), seeds=3)
    store.add_plan(others)
    assert main(launcher.jobs[0].arguments()) == 0
    assert store.status(mine.groups[0])["status"] == "ok"
    assert store.status(others.groups[0])["status"] == "missing"
    assert store.plan("small-v1") == others  # status and reports show the newest
    with pytest.raises(StoreError, match="no such plan; the same `rlnet-bench run` writes it again"):
        store.kept_plan("0" * 16)


def test_stores_and_jobs_of_older_versions_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They know plans by name alone, and a queued job was pickled without a digest."""
    monkeypatch.setattr(StopFlag, "install", lambda self: self)
    store, plan = small.store(tmp_path / "s", small.method("random"))
    assert sorted(p.name for p in store.root.iterdir()) == ["runs", "store.json", "suites"]
    job = object.__new__(Job)
    job.__dict__.update(store=str(store.root), suite="small-v1", threads=1, folder=str(tmp_path), loggers=())
    assert job.arguments() == [str(store.root), "small-v1"]
    workers = Workers(store, store.plan(), 1, launcher := Scripted(Ending.done))
    workers.start()
    assert store.kept_plan(launcher.jobs[0].plan) == plan
    assert main(job.arguments()) == 0
    assert store.status(plan.groups[0])["status"] == "ok"


def test_a_group_that_somebody_else_drops_is_taken_over(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s", small.method("random"))
    lease = store.claim(plan.groups[0])
    assert lease is not None
    launcher = LocalLauncher(poll_seconds=0.02)
    workers = Workers(store, plan, 1, launcher)
    polls = []

    def drop_late() -> None:
        polls.append(len(workers.handles))
        if polls[-1] == 0:  # our worker found nothing to claim and left
            lease.release()

    workers.start()
    workers.wait(drop_late)
    assert 0 in polls
    assert store.status(plan.groups[0])["status"] == "ok"


def test_no_worker_is_started_without_work(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s", small.method("random"))
    work(store, plan.groups)
    launcher = Scripted()
    workers = Workers(store, plan, 3, launcher)
    workers.start()
    workers.wait(lambda: None)
    assert launcher.started == 0


def test_threads_are_dealt_out_before_anything_is_imported() -> None:
    assert set(Job("s", "q-v1", threads=3).environment().values()) == {"3"}


def test_the_checkpoint_interval_reaches_every_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what starts workers, over their command line, to the loop; unsaid, it is the loop's own."""
    real, given = loop.run_group, []

    def run(*arguments: Any, **options: Any) -> Any:
        given.append(options["checkpoint_seconds"])
        return real(*arguments, **options)

    class Here(Scripted):
        def submit(self, job: Job, count: int) -> list[Script]:
            assert main(job.arguments()) == 0
            return []

    monkeypatch.setattr(loop, "run_group", run)
    for seconds in (7.5, None):
        opened, planned = small.store(tmp_path / str(seconds), small.method("random"))
        Workers(opened, planned, 1, Here(), checkpoint_seconds=seconds).start()
    assert given == [7.5, None]


def test_several_workers_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Sleeps:
        def __init__(self, command: list[str], env: dict[str, str], **options: object) -> None:
            given.append(env["CUDA_VISIBLE_DEVICES"])

        def poll(self) -> None:
            return None

    monkeypatch.setattr("rlnet_bench.runs.local_launch.subprocess.Popen", Sleeps)
    halves = LocalLauncher(0.5, devices=("0", "1"))
    halves.submit(Job("s", "q-v1"), 4)
    assert given == ["0", "1", "0", "1"]
    with pytest.raises(BadInput, match="2 GPUs, room for 4 workers, and 5 were asked for; use --workers 4"):
        halves.submit(Job("s", "q-v1"), 1)
    given.clear()
    LocalLauncher(2.0, devices=("0", "1", "2")).submit(Job("s", "q-v1"), 1)
    assert given == ["0,1"]
    with pytest.raises(BadInput, match="this machine has 0 GPUs"):
        LocalLauncher(1.0, devices=()).submit(Job("s", "q-v1"), 1)


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("kubernetes", {}, "expected local, ray or slurm"),
        ("local", {"address": "auto"}, "only --launcher ray takes an address"),
        ("local", {"options": ["a=b"]}, "takes no options"),
        ("local", {"options": ["ab"]}, "expected key=value"),
        ("local", {"gpus": 1.5}, "expected a fraction of a GPU"),
    ],
)
def test_wrong_options_are_sentences(tmp_path: Path, engine: str, options: dict, message: str) -> None:
    store, _ = small.store(tmp_path / "s")
    with pytest.raises(BadInput, match=message):
        make_launcher(engine, store, **options)


def test_a_group_whose_workers_always_die_fails_with_its_last_lines(tmp_path: Path) -> None:
    """Real kills: four times its worker is shot, then the group is given up."""
    plan = tiny_plan(seeds=1, frames=200_000)
    store, _ = small.store(tmp_path / "s")
    store.add_plan(plan)
    (group,) = plan.groups
    shot = set()

    def shoot() -> None:
        lease = read_mapping(store.folder(group) / "lease.json")
        if lease and lease["owner"] not in shot and store.status(group)["attempts"] == len(shot) + 1:
            os.kill(lease["pid"], signal.SIGKILL)
            shot.add(lease["owner"])

    workers = Workers(store, plan, 1, LocalLauncher(poll_seconds=0.02))
    workers.start()
    workers.wait(shoot)
    status = store.status(group)
    assert len(shot) == MAX_ATTEMPTS
    assert (status["status"], status["attempts"]) == ("failed", MAX_ATTEMPTS)
    assert "died 4 times without a new checkpoint" in status["reason"]
    assert any("lost: worker" in line for line in store.last_lines(group))
    assert store.retry(group)
    assert not store.retry(group)
    assert store.status(group)["attempts"] == 0


def test_the_check_catches_a_launcher_that_loses_groups() -> None:
    plan = tiny_plan(frames=400, seeds=1)
    with pytest.raises(ContractViolation):
        check_launcher(lambda: Scripted(Ending.broken, Ending.broken), plan=plan, kills=0).raise_if_failed()
