"""Runs of several tasks side by side: the array view that resampling and aggregates work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rlnet_bench.stats.normalise import Bounds

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pooled:
    """The runs of some tasks side by side: ``values_N`` in task order, ``counts_M`` runs each."""

    tasks: tuple[str, ...]
    values_N: Array
    counts_M: npt.NDArray[np.int64]
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def starts_M(self) -> npt.NDArray[np.int64]:
        """Index of the first run of each task."""
        return np.concatenate([[0], np.cumsum(self.counts_M)[:-1]])

    @property
    def weights_N(self) -> Array:
        """Weight 1/(M n_m) of every run: tasks count equally whatever their number of runs."""
        return np.repeat(1.0 / (len(self.counts_M) * self.counts_M), self.counts_M)

    @property
    def variances_M(self) -> Array:
        """Unbiased variance of the runs of each task; 0 exactly for constant runs and single ones."""
        parts = np.split(self.values_N, self.starts_M[1:])
        return np.array([p.var(ddof=1) if len(p) > 1 and np.ptp(p) > 0 else 0.0 for p in parts])

    @property
    def n_per_task(self) -> dict[str, int]:
        """Number of scored runs by task."""
        return dict(zip(self.tasks, self.counts_M.tolist()))
