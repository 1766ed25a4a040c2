"""The tables of a report by name, and one table as text for the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from rlnet_bench.analysis.boards import KINDS
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
        score_table(estimates, "absolute"),
        score_table(estimates, "final"),
        score_table(estimates, "absolute", metric="success"),
        score_table(estimates, "final", metric="success"),
        modes_table(estimates),
        aggregate_table(estimates),
        rank_table(estimates),
        channel_table(estimates),
        compute_table(estimates),
        settings_table(estimates),
    ]
    return {t.name: _told(estimates, t) for t in out if not t.is_empty}


def _told(estimates: Estimates, table: Table) -> Table:
    """The table with what was found and imported said in its caption, where it stands by itself."""
    return replace(table, remarks=estimates.notes)


def as_text(table: Table, format: Format) -> str:
    """One table in one format."""
    if format == "latex":
        return writers.latex(table)
    return writers.markdown(table) if format == "markdown" else table.numbers.csv()


def chosen(results: Results, which: Which = "tasks") -> list[Table]:
    """The tables behind one name, with everything said that a reader of them alone must know.

    Args:
        results: the records.
        which: ``tasks`` (absolute and final scores, and what channels cost where a method needs one), ``aggregate``,
            ``ranks``, or ``channel`` alone.

    Raises:
        BadInput: for an unknown table.
    """
    if which not in WHICH:
        raise BadInput(f"unknown table {which!r}: expected one of {', '.join(WHICH)}.")
    estimates = judge(results, timings=False)
    if which == "tasks":
        kinds = [k for k in KINDS if not estimates.board(k, metric="return").is_empty] or [estimates.kind]
        found = [score_table(estimates, kind) for kind in kinds]
        channel = channel_table(estimates)
        found += [] if channel.is_empty else [channel]
    else:
        found = [{"aggregate": aggregate_table, "ranks": rank_table, "channel": channel_table}[which](estimates)]
    return [_told(estimates, t) for t in found]


def render_table(results: Results, format: Format = "markdown", which: Which = "tasks") -> str:
    """A paper table of some results.

    Args:
        results: the records.
        format: ``latex`` (booktabs, without a document around it), ``markdown`` or ``csv`` (tidy numbers).
        which: as of :func:`chosen`.

    Raises:
        BadInput: for an unknown format or table.
    """
    if format not in FORMATS:
        raise BadInput(f"unknown table format {format!r}: expected one of {', '.join(FORMATS)}.")
    found = chosen(results, which)
    if format != "csv":
        return "\n".join(as_text(t, format) for t in found)
    scores = [t for t in found if which == "channel" or t.name != "channel"]  # one header for all
    parts = [as_text(t, format) for t in scores]
    return parts[0] + "".join(part.partition("\n")[2] for part in parts[1:])
