"""Fault injection for :mod:`rlnet_bench.runs.check`: stop a run anywhere, harm its files, go on.

Everything happens inside one process. A fault is raised from a callback, or in the middle of a write to
the disk; afterwards files may be cut or changed, as a crash of the machine would leave them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.segments import ROWS

ATTEMPTS = 3  # interruptions of one run


class Fault(BaseException):
    """The injected interruption; nothing in a run may catch it for good."""


class Bomb:
    """A callback that raises :class:`Fault` at its ``n``-th event; never when ``n`` is 0."""

    def __init__(self, n: int = 0) -> None:
        self.n, self.seen = n, 0

    def on_event(self, event: Event) -> None:
        """Count, and perhaps explode."""
        self.seen += 1
        if self.seen == self.n:
            raise Fault(f"at event {self.n} ({event.kind})")


class Disk:
    """Counts writes to the disk, and breaks off in the middle of the ``n``-th; never when ``n`` is 0."""

    def __init__(self, n: int = 0) -> None:
        self.n, self.seen = n, 0

    def _reached(self) -> bool:
        self.seen += 1
        return self.seen == self.n

    @contextlib.contextmanager
    def watched(self) -> Iterator[Disk]:
        """Watch ``os.write``, ``os.fsync`` and ``os.replace`` while the context lasts."""
        write, fsync, replace = os.write, os.fsync, os.replace

        def half_write(descriptor: int, data: Any) -> int:
            if self._reached():
                write(descriptor, data[: len(data) // 2])
                raise Fault("in the middle of a write")
            return write(descriptor, data)

        def no_fsync(descriptor: int) -> None:
            if self._reached():
                raise Fault("before a flush to the disk")
            fsync(descriptor)

        def no_replace(source: Any, target: Any) -> None:
            if self._reached():
                raise Fault("before a rename")
            replace(source, target)

        os.write, os.fsync, os.replace = half_write, no_fsync, no_replace  # type: ignore[assignment]
        try:
            yield self
        finally:
            os.write, os.fsync, os.replace = write, fsync, replace


def torment(folder: Path, run: Callable[..., Any], events: int, writes: int, draw: random.Random) -> list[str]:
    """Interrupt a run a few times at random points, harming its files in between; then let it finish.

    Args:
        folder: the run directory.
        run: ``run(folder, callbacks=..., checkpoint_seconds=..., clock=...)``.
        events: how many events an uninterrupted run has.
        writes: how many writes to the disk it makes.
        draw: decides everything.

    Returns:
        What was done, in words.
    """
    story: list[str] = []
    for _ in range(ATTEMPTS):
        bomb, disk = Bomb(), Disk()
        if draw.random() < 0.5:
            bomb.n = draw.randint(1, events)
        else:
            disk.n = draw.randint(1, writes)
        try:
            with disk.watched():
                run(folder, callbacks=(bomb,), checkpoint_seconds=draw.choice((0.0, 7.0)), clock=ticking())
        except Fault as fault:
            story.append(f"stopped {fault}")
            story.append(draw.choice(HARMS)(folder, draw))
    run(folder, callbacks=(), checkpoint_seconds=0.0, clock=ticking())
    return story


def ticking() -> Callable[[], float]:
    """A clock on which every look takes a second."""
    return map(float, itertools.count()).__next__


def _nothing(folder: Path, draw: random.Random) -> str:
    return "files left as they were"


def _cut_records(folder: Path, draw: random.Random) -> str:
    return _cut(folder / "evals.jsonl", draw)


def _cut_timings(folder: Path, draw: random.Random) -> str:
    return _cut(folder / "timings.jsonl", draw)


def _lose_records(folder: Path, draw: random.Random) -> str:
    (folder / "evals.jsonl").unlink(missing_ok=True)
    return "evals.jsonl lost"


def _cut_checkpoint(folder: Path, draw: random.Random) -> str:
    newest = _newest(folder)
    return _cut(newest / draw.choice(("state.safetensors", "state.json")), draw) if newest else "no checkpoint yet"


def _change_checkpoint(folder: Path, draw: random.Random) -> str:
    newest = _newest(folder)
    if newest is None or not (newest / "state.safetensors").exists():
        return "no checkpoint yet"
    file = newest / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 0xFF
    file.write_bytes(bytes(data))
    return "one byte of the newest checkpoint changed"


def _harm_rows(folder: Path, draw: random.Random) -> str:
    """A segment of a replay, of either kept checkpoint: cut, changed by one bit, or lost."""
    files = sorted((folder / "checkpoints" / ROWS).glob("[!.]*"))
    if not files:
        return "no rows yet"
    file, kind = draw.choice(files), draw.randrange(3)
    if kind == 0:
        return _cut(file, draw)
    if kind == 1:
        file.unlink()
        return "a segment lost"
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(bytes(data))
    return "one bit of a segment changed"


def _damage_all_checkpoints(folder: Path, draw: random.Random) -> str:
    for file in folder.glob("checkpoints/*/state.json"):
        file.write_text("{")
    return "all checkpoints damaged"


def _lose_checkpoint(folder: Path, draw: random.Random) -> str:
    newest = _newest(folder)
    if newest:
        shutil.rmtree(newest)
    return "newest checkpoint lost"


HARMS = (
    _nothing, _nothing, _cut_records, _cut_timings, _lose_records, _cut_checkpoint, _change_checkpoint,
    _harm_rows, _damage_all_checkpoints, _lose_checkpoint,
)  # fmt: skip


def _cut(file: Path, draw: random.Random) -> str:
    if not file.exists() or not file.stat().st_size:
        return f"no {file.name} yet"
    size = draw.randrange(file.stat().st_size)
    os.truncate(file, size)
    return f"{file.name} cut at byte {size}"


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("checkpoints/[0-9]*"), default=None)
