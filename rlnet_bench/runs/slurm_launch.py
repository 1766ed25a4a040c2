"""The Slurm launcher (submitit): an array of jobs, each runs the worker loop on the shared store.

Shortly before the time limit, or on pre-emption, Slurm sends SIGUSR1: the worker writes a checkpoint, and
the job puts itself back into the queue. Several workers share a GPU as tasks of one job.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")  # read by submitit when it is imported

import submitit
from submitit.helpers import DelayedSubmission

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.files import read_mapping, write_atomic
from rlnet_bench.runs.launch import ENDINGS, EXIT_STOPPED, Ending, Job

REQUEUES = 10_000  # the store, not the number of time-outs, says when a group is over
ABSENT = 3
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}


@dataclass(frozen=True)
class SlurmWorker:
    """What a job runs: picklable, and able to go on in a new allocation."""

    job: Job
    folder: str  # where it says how it ended

    def __call__(self) -> None:
        """The worker loop; asked to leave by SIGUSR1, it hands over to submitit, which queues the job again."""
        requeue = signal.getsignal(signal.SIGUSR1)
        os.environ.update(self.job.environment())
        try:
            from rlnet_bench.runs.worker import StopFlag, main

            if os.path.isdir(self.job.folder):
                os.chdir(self.job.folder)
            flag = StopFlag()
            code = main(self.job.arguments(), flag)
        except Exception:
            self._say(2, traceback.format_exc())
            raise
        if code == EXIT_STOPPED and flag.signal == signal.SIGUSR1 and callable(requeue):
            requeue(signal.SIGUSR1, None)  # the first task of a job does not come back from this
        self._say(code)

    def _say(self, code: int, words: str = "") -> None:
        here = submitit.JobEnvironment()
        path = Path(self.folder) / f"{here.job_id}_{here.global_rank}.json"
        write_atomic(path, json.dumps({"code": code, "words": words[-2000:]}))

    def checkpoint(self) -> DelayedSubmission:
        """Everything is in the store: the same again."""
        return DelayedSubmission(self)


@dataclass
class SlurmJob:
    """A submitted job: one worker, or several that share a GPU."""

    job: Any
    folder: Path
    local: bool
    tasks: int
    said: str = ""
    asked: bool = False
    absent: int = 0  # looks at which the engine did not know the job, and it had not said how it ended

    def poll(self) -> Ending | None:
        """How it ended; None while it is queued (again) or works."""
        said = [read_mapping(self.folder / f"{self.job.job_id}_{rank}.json") for rank in range(self.tasks)]
        if not all(said):
            self.absent = self.absent + 1 if self._gone() else 0
            if self.absent < ABSENT:  # files may be seen late on a network file system
                return None
            if self.asked:
                return Ending.stopped
            self.said = f"job {self.job.job_id} was lost and replaced; its logs are in {self.folder}."
            return Ending.died
        self.said = "".join(item["words"] for item in said)
        endings = {ENDINGS.get(item["code"], Ending.broken) for item in said}
        return next((e for e in (Ending.broken, Ending.stopped) if e in endings), Ending.done)

    def _gone(self) -> bool:
        """Whether the engine no longer knows the job. squeue, unlike sacct, needs no accounting database."""
        if self.local:
            return self.job.done()
        done = subprocess.run(
            ["squeue", "--noheader", "--format=%T", f"--jobs={self.job.job_id}"], capture_output=True, text=True
        )
        if done.returncode and "Invalid job id" not in done.stderr:
            return False  # the controller does not answer: wait
        return not set(done.stdout.split()) - OVER

    def stop(self) -> None:
        """SIGTERM, which workers answer with a checkpoint; queued jobs are just taken out."""
        self.asked = True
        if self.local:
            process = self.job._process
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
            return
        # Signals reach the steps; a job that has no step yet is cancelled where it waits.
        subprocess.run(["scancel", "--signal=TERM", str(self.job.job_id)], capture_output=True)
        subprocess.run(["scancel", "--state=PENDING", str(self.job.job_id)], capture_output=True)

    def words(self) -> str:
        """What was wrong."""
        return self.said


class SlurmLauncher:
    """Submits workers to Slurm.

    Args:
        folder: of logs and submissions; on the file system that all nodes share.
        gpus: GPUs per worker; with 0.25, four workers run as tasks of one job on one GPU.
        options: parameters of submitit: ``slurm_partition``, ``timeout_min``, ``mem_gb``, ``slurm_account``, ...
        cluster: ``slurm``, or ``local`` (submitit's stand-in, for tests).
    """

    def __init__(
        self, folder: Path, gpus: float = 0.0, options: Mapping[str, Any] | None = None, cluster: str = "slurm"
    ) -> None:
        self.folder, self.gpus, self.local = folder.absolute(), gpus, cluster == "local"
        self.poll_seconds = 0.25 if self.local else 2.0
        self.packed = int(1 / gpus + 1e-9) if 0 < gpus < 1 else 1
        try:
            self.executor = submitit.AutoExecutor(
                self.folder, cluster, **{f"{cluster}_max_num_timeout": REQUEUES, f"{cluster}_python": sys.executable}
            )
            self.options = {k: _value(v) for k, v in (options or {}).items()}
            self.executor.update_parameters(**{"name": "rlnet-bench", "timeout_min": 240, **self.options})
        except RuntimeError as error:  # no sbatch or srun here
            raise BadInput(f"--launcher slurm: {error}; run this on a login node of the cluster.") from None
        except (ValueError, NameError) as error:
            raise BadInput(f"--option: {error}") from None

    def submit(self, job: Job, count: int) -> Sequence[SlurmJob]:
        """Submit one array, a job per worker (or per GPU that workers share)."""
        tasks = min(count, self.packed)
        parameters: dict[str, Any] = {"cpus_per_task": job.threads, "tasks_per_node": tasks, "nodes": 1}
        if self.gpus:
            parameters["gpus_per_node"] = max(1, int(self.gpus))
        self.executor.update_parameters(**parameters)
        worker = SlurmWorker(job, str(self.folder))
        with self.executor.batch():
            submitted = [self.executor.submit(worker) for _ in range(-(-count // tasks))]
        return [SlurmJob(item, self.folder, self.local, tasks) for item in submitted]

    def close(self) -> None:
        """Nothing to let go of."""


def _value(text: Any) -> Any:
    """Numbers as numbers."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
