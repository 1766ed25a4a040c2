"""What training costs in arithmetic, and what this machine can do: a yardstick that no slow rival flatters.

Arithmetic efficiency = frames/s x floating-point operations per frame / this machine's rate of matrix products.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from rlnet_bench.learning.learner import Learner


def gemm_rate(size: int = 512, seconds: float = 0.5) -> float:
    """Floating-point operations per second of square float32 products with torch's threads: the best of a while."""
    a, b, out = (torch.rand(size, size) for _ in range(3))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def products_per_frame(learner: Learner) -> float:
    """Operations of all matrix products that one iteration really makes, per frame of all its replicas."""
    before = learner.frames
    with FlopCounterMode(display=False) as counter:
        learner.iterate()
    return counter.get_total_flops() / ((learner.frames - before) * learner.policy().replicas)
