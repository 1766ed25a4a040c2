"""Success as a share, whatever unit a source has it in: one series has one unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rlnet_bench.foreign.table import ForeignTable


def as_shares(table: ForeignTable) -> ForeignTable:
    """The table of one source with success between 0 and 1.

    A logger writes a metric in one unit, so that all its values decide together: one above 1 makes all of them
    percents, 0.78 and 0 too. Values that fit neither unit (below 0, above 100) are left out, with a warning.
    """
    known = [e.success for e in table.evaluations if e.success is not None]
    if not known:
        return table
    low, high = (float(f(np.concatenate(known))) for f in (np.min, np.max))
    if low >= 0 and high <= 1:
        return table
    if low < 0 or high > 100 or not np.isfinite([low, high]).all():
        text = f"success ranges from {low:g} to {high:g}, which is neither a share nor a percentage; it is left out."
        evaluations = [replace(e, success=None) for e in table.evaluations]
    else:
        text = f"success goes up to {high:g}: all of its values are read as percents."
        evaluations = [e if e.success is None else replace(e, success=e.success / 100) for e in table.evaluations]
    return replace(table, evaluations=tuple(evaluations), warnings=(*table.warnings, f"{table.name}: {text}"))
