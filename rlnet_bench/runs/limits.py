"""What a process may use that runs somebody else's code. No sandbox: such code can read what you can read."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

GiB = 1 << 30
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """Of one process and, each by itself, of every process that it starts."""

    memory: int = 8 * GiB  # bytes of address space
    seconds: int = 24 * 3600  # of CPU
    file: int = 4 * GiB  # bytes of any file that it writes

    def apply(self) -> None:
        """Set them for this process, for good; between fork and exec of a child."""
        for what, most in (
            (resource.RLIMIT_AS, self.memory),
            (resource.RLIMIT_CPU, self.seconds),
            (resource.RLIMIT_FSIZE, self.file),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(what)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))

    def environment(self, home: str) -> dict[str, str]:
        """What it sees of our environment: no keys, no tokens, another home."""
        return {**{name: os.environ[name] for name in KEPT if name in os.environ}, "HOME": home}
