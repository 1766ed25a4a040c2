"""One side of a comparison: trains when it is told to, and says how fast.

Standard library alone: every peer imports it.
"""

from __future__ import annotations

import os
import sys
import time

WARM_UP = 2  # iterations before the first answer: compilation, allocation


class Turns:
    """Call it after every training iteration; it holds the process still while it is the other side's turn.

    Speaks over stdin and stdout: ``READY`` after the warm-up; then, for every line with a number of seconds, it trains
    for at least so long and answers ``RATE <frames per second>``. Ends the process at the end of stdin.
    """

    def __init__(self) -> None:
        self.warming, self.frames, self.start, self.seconds = WARM_UP, 0, 0.0, 0.0

    def __call__(self, frames: int) -> None:
        """``frames`` were stepped and learned from since the call before."""
        if self.warming:
            self.warming -= 1
            if not self.warming:
                self._wait("READY")
            return
        self.frames += frames
        elapsed = time.perf_counter() - self.start
        if elapsed >= self.seconds:
            self._wait(f"RATE {self.frames / elapsed}")

    def _wait(self, answer: str) -> None:
        print(answer, flush=True)
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self.seconds, self.frames, self.start = float(line), 0, time.perf_counter()
