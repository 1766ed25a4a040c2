"""What the verbs share: printing tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
StoreOption = Annotated[str, typer.Option("--store", help="The run store.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", help="Which suite of the store.")]

DEFAULT_STORE = "rlnet-store"


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=1, default=list))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table on a terminal; the same, unwrapped, into a pipe."""
    console = Console()
    table = Table(title=title or None, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(x) for x in row))
    if not console.is_terminal:
        console = Console(width=max(200, *(len(str(x)) * len(columns) for row in rows for x in row), 0) if rows else 80)
    console.print(table)
