"""Workers: claim groups of a store until nothing is left. Launchers only start workers."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlnet_bench import trust
from rlnet_bench.errors import Interrupted, RlnetError, StoreError, said
from rlnet_bench.leash import follow
from rlnet_bench.runs.calibrate import cache_folder
from rlnet_bench.runs.callbacks import Callback, Event
from rlnet_bench.runs.files import DiskRefused, write_atomic, writing
from rlnet_bench.runs.launch import EXIT_FAILED, EXIT_STOPPED
from rlnet_bench.runs.lease import Lease, LeaseLost
from rlnet_bench.runs.loggers import Loggers
from rlnet_bench.runs.meter import Meter, learn
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.provenance import provenance
from rlnet_bench.runs.record_files import read_provenance, seals
from rlnet_bench.runs.store import Store
from rlnet_bench.vocabulary import Status

HEARTBEAT_SECONDS = 5.0


@dataclass
class Journal:
    """Checks the lease, and writes ``progress.json`` and ``log.txt`` for whoever watches."""

    folder: Path
    lease: Lease
    clock: Callable[[], float] = time.time
    last: float = field(default=-float("inf"))

    def on_event(self, event: Event) -> None:
        """Beat at most every second or so; log what is not mere progress."""
        now = self.clock()
        if event.kind == "progress":
            if now - self.last < HEARTBEAT_SECONDS / 5:
                return
            self.last = now
            self.lease.beat(self.clock)
            data = {k: event.data[k] for k in ("frames", "budget", "rate")}
            _write(self.folder / "progress.json", json.dumps(data), "w")
            return
        self.lease.beat(self.clock)
        if event.kind != "checkpoint":
            values = ", ".join(f"{k} {_text(v)}" for k, v in event.data.items())
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {event.kind}: {values}\n"
            _write(self.folder / "log.txt", line, "a")


def _said_before(folder: Path) -> bool:
    """Whether the worker that began this run said where that was; not if what it said is damaged."""
    try:
        return bool(read_provenance(folder / "provenance.json"))
    except StoreError:
        return False


def _write(path: Path, text: str, mode: str) -> None:
    with writing(path, "the records so far are safe"), path.open(mode, encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def heartbeat(lease: Lease, seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Beat in the background while the context lasts: one long evaluation must not look like a death."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            try:
                lease.beat()
            except StoreError:  # the journal says so at the next event
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _crashes_into(log: Path) -> Iterator[None]:
    """A crash of the interpreter (a segmentation fault, say) leaves its traceback in the group's log."""
    with writing(log, "the records so far are safe"):
        file = log.open("a")
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class CannotListen(RlnetError):
    """Raised when a logger fails: the worker cannot do as it was told, but the group has not failed."""


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    try:
        yield
    except RlnetError as error:
        raise CannotListen(str(error)) from error
    except Exception as error:
        raise CannotListen(
            f"a logger failed ({type(error).__name__}: {error}); the records so far are safe: mend it, or go on "
            f"without --log."
        ) from error


@dataclass(frozen=True)
class Listener:
    """A callback whose errors are its own."""

    callback: Callback

    def on_event(self, event: Event) -> None:
        """Pass an event on; raises CannotListen."""
        with _listening():
            self.callback.on_event(event)


class StopFlag:
    """Set by SIGTERM and SIGUSR1 (and SIGINT): finish the iteration, write a checkpoint, leave."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def install(self) -> StopFlag:
        """Listen in this process (main thread only)."""
        for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(name, self._on_signal)
        return self

    def _on_signal(self, number: int, *_: object) -> None:
        self.signal = number

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal is not None


def work_on(
    store: Store,
    group: Group,
    lease: Lease,
    should_stop: Callable[[], bool] = lambda: False,
    callbacks: Callable[[Group], tuple[Callback, ...]] = lambda group: (),
    calibrations: Path | None = None,
    checkpoint_seconds: float | None = None,
) -> str:
    """Run one claimed group to its end; returns its status. What it cost is kept in ``calibrations``.

    An error of the work makes the group ``failed`` with the reason, keeps its traceback in ``log.txt`` and
    does not stop the worker. That includes an OSError of a method or an environment (a file that it misses):
    only what the store's own writers say is the disk's fault.

    Raises:
        Interrupted: after a clean stop; the group is free again.
        LeaseLost: when another worker took the group over.
        DiskRefused, CannotListen: when the disk refuses, or a logger fails; the group is free again, and this is no
            failed attempt.
    """
    from rlnet_bench.runs.loop import run_group

    folder = store.folder(group)
    journal, meter = Journal(folder, lease), Meter()
    try:
        if not _said_before(folder):
            write_atomic(folder / "provenance.json", json.dumps(provenance(), indent=1) + "\n")
        with heartbeat(lease), _crashes_into(folder / "log.txt"):
            with _listening():
                listeners = [Listener(callback) for callback in callbacks(group)]
            outcome = run_group(
                folder,
                group.config,
                callbacks=(journal, meter, *listeners),
                should_stop=should_stop,
                checkpoint_seconds=checkpoint_seconds,
            )
        lease.beat()
        status: Status = "diverged" if all(s == "diverged" for s in outcome.seeds.values()) else "ok"
        if calibrations is not None and status == "ok":
            with contextlib.suppress(OSError):  # an estimate for others is worth no group
                learn(group.config, meter.calibration(folder), calibrations)
        divergences = [d.to_json() for d in outcome.divergences]
        with _still_ours(store, lease):
            store.set_status(group, status, outcome.seeds, divergences=divergences, sealed=seals(folder))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # nothing is left to go on with
        return status
    except LeaseLost:
        raise
    except (Interrupted, DiskRefused, CannotListen) as error:
        with contextlib.suppress(DiskRefused), _still_ours(store, lease):  # a full disk may refuse this, too
            store.forgive(group)
            if isinstance(error, CannotListen):
                _write(folder / "log.txt", traceback.format_exc(), "a")
        raise
    except Exception as error:  # a failed group must not take the grid down with it
        with _still_ours(store, lease):
            with contextlib.suppress(StoreError):
                _write(folder / "log.txt", traceback.format_exc(), "a")
            store.set_status(group, "failed", reason=said(error))
        return "failed"
    finally:
        lease.release()


@contextlib.contextmanager
def _still_ours(store: Store, lease: Lease) -> Iterator[None]:
    """While the context lasts, nobody can claim the group; raises LeaseLost when somebody has."""
    with store.locked():
        lease.confirm()
        yield


def work(
    store: Store,
    groups: Iterable[Group],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_group: Callable[[Group, str], None] = lambda group, status: None,
    callbacks: Callable[[Group], tuple[Callback, ...]] = lambda group: (),
    calibrations: Path | None = None,
    checkpoint_seconds: float | None = None,
) -> list[Group]:
    """Claim and run groups until none is left to claim; returns those that failed here.

    Args:
        store: where they are claimed.
        groups: in the order in which they are tried.
        should_stop: asked between iterations.
        on_group: told what becomes of every group that was claimed.
        callbacks: makes what listens to a group's events.
        calibrations: where the costs of what was run are kept for later plans; nowhere by default.
        checkpoint_seconds: time between the checkpoints of a group, where not the usual one.
    """
    import rlnet_bench.runs.loop  # noqa: F401  # before anything is claimed: a broken torch is no group's fault

    failed: list[Group] = []
    left, claimed = list(groups), True
    while claimed:  # once more: meanwhile, workers may have died and left theirs
        claimed = False
        for group in list(left):
            if should_stop():
                return failed
            lease = store.claim(group)
            if lease is None:
                continue
            claimed = True
            on_group(group, "started")
            try:
                status = work_on(store, group, lease, should_stop, callbacks, calibrations, checkpoint_seconds)
            except Interrupted:
                on_group(group, "interrupted")
                return failed
            except LeaseLost:
                on_group(group, "taken over")
                continue
            on_group(group, status)
            left.remove(group)
            if status == "failed":
                failed.append(group)
    return failed


def _terminate() -> None:
    """SIGTERM to the main thread: whatever it sleeps in is interrupted, as by a signal from outside."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def main(arguments: list[str], stop: StopFlag | None = None) -> int:
    """``python -m rlnet_bench.runs.worker STORE SUITE [OPTION ...]``: what launchers start.

    Options: ``--plan=DIGEST``, ``--code=JSON`` (what may be imported), ``--log=NAME`` (may be repeated),
    ``--checkpoint-every=SECONDS``, ``--leash=DESCRIPTOR`` (the end of that inherited pipe is the end of whoever
    started this: the same as SIGTERM).

    Returns:
        0 when nothing is left to claim, :data:`~rlnet_bench.runs.launch.EXIT_FAILED` when groups failed here,
        2 when the store refuses or a logger fails, and :data:`~rlnet_bench.runs.launch.EXIT_STOPPED` when it was
        asked to leave.
    """
    root, suite, *options = arguments
    stop = (stop or StopFlag()).install()
    for leash in _options(options, "leash"):
        follow(int(leash), _terminate)

    def say(group: Group, status: str) -> None:
        print(json.dumps({"run_id": group.run_id, "event": status, "what": group.describe()}), flush=True)

    try:
        for text in _options(options, "code"):
            trust.accept(trust.from_text(text))
        store = Store(root).checked()
        digests = _options(options, "plan")
        plan = store.kept_plan(digests[0]) if digests else store.plan(suite)
        every = _options(options, "checkpoint-every")
        with Loggers(_options(options, "log"), store, plan.suite.name) as loggers:
            failed = work(
                store,
                plan.groups,
                should_stop=stop,
                on_group=say,
                callbacks=loggers.of,
                calibrations=cache_folder(),
                checkpoint_seconds=float(every[0]) if every else None,
            )
    except RlnetError as error:
        print(str(error), file=sys.stderr)
        return 2
    return EXIT_STOPPED if stop() else EXIT_FAILED if failed else 0


def _options(options: list[str], name: str) -> list[str]:
    """The values of ``--name=value``."""
    return [option.removeprefix(f"--{name}=") for option in options if option.startswith(f"--{name}=")]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
