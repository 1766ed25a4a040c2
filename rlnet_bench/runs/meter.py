"""What a group that ends teaches about the next of its cell: its own timings become a calibration.

So ``plan``, ``run`` and ``status`` know times without ``--calibrate`` once a cell has been run on this machine.
Imports without torch.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.calibrate import Calibration, store, stored
from rlnet_bench.runs.callbacks import Event

STATE_PER_WEIGHT = 4  # bytes of a checkpoint where none was written: weights, two moments, and some more


class Meter:
    """A callback that times training and evaluation of one group, as far as this process runs it.

    What passes before the first event is start-up: an estimate counts that apart.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started, self.last = clock(), -1.0
        self.seconds, self.frames, self.reached = 0.0, 0, 0
        self.points: list[float] = []
        _forget_peak()

    def on_event(self, event: Event) -> None:
        """Add what passed since the last event to what it was spent on."""
        now = self.clock()
        first, spent, self.last = self.last < 0, now - self.last, now
        if event.kind in ("progress", "resumed"):
            if event.kind == "progress":
                self.frames += event.data["frames"] - self.reached
            self.reached = event.data["frames"]
        if first:
            self.points += [now - self.started] if event.kind == "evaluated" else []
        elif event.kind == "evaluated":
            self.points.append(spent)
        else:
            self.seconds += spent

    def calibration(self, folder: Path) -> Calibration | None:
        """What was measured of the group in ``folder``, at its end; None when it had ended before."""
        if not self.points:
            return None
        ends = self.clock() - self.last
        weights = _size(folder / "policies")
        state = max(map(_size, folder.glob("checkpoints/[0-9]*")), default=STATE_PER_WEIGHT * weights)
        return Calibration(
            self.seconds / self.frames if self.frames else 0.0, median(self.points), ends / 2, _peak(), state, weights
        )


def learn(config: Mapping[str, Any], found: Calibration | None, cache: Path | None = None) -> None:
    """Store what was measured, for the next group of the cell; half of the time is that of those before.

    A cache that cannot be written costs the estimate, never the group.
    """
    if found is None:
        return
    before = stored(config, cache)
    if before is not None:  # a machine is busier at one time than at another
        names = ("seconds_per_frame", "seconds_per_point", "seconds_per_end")
        found = replace(found, **{n: (getattr(before, n) + getattr(found, n)) / 2 for n in names})
    with contextlib.suppress(StoreError, OSError):
        store(config, found, cache)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def _forget_peak() -> None:
    """Let the kernel measure the largest memory anew: an earlier group of this process may have needed more."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes of this process at its largest."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
