"""``rlnet-bench report`` and ``table``: from records to pages and paper tables."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rlnet_bench.cli.output import (
    DEFAULT_STORE,
    JsonFlag,
    StoreOption,
    SuiteOption,
    cell,
    loaded,
    print_json,
    print_table,
    say,
)
from rlnet_bench.cli.stats import ReferenceOption, references

if TYPE_CHECKING:
    from rich.text import Text

    from rlnet_bench.analysis.results import Results
    from rlnet_bench.reports.table import Cell, Table

SourceArgument = Annotated[
    str | None, typer.Argument(help="A run store, a published directory, or a results.csv; instead of --store.")
]


class Format(StrEnum):
    """Table formats."""

    text = "text"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


class Which(StrEnum):
    """Which table."""

    tasks = "tasks"
    aggregate = "aggregate"
    ranks = "ranks"
    channel = "channel"


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(report)
    app.command()(table)


def report(
    source: SourceArgument = None,
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; SUITE-report by default.")] = None,
    reference: ReferenceOption = None,
    timings: Annotated[bool, typer.Option(help="Leave seconds out, and the page is byte-identical.")] = True,
    json: JsonFlag = False,
) -> None:
    """Write one self-contained HTML page with its figures and tables."""
    from rlnet_bench.reports import build_report

    results = loaded(source or store, suite).with_references(references(reference))
    _notes(results)
    page = build_report(results, out or Path(f"{results.name}-report"), timings=timings)
    if json:
        print_json({"page": str(page)})
    else:
        print(f"report: {page}")


def table(
    source: SourceArgument = None,
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    format: Annotated[Format, typer.Option("--format", help="text is for terminals.")] = Format.text,
    which: Annotated[
        Which, typer.Option("--which", help="Every task, suite aggregates, ranks, what crosses between agents.")
    ] = Which.tasks,
    reference: ReferenceOption = None,
    json: JsonFlag = False,
) -> None:
    """Print one table of a suite's results."""
    from rlnet_bench.analysis import judge
    from rlnet_bench.analysis.plain import estimates_json
    from rlnet_bench.reports.tables import chosen, render_table

    results = loaded(source or store, suite).with_references(references(reference))
    if json:
        print_json(_finite(estimates_json(judge(results))))
        return
    if format.value == "text":
        for found in chosen(results, which.value):
            show(found)
        return
    if format is Format.csv:  # it has no caption
        _notes(results)
    print(render_table(results, cast("Any", format.value), which.value))


def show(table: Table) -> None:
    """A paper table on a terminal: names and numbers as they are, the caption's sentences below, one a line."""
    from rlnet_bench.analysis.wording import split_sentences

    rows: list[tuple[Any, ...]] = []
    for group in table.groups:
        if len(table.groups) > 1:
            rows.append((cell(group.title, "italic"), *[""] * (len(table.columns) - 1)))
        rows += [tuple(_shown(c) for c in row) for row in group.rows]
    heads = [f"{c.title}\n{c.under}" if c.under else c.title for c in table.columns]
    right = {i for i, c in enumerate(table.columns) if not c.is_text}
    print_table(heads, rows, table.title, right)
    say([*split_sentences(table.caption), *table.notes, *table.remarks])
    print()


def _shown(found: Cell) -> Text:
    """The value, bold where the table says so, and what stands below it in fainter letters."""
    from rlnet_bench.analysis.wording import typographic

    text = cell(typographic(found.text) if not found.code else found.text, "bold" if found.bold else "")
    text.append(found.mark)
    return text.append_text(cell(f" {typographic(found.under)}", "dim")) if found.under else text


def _notes(results: Results) -> None:
    """What a reader of imported results must know, on standard error."""
    for note in getattr(results, "notes", ()):
        print(f"note: {note}", file=sys.stderr)


def _finite(data: Any) -> Any:
    """Plain data without NaN, which is no JSON: an imported task has no floor."""
    if isinstance(data, dict):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
