"""Random streams, named by what is estimated: no digit depends on the verb that asks or on who else is in the table."""

from __future__ import annotations

import json

import numpy as np

from rlnet_bench.stats.bootstrap import stream

ROOT = 20_260_601  # the fixed root of every stream


def named(*parts: object) -> np.random.Generator:
    """The generator of one quantity.

    Args:
        parts: the quantity's name: what it is, then method, tasks, kind, mode, metric as far as they belong to it.
            Simultaneous quantities (ranks, ties, adjusted p) also name their family.
    """
    return stream(ROOT, json.dumps(parts, default=list))
