"""kill -9 at a chosen moment, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any


def killed_at_write(n: int, work: Callable[[], object]) -> bool:
    """Do it in a fork of this process, shot just before its n-th write to the disk; False when it ended before.

    Writes are what makes a difference to whoever comes later: folders made, files flushed, renamed, removed.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            with _shot(n):
                work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


@contextlib.contextmanager
def _shot(n: int) -> Iterator[None]:
    left = n

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapped

    names = ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir")
    calls = {name: getattr(os, name) for name in names}
    for name, call in calls.items():
        setattr(os, name, counted(call))
    try:
        yield
    finally:
        for name, call in calls.items():
            setattr(os, name, call)
