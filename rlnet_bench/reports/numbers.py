"""Plain numbers as rows: the CSV that goes with every figure and table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from rlnet_bench.foreign.csv import quoted


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a figure or table: a header and rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def csv(self) -> str:
        """CSV text; floats to nine significant digits, nothing for None, and no cell that a
        spreadsheet would run as a formula."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.header)
        for row in self.rows:
            writer.writerow([_plain(x) for x in row])
        return buffer.getvalue()


def _plain(x: object) -> str:
    if x is None:
        return ""
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, float):
        return f"{x:.9g}"
    return quoted(x) if isinstance(x, str) else str(x)
