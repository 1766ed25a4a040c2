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
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.files import DiskRefused, read_json, write_atomic, writing

LEASE_SECONDS = 120.0  # a lease without a heartbeat for this long is dead

Clock = Callable[[], float]


class LeaseLost(StoreError):
    """Raised when another worker has taken a group over (this one seemed dead)."""


@cache
def place() -> str:
    """Where a process id means something: host, its boot, and the namespace of process ids.

    Containers may share a host name and see other processes under the same numbers. Empty where this cannot be
    known: then only heartbeats count.
    """
    host = socket.gethostname()
    if sys.platform != "linux":
        return host
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{host} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


@dataclass(frozen=True)
class Lease:
    """The right to work on a group, as its owner holds it."""

    path: Path
    owner: str

    def beat(self, clock: Clock = time.time) -> None:
        """Say that the owner is alive; raises LeaseLost when another has the lease, DiskRefused when none can say."""
        try:
            owner = read_json(self.path).get("owner")
        except StoreError as error:
            raise DiskRefused(str(error)) from error
        if owner != self.owner:
            raise LeaseLost(f"{self.path.parent.name}: the lease was taken over by another worker; stopping.")
        now = clock()
        with writing(self.path):
            os.utime(self.path, (now, now))

    def release(self) -> None:
        """Give the group back (if it is still ours); a disk that refuses leaves the lease to expire."""
        with contextlib.suppress(StoreError, OSError):
            if read_json(self.path).get("owner") == self.owner:
                self.path.unlink(missing_ok=True)


def take(path: Path, clock: Clock = time.time) -> Lease:
    """Write a lease of this process. Whoever calls this has seen, under the store's lock, that nobody holds it."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    body = {"owner": owner, "host": socket.gethostname(), "place": place(), "pid": os.getpid()}
    write_atomic(path, json.dumps(body))
    now = clock()
    with writing(path):
        os.utime(path, (now, now))
    return Lease(path, owner)


def holder(path: Path, clock: Clock = time.time) -> str | None:
    """Who holds a live lease, or None."""
    try:
        body, beaten = read_json(path), path.stat().st_mtime
    except (StoreError, OSError):
        return None
    if is_near(body.get("place")) and not _alive(body.get("pid", -1)):
        return None
    return body.get("owner") if clock() - beaten < LEASE_SECONDS else None


def is_near(where: str | None) -> bool:
    """Whether process ids of that :func:`place` are ours."""
    return bool(where) and where == place()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A killed child that nobody has waited for still has a pid, but it will never beat again.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
