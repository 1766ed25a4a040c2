"""What the verbs share: printing tables and JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlnet_bench.reading.names import harmless

if TYPE_CHECKING:
    from rlnet_bench.analysis.results import Results
    from rlnet_bench.runs.store import Store

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
StoreOption = Annotated[str, typer.Option("--store", help="The run store.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", help="Which suite of the store.")]
TrustFlag = Annotated[
    bool, typer.Option("--trust-code", help="Import the code that a file names, after saying what (docs/security.md).")
]
GivenMethods = Annotated[
    list[str] | None, typer.Option("--method", help="FILE.py:Class: where the recorded file of a method is now.")
]
GivenTasks = Annotated[
    list[str] | None, typer.Option("--task", help="FILE.py:factory: where the recorded file of a task is now.")
]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="The folder of published results in which a METHOD@TASK is looked up.")
]

DEFAULT_STORE = "rlnet-store"


WIDEST = 10_000  # characters of a line into a pipe

damage_told: list[str] = []  # by the verb that runs: what is not as it was written


def loaded(source: str | Path, suite: str | None = None) -> Results:
    """The results of a source, as :func:`~rlnet_bench.analysis.loading.load_results` reads them.

    What is damaged in them is said on standard error, and the verb ends with code 1 (:class:`Verbs` of ``main``).
    """
    from rlnet_bench.analysis.loading import load_results

    tell_suites(source, suite)
    results = load_results(source, suite)
    tell_damage(results.damage)
    return results


def tell_suites(source: Store | str | Path, suite: str | None) -> None:
    """Say which suite of several in a store is taken when none was named."""
    from rlnet_bench.runs.store import Store

    if suite is not None or not (isinstance(source, Store) or (Path(source) / "store.json").is_file()):
        return
    store = source if isinstance(source, Store) else Store(source)
    names = store.suites()
    if len(names) > 1:
        print(
            f"{store.root} holds {', '.join(names)}: this is {names[0]}, the newest; --suite takes another.",
            file=sys.stderr,
        )


def tell_damage(sentences: Sequence[str]) -> None:
    """Say what is damaged on standard error; the verb shows the rest and ends with code 1."""
    for sentence in sentences:
        print(f"damaged: {sentence}", file=sys.stderr)
    damage_told.extend(sentences)


class Harmless(io.TextIOBase):
    """A terminal's stream for ``print``: nothing that is printed can command the terminal.

    rich writes its own escapes to the stream beneath (``rich_proxied_file`` is how it asks for it); what it is given
    goes through :func:`cell`.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write the text with everything written out that a terminal would obey."""
        return self.rich_proxied_file.write(harmless(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)

    def flush(self) -> None:
        """Flush the stream beneath."""
        self.rich_proxied_file.flush()

    def fileno(self) -> int:
        """Of the stream beneath."""
        return self.rich_proxied_file.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.rich_proxied_file.isatty()


def cell(value: object, style: str = "") -> Text:
    """Text for rich that is neither markup nor a command to the terminal."""
    return Text(harmless(str(value)), style=style)


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=1, default=list))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "", right: Collection[int] = ()
) -> None:
    """A table on a terminal; the same, unwrapped, into a pipe. Columns ``right`` hold numbers."""
    console = Console()
    table = Table(
        title=cell(title) if title else None, title_justify="left", box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for i, column in enumerate(columns):
        table.add_column(cell(column), overflow="fold", justify="right" if i in right else "left")
    for row in rows:
        table.add_row(*(x if isinstance(x, Text) else cell(x) for x in row))
    if not console.is_terminal:
        console = Console(width=console.measure(table, options=console.options.update(width=WIDEST)).maximum)
    console.print(table)


def say(notes: Iterable[str]) -> None:
    """Remarks below a table, each once."""
    for note in dict.fromkeys(n for n in notes if n):
        print(f"- {note.rstrip('.')}.")
