"""A table as data, before it is HTML, LaTeX or Markdown: every mark and number is decided here, once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rlnet_bench.analysis.wording import rounded
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.stats.result import Estimate

TIE_MARK = "†"  # what is not distinguishable from the best: in every format, caption and board


@dataclass(frozen=True)
class Cell:
    """One cell: a main text, smaller text under it, marks, and what machines need (sort key, shade)."""

    text: str = ""
    under: str = ""  # interval, range or remark, printed small
    half: str = ""  # half-width, when the interval is close to symmetric: papers print value ± half
    low: str = ""
    high: str = ""
    bold: bool = False
    dagger: bool = False
    shade: float | None = None  # 0 to 1, the strength of the tint
    sort: float | str | None = None
    note: str = ""  # tooltip; never the only place of a fact
    look: str = ""  # the method whose colour stands before the text
    code: bool = False  # ids, hashes and commands
    href: str = ""  # a page of ours that tells more

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to print."""
        return not self.text

    @property
    def mark(self) -> str:
        """What stands behind the text, raised where that can be printed."""
        return TIE_MARK if self.dagger else ""


@dataclass(frozen=True)
class Column:
    """A column's head; ``under`` is printed small below the title."""

    title: str
    under: str = ""
    is_text: bool = False
    note: str = ""
    is_long: bool = False  # running text: paper tables give it a paragraph


@dataclass(frozen=True)
class Group:
    """Rows that belong together: an execution class, or the controls."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    under: str = ""


@dataclass(frozen=True)
class Table:
    """Columns (the first one names the row) and groups of rows; caption and notes from the same record."""

    name: str
    title: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    caption: str
    notes: tuple[str, ...] = ()
    numbers: Numbers = field(default_factory=lambda: Numbers((), ()))
    heads: int = 1  # leading columns that describe the row
    legend: str = ""  # about what only the page shows
    is_grid: bool = False  # the other columns are alike (tasks), so rows and columns may change places
    remarks: tuple[str, ...] = ()  # what a reader without the page's first screen must know

    @property
    def is_empty(self) -> bool:
        """Whether there is no row."""
        return not any(g.rows for g in self.groups)


def turned(table: Table) -> Table:
    """A grid with rows and columns exchanged: a row per task and further head, a column per method, its class below."""
    methods = [row for group in table.groups for row in group.rows]
    columns = [Column(row[0].text, row[1].text if table.heads > 1 else "") for row in methods]
    rows = tuple(
        (Cell(c.title, c.under), *(row[i] for row in methods))
        for i, c in enumerate(table.columns)
        if i >= min(table.heads, 2)
    )
    return replace(table, columns=(Column("Task", is_text=True), *columns), groups=(Group("", rows),), heads=1)


ASYMMETRY = 0.25


def estimate_cell(e: Estimate, *, runs_text: str = "", shade: float | None = None) -> Cell:
    """An estimate as the few-seeds rules allow: with its interval, or without and the reason as a note."""
    r = rounded(e.value, e.low, e.high)
    remarks = [x for x in (e.reason, *e.flags) if x]
    if e.low is None or e.high is None:
        return Cell(r.value, runs_text, sort=e.value, shade=shade, note="; ".join(remarks))
    upper, lower = e.high - e.value, e.value - e.low
    is_even = abs(upper - lower) <= ASYMMETRY * (upper + lower)
    under = r.bracket + (f" {runs_text}" if runs_text else "")
    note = "; ".join([f"{e.level:.0%} interval, {e.method}", *remarks])
    return Cell(r.value, under, r.half if is_even else "", r.low, r.high, sort=e.value, shade=shade, note=note)


def marked(cell: Cell, *, bold: bool = False, tied: bool = False) -> Cell:
    """The cell as best of its class, or as one that cannot be told from it."""
    return replace(cell, bold=bold, dagger=tied)
