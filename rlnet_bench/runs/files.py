"""Small JSON files of a store: replaced in one step, read with a sentence when damaged. Imports without torch."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.files import Absent
from rlnet_bench.reading.plain import read_json
from rlnet_bench.runs.process import abandoned, signature


class DiskRefused(StoreError):
    """Raised by what writes a store when the disk refuses: the fault of no run, which can go on later."""


@contextlib.contextmanager
def writing(path: Path, comfort: str = "nothing was damaged") -> Iterator[None]:
    """Make a sentence, DiskRefused, of an OSError: only of the store's own writing, never of a user's code."""
    try:
        yield
    except OSError as error:
        raise DiskRefused(f"{path}: cannot be written ({error.strerror or error}); {comfort}.") from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file in one step, so that readers see the old or the new content, never a mixture.

    Raises:
        DiskRefused: when the disk is full or read-only; the old content is untouched.
    """
    temporary = path.with_name(f".{path.name}{signature()}")
    with writing(path):
        try:
            with temporary.open("wb") as handle:
                handle.write(content if isinstance(content, bytes) else content.encode())
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):  # a read-only disk refuses this, too
                temporary.unlink(missing_ok=True)
            raise


def sweep(folder: Path) -> int:
    """Remove what killed processes left unfinished in a folder (names with a dot); returns bytes.

    What a living process is writing stays, and so does what cannot be removed.
    """
    freed = 0
    with contextlib.suppress(OSError):
        for path in folder.glob(".*"):
            with contextlib.suppress(OSError):
                if abandoned(path.name, time.time() - path.lstat().st_mtime):
                    freed += remove(path)
    return freed


def remove(path: Path) -> int:
    """Remove a file or a directory; returns bytes."""
    if path.is_symlink() or not path.is_dir():
        size = path.lstat().st_size
        path.unlink()
        return size
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path, ignore_errors=True)
    return size


def put_in_place(made: Path, target: Path) -> None:
    """Give a folder that was made aside its name; what had that name is gone only when this has worked.

    Raises:
        DiskRefused: when the disk refuses; what was there is still there.
    """
    with writing(target, "what was there is still there"):
        if target.exists() or target.is_symlink():
            _exchange(made, target)
            shutil.rmtree(made, ignore_errors=True)
        else:
            os.rename(made, target)


def _exchange(a: Path, b: Path) -> None:
    """Exchange two names in one step where the system can (Linux), else in two."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        if libc.renameat2(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):  # the file system cannot: in two steps
            raise OSError(code, os.strerror(code), str(b))
    aside = b.with_name(f".{b.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(b, aside)
    try:
        os.rename(a, b)
    except OSError:
        os.rename(aside, b)
        raise
    os.rename(aside, a)


def read_mapping(path: Path, shape: Any = dict) -> dict[str, Any]:
    """A JSON file that holds a mapping, of a shape where one is given, or empty when absent; raises Malformed."""
    try:
        return dict(read_json(path, shape=shape))
    except Absent:
        return {}
