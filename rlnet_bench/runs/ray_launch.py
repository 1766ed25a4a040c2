"""The Ray launcher: each worker is a process beside an actor, on whichever machine has room.

Ray gives machines and GPUs to workers, and tells which were lost; what is done and what is left is known
by the store alone. Losing a node, or all of Ray, loses nothing but the time since the last checkpoint. On a running
cluster the actors are detached: they go on when the driver is gone, and leave when their worker has.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of what runs here

import ray
from ray.exceptions import RayError, RayTaskError

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.launch import Ending, Job
from rlnet_bench.runs.local_launch import LocalLauncher

LAST_CALL_SECONDS = 30.0  # so long an actor waits for somebody who asks how its worker ended


class Seat:
    """The actor: starts a worker as the local launcher does, which ends with the actor, and with it alone."""

    def __init__(self, job: Job) -> None:
        folder = job.folder if os.path.isdir(job.folder) else os.getcwd()
        self.launcher = LocalLauncher()
        (self.process,) = self.launcher.submit(replace(job, folder=folder), 1)
        threading.Thread(target=self._leave, daemon=True).start()

    def _leave(self) -> None:
        self.process.popen.wait()
        time.sleep(LAST_CALL_SECONDS)
        os._exit(0)

    def ending(self) -> tuple[str, str] | None:
        """How the worker ended, and its last words; None while it lives."""
        found = self.process.poll()
        return None if found is None else (found.value, self.process.words())

    def stop(self) -> None:
        """SIGTERM: checkpoint and leave."""
        self.process.stop()


@dataclass
class Worker:
    """A worker as the driver sees it."""

    seat: Any
    question: Any = None  # how it ended: asked, and not answered yet
    seated: bool = False
    dismissed: bool = False
    said: str = ""

    def poll(self) -> Ending | None:
        """How it ended; None while it works or waits for resources."""
        if self.dismissed:
            return Ending.stopped
        self.question = self.question or self.seat.ending.remote()
        if not ray.wait([self.question], timeout=0)[0]:
            return None
        question, self.question = self.question, None
        try:
            answer = ray.get(question)
        except RayTaskError as error:  # it raised: an import that fails on that node, for instance
            self.said = str(error)[-2000:]
            return Ending.broken
        except RayError as error:  # its process or its node is gone
            self.said = f"{type(error).__name__}: a worker was lost and replaced."
            return Ending.died
        self.seated = True
        if answer is None:
            return None
        ending, self.said = answer
        ray.kill(self.seat)
        return Ending(ending)

    def stop(self) -> None:
        """Ask it to checkpoint and leave; what still waits for resources is just taken out."""
        if self.seated:
            self.seat.stop.remote()
        else:  # should it start this very moment, its worker ends with it
            ray.kill(self.seat)
            self.dismissed = True

    def words(self) -> str:
        """What was wrong."""
        return self.said


class RayLauncher:
    """Starts workers through Ray.

    Args:
        gpus: GPUs per worker; fractions share one.
        address: of a running cluster (``auto``, ``host:6379``, ``ray://host:10001``); none starts Ray here.
        resources: custom resources per worker; ``num_cpus`` and ``memory`` (bytes) are Ray's own.
    """

    poll_seconds = 0.25

    def __init__(
        self, gpus: float = 0.0, address: str | None = None, resources: Mapping[str, float] | None = None
    ) -> None:
        self.gpus, self.resources = gpus, dict(resources or {})
        self.mine = not ray.is_initialized()
        if self.mine:
            local: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise BadInput(
                    f"--address {address}: no Ray cluster answers ({error}); start one with `ray start --head`."
                ) from None

    def submit(self, job: Job, count: int) -> Sequence[Worker]:
        """Start actors; Ray queues those for which there is no room yet."""
        own = {k: v for k, v in self.resources.items() if k not in ("num_cpus", "memory")}
        need: dict[str, Any] = {"num_cpus": self.resources.get("num_cpus", job.threads), "num_gpus": self.gpus}
        if "memory" in self.resources:
            need["memory"] = int(self.resources["memory"])
        self._refuse_impossible({"CPU": need["num_cpus"], "GPU": self.gpus, **own})
        # Retries are ours, as for every engine: the store counts them per group.
        actor = ray.remote(max_restarts=0, max_task_retries=0, **need)(Seat)

        def start() -> Worker:
            options = {"lifetime": "detached", "name": f"rlnet-bench-{uuid.uuid4().hex}", "namespace": "rlnet-bench"}
            return Worker(actor.options(resources=own, **options).remote(job))

        return [start() for _ in range(count)]

    @staticmethod
    def _refuse_impossible(need: Mapping[str, float]) -> None:
        """A task that fits on no node would wait for ever."""
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        if any(all(node.get(k, 0) >= v for k, v in need.items()) for node in nodes):
            return
        best = {k: max((node.get(k, 0) for node in nodes), default=0) for k in need}
        wants = ", ".join(f"{v:g} {k}" for k, v in need.items() if v)
        has = ", ".join(f"{v:g} {k}" for k, v in best.items())
        raise BadInput(f"ray: a worker needs {wants}; the nodes of this cluster have at most {has}.")

    def close(self) -> None:
        """Leave the cluster (and end it, when it was started here)."""
        if self.mine:
            ray.shutdown()
