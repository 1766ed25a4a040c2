"""The output boundary: nothing foreign commands a terminal, and damage is said and counted."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.table import Table

from rlnet_bench.cli.output import Harmless, cell, print_table
from rlnet_bench.reading.names import harmless

EVIL = "a\x1b]0;owned\x07b\x9b2Jc\u202ed\u200be\rf"
WRITTEN = r"a\x1b]0;owned\x07b\x9b2Jc\u202ed\u200be\x0df"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_is_printed_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert harmless(EVIL) == WRITTEN and harmless("häßlich\n\tπ − 1") == "häßlich\n\tπ − 1"
    for name in ("stdout", "stderr"):
        beneath = Terminal()
        monkeypatch.setattr(sys, name, Harmless(beneath))
        print(EVIL, file=getattr(sys, name), flush=True)
        assert beneath.getvalue() == WRITTEN + "\n" and getattr(sys, name).isatty()


def test_rich_keeps_its_own_colours_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    beneath = Terminal()
    monkeypatch.setattr(sys, "stdout", Harmless(beneath))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    table = Table()
    table.add_column(cell(EVIL))
    table.add_row(cell("[red]x[/] [/] [link=file:///]", "green"))
    Console(width=200).print(table)
    assert "\x1b[32m" in beneath.getvalue()  # rich's own
    assert WRITTEN in beneath.getvalue() and "[red]x[/] [/] [link=file:///]" in beneath.getvalue()
    assert "\x1b]" not in beneath.getvalue() and "\x07" not in beneath.getvalue()


def test_a_table_takes_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((EVIL, "[/]"), [("[/b]", EVIL), (1, None)], title="[/title]" + EVIL)
    said = capsys.readouterr().out
    assert "[/]" in said and "[/b]" in said and "[/title]" in said and WRITTEN in said.replace("\n", "")
    assert not set(said) & set("\x1b\x07\x9b\u202e\u200b\r")
