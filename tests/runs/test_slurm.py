"""The Slurm launcher on submitit's local executor; tests/runs/slurm_real.sh is the same on a real Slurm."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import small

pytest.importorskip("submitit", reason="no slurm")

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.check_launcher import check_launcher, tiny_plan
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.slurm_launch import SlurmLauncher


@pytest.mark.slow
def test_slurm_keeps_the_contract(tmp_path: Path) -> None:
    made = iter(range(9))
    report = check_launcher(lambda: SlurmLauncher(tmp_path / f"logs{next(made)}", cluster="local"))
    report.raise_if_failed()
    assert len(report.killed) == 1


def test_a_job_near_its_time_limit_checkpoints_and_queues_itself_again(tmp_path: Path) -> None:
    plan = tiny_plan(frames=4000, seeds=1)
    store, _ = small.store(tmp_path / "s")
    store.add_plan(plan)
    (group,) = plan.groups
    signalled = []

    def near_the_limit() -> None:
        lease = read_mapping(store.folder(group) / "lease.json")
        if lease and not signalled and (store.folder(group) / "evals.jsonl").exists():
            signalled.append(lease["pid"])
            os.kill(lease["pid"], signal.SIGUSR1)

    launcher = SlurmLauncher(tmp_path / "logs", cluster="local")
    launcher.poll_seconds = 0.02
    workers = Workers(store, plan, 1, launcher)
    workers.start()
    workers.wait(near_the_limit)
    log = (store.folder(group) / "log.txt").read_text()
    assert signalled
    assert store.status(group)["status"] == "ok"
    assert store.status(group)["attempts"] == 1  # leaving cleanly is no failed attempt
    assert "resumed: frames" in log


def test_wrong_options_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no_such"):
        SlurmLauncher(tmp_path, options={"no_such": "1"}, cluster="local")
