"""Which process did it, and is it still there? Process ids mean something in one place only. Imports without torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import sys
import uuid
from functools import cache
from pathlib import Path

_SIGNATURE = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}$")


@cache
def place() -> str:
    """Where a process id means something: host, its boot, and the namespace of process ids.

    Containers may share a host name and see other processes under the same numbers. Empty where this cannot be
    known.
    """
    host = socket.gethostname()
    if sys.platform != "linux":
        return host
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{host} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process of this place is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    # A killed child that nobody has waited for still has a pid, but it will never do anything again.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def signature() -> str:
    """How a temporary file's name ends: who writes it, and a number that nobody else has."""
    return f".{_short(place())}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def abandoned(name: str, age: float, patience: float = 86_400.0) -> bool:
    """Whether a temporary file, by its name, is one that nobody will finish.

    Args:
        name: of the file; one without a :func:`signature` comes from an older version.
        age: seconds since it was touched.
        patience: how long the writer is believed to be alive where its process id says nothing here.
    """
    found = _SIGNATURE.search(name)
    if found is not None and place() and found[1] == _short(place()):
        return not alive(int(found[2]))
    return age > patience


def _short(where: str) -> str:
    return hashlib.sha256(where.encode()).hexdigest()[:8]
