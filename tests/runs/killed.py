"""kill -9 at a chosen moment, in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.store import Store


def killed_at_write(n: int, work: Callable[[], object]) -> bool:
    """Do it in a fork of this process, shot just before its n-th write to the disk; False when it ended before.

    Writes are what makes a difference to whoever comes later: folders made, files flushed, renamed, removed.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            with at_write(n, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


class Shot:
    """Whether the moment has come."""

    done = False


@contextlib.contextmanager
def at_write(n: int, action: Callable[[], object]) -> Iterator[Shot]:
    """While the context lasts, do something just before this process's n-th write to the disk."""
    left, shot = n, Shot()
    names = ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir")
    calls = {name: getattr(os, name) for name in names}

    def restore() -> None:
        for name, call in calls.items():
            setattr(os, name, call)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                shot.done = True
                restore()
                action()
            return call(*arguments, **options)

        return wrapped

    for name, call in calls.items():
        setattr(os, name, counted(call))
    try:
        yield shot
    finally:
        restore()


class Victims:
    """Workers in processes of their own that write a checkpoint after every iteration, to be shot from outside.

    They are forked off a clean server that has imported what they need, so that each starts at once.
    """

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["rlnet_bench.runs.loop", "rlnet_bench.networks.method", __name__])

    def finish(self, root: Path) -> list[float]:
        """Work through a store undisturbed; returns the seconds at which it wrote its checkpoints."""
        told, process = self._start(root)
        seconds = []
        with contextlib.suppress(EOFError):
            while True:
                seconds.append(told.recv()[1])
        process.join()
        assert process.exitcode == 0
        return seconds

    def shoot(self, root: Path, beyond: int, delay: float) -> bool:
        """Work on a store, shot with ``kill -9`` some seconds after its first checkpoint beyond so many frames.

        Returns:
            False when the worker was done before.
        """
        told, process = self._start(root)
        frames = -1
        with contextlib.suppress(EOFError):
            while frames <= beyond:
                frames = told.recv()[0]
            process.join(delay)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL

    def _start(self, root: Path) -> tuple[Connection, BaseProcess]:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(str(root), theirs))
        process.start()
        theirs.close()
        return ours, process


class _Tell:
    """Says how many frames each checkpoint has, and when it was whole."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def on_event(self, event: Event) -> None:
        if event.kind == "checkpoint":
            with contextlib.suppress(BrokenPipeError):
                self.pipe.send((event.data["frames"], time.monotonic()))


def _work(root: str, pipe: Connection) -> None:
    from rlnet_bench.runs.worker import work

    store = Store(root)
    work(store, store.plan().groups, callbacks=lambda group: (_Tell(pipe),), checkpoint_seconds=0.0)
