"""The tables of a report by name, and one table as text for the command line."""

from __future__ import annotations

from typing import Literal

from rlnet_bench.analysis.estimates import Estimates, judge
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import BadInput
from rlnet_bench.reports import writers
from rlnet_bench.reports.table import Table
from rlnet_bench.reports.table_channel import channel_table
from rlnet_bench.reports.table_suite import aggregate_table, compute_table, rank_table, settings_table
from rlnet_bench.reports.table_tasks import modes_table, score_table

Format = Literal["latex", "markdown", "csv"]
Which = Literal["tasks", "aggregate", "ranks", "channel"]
FORMATS = ("latex", "markdown", "csv")
WHICH = ("tasks", "aggregate", "ranks", "channel")


def tables(estimates: Estimates) -> dict[str, Table]:
    """Every table that has rows, by name, in the order of the report."""
    out = [
        aggregate_table(estimates),
        score_table(estimates, "absolute"),
        score_table(estimates, "final"),
        score_table(estimates, "absolute", metric="success"),
        score_table(estimates, "final", metric="success"),
        modes_table(estimates),
        rank_table(estimates),
        channel_table(estimates),
        compute_table(estimates),
        settings_table(estimates),
    ]
    return {t.name: t for t in out if not t.is_empty}


def as_text(table: Table, format: Format) -> str:
    """One table in one format."""
    if format == "latex":
        return writers.latex(table)
    return writers.markdown(table) if format == "markdown" else table.sheet.csv()


def render_table(results: Results, format: Format = "markdown", which: Which = "tasks") -> str:
    """A paper table of some results.

    Args:
        results: the records.
        format: ``latex`` (booktabs, without a document around it), ``markdown`` or ``csv`` (tidy numbers).
        which: ``tasks`` (absolute and final scores, and what channels cost where a method needs one), ``aggregate``,
            ``ranks``, or ``channel`` alone.

    Raises:
        BadInput: for an unknown format or table.
    """
    if format not in FORMATS:
        raise BadInput(f"unknown table format {format!r}: expected one of {', '.join(FORMATS)}.")
    if which not in WHICH:
        raise BadInput(f"unknown table {which!r}: expected one of {', '.join(WHICH)}.")
    estimates = judge(results, timings=False)
    if which == "aggregate":
        return as_text(aggregate_table(estimates), format)
    if which == "ranks":
        return as_text(rank_table(estimates), format)
    channel = channel_table(estimates)
    if which == "channel":
        return as_text(channel, format)
    parts = [as_text(score_table(estimates, kind), format) for kind in ("absolute", "final")]
    if format == "csv":
        head, _, rest = parts[1].partition("\n")
        return parts[0] + rest
    if not channel.is_empty:
        parts.append(as_text(channel, format))
    return "\n".join(parts)
