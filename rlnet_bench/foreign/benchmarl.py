"""BenchMARL's JSON files: marl-eval's layout, one run per file, returns that are means over agents.

Its ``absolute_metrics`` are the best single episode of the whole run and are never used as absolute scores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.marl_eval import JsonOptions, read_layout
from rlnet_bench.foreign.table import ForeignTable


def read_benchmarl(path: Path, options: JsonOptions | None = None) -> ForeignTable:
    """Read one BenchMARL file, or every ``*.json`` below a directory.

    Raises:
        BadInput: with file, key path, what was expected and what was found; for a scale other than mean.
    """
    options = options or JsonOptions()
    if options.scale == "sum":
        raise BadInput(f"{path}: BenchMARL stores returns averaged over agents; leave --scale out or give mean.")
    options = replace(options, scale="mean", best_episode=True)
    table = read_layout(path, options)
    warnings = [*table.warnings]
    if any(e.kind == "best-episode" for e in table.evaluations):
        warnings.append(
            f"{path}: BenchMARL's `absolute_metrics` are the best single episode ever played, not the best policy "
            "scored again on fresh episodes; they are kept as best-episode and never used as absolute scores."
        )
    warnings.append(
        f"{path}: returns are means over agents (and over groups, each weighing the same); the first evaluation "
        "comes after the first update, so there is no point at frame 0."
    )
    return replace(table, warnings=tuple(warnings))
