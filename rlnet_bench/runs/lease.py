"""Leases: who works on a group, and whether they are alive. Imports without torch.

A lease is a file with a heartbeat (its modification time). Where process ids mean the same to the reader as to
the owner, a dead owner is seen at once; elsewhere (another machine, another container of this one) silence
decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.shapes import Maybe
from rlnet_bench.runs.files import DiskRefused, read_mapping, write_atomic, writing
from rlnet_bench.runs.process import alive, place

LEASE_SECONDS = 120.0  # a lease without a heartbeat for this long is dead

Clock = Callable[[], float]


class LeaseLost(StoreError):
    """Raised when another worker has taken a group over (this one seemed dead)."""


@dataclass(frozen=True)
class Lease:
    """The right to work on a group, as its owner holds it."""

    path: Path
    owner: str

    def beat(self, clock: Clock = time.time) -> None:
        """Say that the owner is alive; raises LeaseLost when another has the lease, DiskRefused when none can say."""
        try:
            mine = self._is_mine()
        except StoreError as error:
            raise DiskRefused(str(error)) from error
        if not mine:
            raise self._lost()
        now = clock()
        with writing(self.path):
            os.utime(self.path, (now, now))

    def confirm(self) -> None:
        """Before anything is said of the group: raises LeaseLost when another has the lease.

        Where the disk does not say who has it, nobody else has taken it.
        """
        try:
            mine = self._is_mine()
        except StoreError:
            return
        if not mine:
            raise self._lost()

    def release(self) -> None:
        """Give the group back (if it is still ours); a disk that refuses leaves the lease to expire."""
        with contextlib.suppress(StoreError, OSError):
            if self._is_mine():
                self.path.unlink(missing_ok=True)

    def _is_mine(self) -> bool:
        return read_lease(self.path).get("owner") == self.owner

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"{self.path.parent.name}: the lease was taken over by another worker; stopping.")


def take(path: Path, clock: Clock = time.time) -> Lease:
    """Write a lease of this process. Whoever calls this has seen, under the store's lock, that nobody holds it."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    body = {"owner": owner, "host": socket.gethostname(), "place": place(), "pid": os.getpid()}
    write_atomic(path, json.dumps(body))
    now = clock()
    with writing(path):
        os.utime(path, (now, now))
    return Lease(path, owner)


LEASE = {"owner?": str, "host?": str, "place?": Maybe(str), "pid?": int}


def read_lease(path: Path) -> dict[str, Any]:
    """A lease file, empty when absent; raises Malformed."""
    return read_mapping(path, LEASE)


def holder(path: Path, clock: Clock = time.time) -> str | None:
    """Who holds a live lease, or None."""
    try:
        body, beaten = read_lease(path), path.stat().st_mtime
    except (StoreError, OSError):
        return None
    pid = body.get("pid")
    if is_near(body.get("place")) and isinstance(pid, int) and pid > 0 and not alive(pid):
        return None
    return str(body.get("owner")) if clock() - beaten < LEASE_SECONDS else None


def worker_of(owner: str) -> str:
    """Host and process id of an owner, as people look for them: ``node7:4242``."""
    return owner.rpartition(":")[0] or owner


def is_near(where: str | None) -> bool:
    """Whether process ids of that :func:`place` are ours."""
    return bool(where) and where == place()
