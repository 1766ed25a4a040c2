"""The local launcher: worker processes on this machine, several per GPU where there are GPUs.

They end with this process, whatever ends it: see :mod:`rlnet_bench.leash`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from rlnet_bench.errors import BadInput
from rlnet_bench.leash import Leash
from rlnet_bench.runs.launch import ENDINGS, Ending, Job
from rlnet_bench.runs.limits import Limits
from rlnet_bench.trust import search_path

LAST_WORDS = 2000


@dataclass
class Process:
    """A worker process."""

    popen: subprocess.Popen[str]
    complaint: IO[str]  # its stderr: a file, as nobody reads a pipe in time, and a full one would stop the worker
    gpu: str | None = None

    def poll(self) -> Ending | None:
        """How it ended; None while it lives."""
        code = self.popen.poll()
        if code is None:
            return None
        return Ending.died if code < 0 else ENDINGS.get(code, Ending.broken)

    def stop(self) -> None:
        """SIGTERM: checkpoint and leave."""
        self.popen.send_signal(signal.SIGTERM)

    def words(self) -> str:
        """The end of what it wrote to stderr."""
        with self.complaint as file:
            file.seek(0)
            return file.read().strip()[-LAST_WORDS:]


@dataclass
class LocalLauncher:
    """Starts worker processes; with a share of a GPU, deals the GPUs out through CUDA_VISIBLE_DEVICES."""

    gpus: float = 0.0
    devices: Sequence[str] | None = None  # the GPUs of this machine by default
    poll_seconds: float = 0.25
    limits: Limits | None = None  # of workers that run somebody else's code
    started: list[Process] = field(default_factory=list)
    leash: Leash = field(default_factory=Leash)

    def submit(self, job: Job, count: int) -> Sequence[Process]:
        """Start processes; raises BadInput when the GPUs are too few."""
        return [self._spawn(job) for _ in range(count)]

    def _spawn(self, job: Job) -> Process:
        around = dict(os.environ) if self.limits is None else self.limits.environment(str(job.folder))
        env, gpu = {**around, **job.environment(), "PYTHONPATH": search_path()}, None
        if self.gpus:
            gpu = self._free_gpus()
            env["CUDA_VISIBLE_DEVICES"] = gpu
        command = [sys.executable, "-P", "-m", "rlnet_bench.runs.worker", *job.arguments(), f"--leash={self.leash.end}"]
        complaint = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        popen = subprocess.Popen(
            command, env=env, cwd=job.folder, stdout=subprocess.DEVNULL, stderr=complaint, text=True,
            start_new_session=True, pass_fds=(self.leash.end,),
            preexec_fn=None if self.limits is None else self.limits.apply,
        )  # fmt: skip
        process = Process(popen, complaint, gpu)
        self.started.append(process)
        return process

    def _free_gpus(self) -> str:
        """The GPU with the fewest living workers, or several whole ones."""
        devices = list(self.devices if self.devices is not None else visible_gpus())
        self.started = [p for p in self.started if p.popen.poll() is None]
        load = {d: sum(d in (p.gpu or "").split(",") for p in self.started) for d in devices}
        per_gpu = int(1 / self.gpus + 1e-9) if self.gpus <= 1 else 1
        wanted = max(1, int(self.gpus))
        free = sorted((d for d in devices if load[d] < per_gpu), key=lambda d: (load[d], devices.index(d)))
        if len(free) < wanted:
            slots = len(devices) * per_gpu // wanted
            raise BadInput(
                f"--gpus {self.gpus:g}: this machine has {len(devices)} GPUs, room for {slots} workers, and "
                f"{len(self.started) + 1} were asked for; use --workers {slots}."
                if slots
                else f"--gpus {self.gpus:g}: this machine has {len(devices)} GPUs; use --device cpu or another machine."
            )
        return ",".join(free[:wanted])

    def close(self) -> None:
        """Let go of the workers: those that are still there checkpoint and leave."""
        self.leash.close()


def visible_gpus() -> list[str]:
    """The GPUs that a worker may use: CUDA_VISIBLE_DEVICES where it is set, else what nvidia-smi lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [d for d in named.split(",") if d and d != "-1"]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, _ in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU "))]
