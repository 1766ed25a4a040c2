"""The Ray launcher: each task runs the worker loop on the shared store.

Ray gives machines and GPUs to workers, and tells which were lost; what is done and what is left is known
by the store alone. Losing a node, or all of Ray, loses nothing but the time since the last checkpoint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of what runs here

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.launch import ENDINGS, Ending, Job


def _work(arguments: list[str], folder: str) -> int:
    """The task: the loop of ``python -m rlnet_bench.runs.worker``, in Ray's own process."""
    from rlnet_bench.runs.worker import main

    if os.path.isdir(folder):
        os.chdir(folder)
    return main(arguments)


@dataclass
class Task:
    """A worker as a Ray task."""

    reference: Any
    said: str = ""

    def poll(self) -> Ending | None:
        """How it ended; None while it works or waits for resources."""
        if not ray.wait([self.reference], timeout=0)[0]:
            return None
        try:
            code = ray.get(self.reference)
        except TaskCancelledError:
            return Ending.stopped
        except RayTaskError as error:  # it raised: an import that fails on that node, for instance
            self.said = str(error)[-2000:]
            return Ending.broken
        except RayError as error:  # its process or its node is gone
            self.said = f"{type(error).__name__}: a worker was lost and replaced."
            return Ending.died
        return ENDINGS.get(code, Ending.broken)

    def stop(self) -> None:
        """Ray interrupts the task, which the worker hears as SIGINT: checkpoint and leave."""
        ray.cancel(self.reference, force=False)

    def words(self) -> str:
        """What was wrong."""
        return self.said


class RayLauncher:
    """Starts workers as Ray tasks.

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

    def submit(self, job: Job, count: int) -> Sequence[Task]:
        """Start tasks; Ray queues those for which there is no room yet."""
        own = {k: v for k, v in self.resources.items() if k not in ("num_cpus", "memory")}
        need: dict[str, Any] = {"num_cpus": self.resources.get("num_cpus", job.threads), "num_gpus": self.gpus}
        if "memory" in self.resources:
            need["memory"] = int(self.resources["memory"])
        self._refuse_impossible({"CPU": need["num_cpus"], "GPU": self.gpus, **own})
        # Retries are ours, as for every engine: the store counts them per group.
        remote = ray.remote(max_retries=0, max_calls=1, **need)(_work)
        options = remote.options(resources=own, runtime_env={"env_vars": job.environment()})
        return [Task(options.remote(job.arguments(), job.folder)) for _ in range(count)]

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
