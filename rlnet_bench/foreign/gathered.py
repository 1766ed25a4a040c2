"""Many files as one table: one that cannot be read is named, and does not sink the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.table import ForeignTable, merged


def gathered(paths: Sequence[Path], read: Callable[[Path], ForeignTable], name: str) -> ForeignTable:
    """What ``read`` makes of every path, as one table with one list of those that could not be read.

    Raises:
        BadInput: when no evaluation is left, naming every path; or when the tables do not go together.
    """
    tables, broken = [], []
    for path in paths:
        try:
            tables.append(read(path))
        except BadInput as error:
            broken.append(error)
    if not any(t.evaluations for t in tables):
        lost = [str(e) for e in broken] + [text for t in tables for text in t.reasons.values()]
        if len(paths) == 1 and broken:
            raise broken[0]
        raise BadInput(f"{name}: none of {len(paths)} could be read:{listed(lost)}")
    table = merged(tables, name)
    if not broken:
        return table
    text = f"{name}: {len(broken)} of {len(paths)} could not be read and are left out:{listed(map(str, broken))}"
    return replace(table, warnings=(*table.warnings, text))


def listed(lines: Iterable[str]) -> str:
    """Lines of a list, one below the other."""
    return "".join(f"\n  - {line}" for line in lines)
