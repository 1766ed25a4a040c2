"""Tables of means, as papers print them: columns method, task, mean and any of min, max, std, n."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign.csv import rows_of
from rlnet_bench.foreign.table import checked_name

NAMES = {"max": "maximum", "maximum": "maximum", "min": "minimum", "minimum": "minimum", "n": "n", "seeds": "n"}


@dataclass(frozen=True)
class SummaryRow:
    """One line of a table."""

    line: int
    method: str
    task: str
    mean: float
    minimum: float | None = None
    maximum: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Summary:
    """A table of means."""

    name: str
    rows: tuple[SummaryRow, ...]


def is_summary(text: str) -> bool:
    """Whether CSV text is a table of means (and not of episodes)."""
    head = {c.strip().lower() for c in text.partition("\n")[0].split(",")}
    return {"method", "task", "mean"} <= head and "episode" not in head


def parse_summary(text: str, name: str) -> Summary:
    """Read a table of means.

    Raises:
        BadInput: with file, line, column, what was expected and what was found.
    """
    rows = list(rows_of(text, name))
    header = [c.strip().lower() for c in rows[0][1]]
    out = []
    for line, cells in rows[1:]:
        where = f"{name}, line {line}"
        if len(cells) != len(header):
            raise Malformed(where, f"{len(header)} fields as in the header", f"a row of {len(cells)}")
        row = dict(zip(header, (c.strip() for c in cells)))
        extra: dict[str, float | int] = {}
        for column, target in NAMES.items():
            if row.get(column):
                value = _number(row[column], f"{where}: {column}")
                extra[target] = int(value) if target == "n" else value
        out.append(
            SummaryRow(
                line,
                checked_name(row["method"], f"{where}: method", "method"),
                checked_name(row["task"], f"{where}: task", "task"),
                _number(row["mean"], f"{where}: mean"),
                **extra,  # type: ignore[arg-type]
            )
        )
    if not out:
        raise Malformed(name, "at least one row below the header", "nothing")
    return Summary(name, tuple(out))


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Malformed(where, "a number", text) from None
    if not math.isfinite(value):
        raise Malformed(where, "a finite number", text)
    return value
