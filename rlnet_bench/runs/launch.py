"""Launchers start workers, nothing more. Which group is whose is settled by the store.

An engine (this machine, Ray, Slurm) is a :class:`Launcher`: it starts workers and hands out a
:class:`Handle` for each. :class:`Workers` is the loop that all engines share: start as many as there is
work for, replace those that died, wait for what others hold, stop cleanly. Imports without torch.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from rlnet_bench.errors import BadInput, MissingExtra
from rlnet_bench.runs.plan import Plan, wanted
from rlnet_bench.runs.store import ENDED, Store
from rlnet_bench.trust import Code, handed, to_text

DEATHS_WITHOUT_WORK = 3  # this many workers in a row that ended before they claimed anything: give up
ASK_AGAIN_SECONDS = 3.0
LOOK_SECONDS = 5.0  # between looks at groups that workers of somebody else hold


class Ending(StrEnum):
    """How a worker ended."""

    done = "done"  # nothing was left to claim
    stopped = "stopped"  # it was asked to leave, wrote a checkpoint and left
    died = "died"  # it was killed, or its machine was lost
    broken = "broken"  # it could not work: its words say why


# What the process of a worker returns. Anything else is broken: Python itself returns 1 for what nobody caught.
EXIT_FAILED = 3
EXIT_STOPPED = 75
ENDINGS = {0: Ending.done, EXIT_FAILED: Ending.done, EXIT_STOPPED: Ending.stopped}


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; the same for all workers of a launch."""

    store: str  # absolute
    suite: str  # name-vN
    threads: int = 1
    folder: str = field(default_factory=os.getcwd)  # where file.py:Class and file.yaml are looked up
    loggers: tuple[str, ...] = ()
    checkpoint_seconds: float | None = None
    plan: str = ""  # its digest; without one (a job that an older version queued), the newest of that name
    code: tuple[Code, ...] = ()  # all that its workers may import besides what is installed

    def arguments(self) -> list[str]:
        """The arguments of ``python -m rlnet_bench.runs.worker``."""
        plan = [f"--plan={self.plan}"] if self.plan else []
        every = [] if self.checkpoint_seconds is None else [f"--checkpoint-every={self.checkpoint_seconds}"]
        code = [f"--code={to_text(self.code)}"] if self.code else []
        return [self.store, self.suite, *plan, *every, *code, *(f"--log={name}" for name in self.loggers)]

    def environment(self) -> dict[str, str]:
        """Variables that thread pools read once, when they are imported: threads are dealt out before."""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return dict.fromkeys(names, str(self.threads))


class Handle(Protocol):
    """One started worker."""

    def poll(self) -> Ending | None:
        """How it ended; None while it works or waits for its turn."""
        ...

    def stop(self) -> None:
        """Ask it to checkpoint and leave; returns at once."""
        ...

    def words(self) -> str:
        """The end of what it complained about; asked once, after it ended."""
        ...


class Launcher(Protocol):
    """An engine that starts workers."""

    poll_seconds: float

    def submit(self, job: Job, count: int) -> Sequence[Handle]:
        """Start ``count`` workers.

        Raises:
            BadInput: when the engine can never give a worker what it needs.
        """
        ...

    def close(self) -> None:
        """Let go of the engine; workers have ended."""
        ...


@dataclass
class Workers:
    """The workers of one ``run`` on one store and suite."""

    store: Store
    plan: Plan
    count: int
    launcher: Launcher
    loggers: tuple[str, ...] = ()
    checkpoint_seconds: float | None = None
    handles: list[Handle] = field(default_factory=list)
    in_vain: int = 0  # workers in a row that were started for a free group, and claimed none
    claims: list[tuple[int, int]] = field(default_factory=list)  # when the last of them was started

    def start(self) -> None:
        """Start as many workers as there is work for."""
        wanted = min(self.count, len(self.unfinished()))
        self.store.sweep()
        if wanted:
            self._submit(wanted)

    def unfinished(self) -> list[str]:
        """Run ids of groups that have not ended."""
        return [g.run_id for g in self.plan.groups if self.store.status(g)["status"] not in ENDED]

    def _submit(self, count: int) -> None:
        suite = self.plan.suite
        threads = self.plan.groups[0].config["threads"]
        root = str(Path(self.store.root).absolute())
        name, digest = f"{suite.name}-v{suite.version}", self.store.keep_plan(self.plan)
        code = handed(wanted(self.plan.groups))
        job = Job(
            root,
            name,
            threads,
            loggers=self.loggers,
            checkpoint_seconds=self.checkpoint_seconds,
            plan=digest,
            code=code,
        )
        self.handles += self.launcher.submit(job, count)

    def wait(self, on_poll: Callable[[], None]) -> str:
        """Wait until nothing is left to do; returns the workers' last complaint, if there was one.

        Workers that died are replaced; the store counts attempts, so this cannot go on for ever. When the
        last groups are held by workers of somebody else, this waits for them, and takes over what they drop.
        """
        complaint, broke, deaths = "", False, 0
        claims: list[tuple[int, int]] = []
        try:
            while True:
                on_poll()
                endings = []
                for handle in list(self.handles):
                    ending = handle.poll()
                    if ending is None:
                        continue
                    self.handles.remove(handle)
                    endings.append(ending)
                    words = handle.words()
                    if words and (ending is Ending.broken or not broke):  # not what the others merely mention
                        complaint = words
                    broke = broke or ending is Ending.broken
                    if ending is Ending.died and self.unfinished():
                        now = self._claims()
                        deaths = deaths + 1 if now == claims else 1
                        claims = now
                        if deaths < DEATHS_WITHOUT_WORK:
                            self._submit(1)
                if not self.handles:
                    gave_up = deaths >= DEATHS_WITHOUT_WORK or any(e is not Ending.done for e in endings)
                    if gave_up or not self._take_over(on_poll):
                        return self._in_vain(complaint)
                time.sleep(self.launcher.poll_seconds)
        except BaseException:
            self.stop()
            raise

    def _claims(self) -> list[tuple[int, int]]:
        """Changes whenever a group is claimed."""
        found = [self.store.status(g) for g in self.plan.groups]
        return [(status["attempts"], status["reached"]) for status in found]

    def _take_over(self, on_poll: Callable[[], None]) -> bool:
        """Wait while others hold what is left; True when a group became free and a worker was started for it.

        Not when such workers claimed nothing, again and again: they would for ever.
        """
        while left := set(self.unfinished()):
            if any(self.store.holder(g) is None for g in self.plan.groups if g.run_id in left):
                now = self._claims()
                self.in_vain, self.claims = self.in_vain + 1 if now == self.claims else 0, now
                if self.in_vain >= DEATHS_WITHOUT_WORK:
                    return False
                self._submit(1)
                return True
            on_poll()
            time.sleep(min(LOOK_SECONDS, 4 * self.launcher.poll_seconds))
        return False

    def _in_vain(self, complaint: str) -> str:
        """The complaint, and that workers found nothing to claim, where that is why this ended."""
        if self.in_vain < DEATHS_WITHOUT_WORK:
            return complaint
        sentence = (
            f"{self.store.root}: {len(self.unfinished())} groups are left and free, but {self.in_vain} workers in a "
            f"row ended without claiming one. Do all machines run the same version? `rlnet-bench resume` tries again."
        )
        return f"{sentence}\n{complaint}".strip()

    def stop(self) -> None:
        """Ask the workers to checkpoint and leave, and wait for them."""
        asked = -float("inf")
        while self.handles:
            if time.monotonic() - asked > ASK_AGAIN_SECONDS:  # a worker that was still starting did not hear it
                asked = time.monotonic()
                for handle in self.handles:
                    handle.stop()
            self.handles = [h for h in self.handles if h.poll() is None]
            time.sleep(0.05 if self.handles else 0)


EXTRAS = {"local": None, "ray": "ray", "slurm": "submitit"}  # the package that an engine needs


def require_engine(engine: str) -> None:
    """Raise BadInput for an unknown engine, and MissingExtra when its package is not installed."""
    if engine not in EXTRAS:
        raise BadInput(f"--launcher {engine!r}: expected local, ray or slurm.")
    package = EXTRAS[engine]
    if package is not None and importlib.util.find_spec(package) is None:
        raise MissingExtra(package, engine, f"--launcher {engine}")


def make_launcher(engine: str, store: Store, *, device: str = "cpu", gpus: float | None = None,
                  address: str | None = None, options: Sequence[str] = ()) -> Launcher:  # fmt: skip
    """A launcher by name.

    Args:
        engine: ``local``, ``ray`` or ``slurm``.
        store: where its logs go.
        device: of the plan; a worker on ``cuda`` gets a whole GPU unless ``gpus`` says otherwise.
        gpus: GPUs per worker; a fraction packs several on one.
        address: of a Ray cluster; a new one on this machine when not given.
        options: ``key=value``: resources per worker (Ray), parameters of sbatch (Slurm).

    Raises:
        BadInput: for an unknown engine, or an option that it does not take.
        MissingExtra: when its package is not installed.
    """
    from rlnet_bench.runs.local_launch import LocalLauncher

    require_engine(engine)
    share = gpus if gpus is not None else (1.0 if device.startswith("cuda") else 0.0)
    if share < 0 or (share > 1 and share != int(share)):
        raise BadInput(f"--gpus {share}: expected a fraction of a GPU between 0 and 1, or a whole number of them.")
    parsed = dict(_option(text) for text in options)
    if address is not None and engine != "ray":
        raise BadInput(f"--address {address}: only --launcher ray takes an address, found {engine!r}.")
    if engine == "local":
        if parsed:
            raise BadInput(f"--option {options[0]}: the local launcher takes no options.")
        return LocalLauncher(share)
    if engine == "ray":
        from rlnet_bench.runs.ray_launch import RayLauncher

        return RayLauncher(share, address, _numbers(parsed))
    from rlnet_bench.runs.slurm_launch import SlurmLauncher

    return SlurmLauncher(store.root / "slurm", share, parsed)


def _option(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise BadInput(f"--option {text!r}: expected key=value.")
    return key, value


def _numbers(parsed: dict[str, str]) -> dict[str, float]:
    try:
        return {k: float(v) for k, v in parsed.items()}
    except ValueError:
        raise BadInput(f"--option: expected resource=number for Ray, found {parsed}.") from None
