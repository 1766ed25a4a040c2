"""The allocator keeps what it has: the same large request again costs no page faults."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from rlnet_bench.learning.heap import keep_heap
    assert keep_heap()
for i in range(22):
    if i == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    a, b, c = (torch.empty(10_000_000).fill_(1.0) for _ in range(3))
    del a, b, c
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, timeout=100)
    return int(done.stdout)


def test_pages_are_kept() -> None:
    assert faults("keep") < 0.3 * faults("leave")
