"""The local launcher: starts worker processes on this machine and replaces those that die.

A launcher only starts workers; which group is whose is settled by the store. Imports without torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from rlnet_bench.runs.plan import Plan
from rlnet_bench.runs.store import ENDED, Store

POLL_SECONDS = 0.25


@dataclass
class LocalWorkers:
    """A few ``rlnet_bench.runs.worker`` processes on one store and suite."""

    store: Store
    plan: Plan
    count: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    complaints: dict[int, IO[str]] = field(default_factory=dict)  # pid -> what it wrote to stderr

    def start(self) -> None:
        """Start as many workers as there is work for."""
        for _ in range(min(self.count, len(self.unfinished()))):
            self._spawn()

    def unfinished(self) -> list[str]:
        """Run ids of groups that have not ended."""
        return [g.run_id for g in self.plan.groups if self.store.status(g)["status"] not in ENDED]

    def _spawn(self) -> None:
        suite = f"{self.plan.suite.name}-v{self.plan.suite.version}"
        threads = str(self.plan.groups[0].config["threads"])
        # Thread pools read these once at import: dealing threads out must happen before.
        env = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        command = [sys.executable, "-m", "rlnet_bench.runs.worker", str(self.store.root), suite]
        # A file, not a pipe: nobody reads a pipe in time, and a full one would stop the worker.
        complaint = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=complaint, text=True, start_new_session=True
        )
        self.processes.append(process)
        self.complaints[process.pid] = complaint

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        """The end of what a worker wrote to stderr."""
        with self.complaints.pop(process.pid) as file:
            file.seek(0)
            return file.read().strip()[-2000:]

    def wait(self, on_poll: Callable[[], None]) -> str:
        """Wait until nothing is left to do; returns the workers' last complaint, if there was one."""
        complaint = ""
        try:
            while True:
                on_poll()
                for process in [p for p in self.processes if p.poll() is not None]:
                    self.processes.remove(process)
                    complaint = self._last_words(process) or complaint
                    killed = process.returncode is not None and process.returncode < 0
                    if killed and self.unfinished():  # the store counts attempts, so this cannot go on for ever
                        self._spawn()
                if not self.processes:
                    return complaint
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask the workers to checkpoint and leave, and wait for them."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()
