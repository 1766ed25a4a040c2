"""A child process that ends with its parent, whatever ends the parent: ``kill -9``, a closed terminal, a crash.

The child inherits the reading end of a pipe into which nobody writes. The writing end is the parent's alone, and
the kernel closes it when the parent is gone; that end of the pipe is what the child waits for.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable


class Leash:
    """The parent's side, held as long as this object lives. Children get :attr:`end` through ``pass_fds``."""

    def __init__(self) -> None:
        end, held = os.pipe()  # neither is inherited by what is started without naming it
        self._end, self._held = os.fdopen(end, "rb", buffering=0), os.fdopen(held, "wb", buffering=0)

    @property
    def end(self) -> int:
        """The descriptor that children inherit."""
        return self._end.fileno()

    def close(self) -> None:
        """Let go: children that are still there are told as if this process had died."""
        self._held.close()
        self._end.close()


def follow(end: int, then: Callable[[], None]) -> None:
    """Call ``then`` in a background thread of this process once the parent is gone.

    Args:
        end: the inherited descriptor.
        then: what to do; at once when the parent is gone already.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(end, 1):  # nobody writes; it returns at the end of the pipe
                pass
        then()

    threading.Thread(target=wait, name="leash", daemon=True).start()
