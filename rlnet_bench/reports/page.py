"""The HTML page: one file, no network, readable without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from rlnet_bench.analysis.classes import untrained
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.verdict import sentences
from rlnet_bench.analysis.wording import plural, typographic
from rlnet_bench.reports import provenance
from rlnet_bench.reports.looks import UNTRAINED_COLOUR, looks
from rlnet_bench.reports.table import Cell, Column, Group, Table

if TYPE_CHECKING:
    from rlnet_bench.reports.figures import Drawn


INTRO = {
    "aggregate": "One number per method over all pooled tasks. Look at the intervals first, then at the order.",
    "curves": "How fast methods learn, and how far runs of one method lie apart.",
    "profiles": "The higher a line, the more runs exceed the score below it. Lines that cross mean that neither "
    "method is better throughout.",
    "improvement": "Read along a row: how likely is one new run of this method to beat one of the other?",
    "tasks": "Best and ties are judged within an execution class: a method that sees more when acting does not "
    "outrank one that sees less.",
    "channel": "The same weights once more, with what crosses between agents cut, late or coarse: a score that falls "
    "is a score that needs its channel.",
    "ranks": "A rank is only as certain as its interval is short.",
}


NO_CHANNEL = "No method here needs a channel: every trained agent acts on its own observation (class D0)."
UNKNOWN_CHANNEL = "The records do not say what crosses between agents when they act."


@dataclass(frozen=True)
class Section:
    """One numbered section: an introduction, then figures, then tables."""

    id: str
    title: str
    intro: str = ""
    figures: tuple[Any, ...] = ()
    tables: tuple[Any, ...] = ()
    tabs: tuple[tuple[str, Any], ...] = ()
    empty: str = ""


@dataclass(frozen=True)
class _Shown:
    """A figure: the markup of its parts by file name."""

    name: str
    caption: str
    parts: dict[str, Markup] = field(repr=False)
    pdfs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pick:
    """A method that can be shown or hidden among the curves; ``place`` is its class in the figures."""

    place: int
    label: str
    is_shown: bool


PICKED = 8  # so many methods are shown at first


def picks(estimates: Estimates) -> dict[str, tuple[Pick, ...]]:
    """Execution class -> its methods. At first the best of the suite are shown, and the best of each class."""
    known = looks(estimates.results)
    drawn = {r.method for r in estimates.results.records if len(r.evals)}
    first = estimates.sorted_methods or sorted(drawn)
    shown = {*first[:PICKED], *(t.best for t in estimates.ties.values())}
    return {
        name: tuple(
            Pick(known[m.label].place, m.label, m.label in shown or len(drawn) <= PICKED)
            for m in members
            if m.label in drawn
        )
        for name, members in estimates.classes.items()
    }


def render(
    estimates: Estimates,
    figures: dict[str, Drawn],
    tables: dict[str, Table],
    *,
    title: str | None = None,
    timings: bool = True,
) -> str:
    """The whole page as text."""
    results = estimates.results
    shown = {
        n: _Shown(n, f.caption, {k: Markup(x) for k, x in f.markup.items()}, f.pdfs) for n, f in figures.items()
    }  # fmt: skip
    said = sentences(estimates)
    return environment().get_template("report.html.j2").render(
        title=title or f"{results.name} v{results.version}: results",
        suite_id=f"{results.name} v{results.version}",
        facts=_facts(estimates),
        leads=[s.text for s in said if s.weight == "lead"],
        plain=[s.text for s in said if s.weight == "plain"],
        warnings=[s.text for s in said if s.weight == "warning"],
        sections=_sections(estimates, shown, {k: html_table(t) for k, t in tables.items()}),
        looks=_keys(estimates),
        picks=picks(estimates),
        files=set(tables),
        commands=provenance.commands(estimates),
        state=html_table(provenance.state_table(estimates)) if estimates.is_partial else None,
        troubles=estimates.grid.troubles,
        methods=provenance.methods_text(estimates),
        references=html_table(provenance.task_table(estimates)),
        versions=provenance.versions(estimates, timings),
        runs=html_table(provenance.run_table(estimates)),
        suite=provenance.suite_text(estimates),
        css=asset("style.css"),
        js=asset("sort.js"),
    )  # fmt: skip


def fragment(estimates: Estimates) -> str:
    """The verdict and the aggregate and task tables, for a notebook."""
    from rlnet_bench.reports.tables import tables

    chosen = tables(estimates)
    source = (
        "{% from 'parts.html.j2' import table with context %}<div>{% for s in said %}<p>{{ s.text }}</p>{% endfor %}"
        "{% for t in chosen %}<h4>{{ t.title }}</h4>{{ table(t, looks, False) }}{% endfor %}</div>"
    )
    picked = [html_table(chosen[n]) for n in ("aggregate", "tasks-absolute") if n in chosen]
    return environment().from_string(source).render(said=sentences(estimates), chosen=picked, looks={})


def html_table(table: Table) -> Table:
    """The table with true minus signs and each cell's alignment, ready for the template."""
    groups = tuple(
        Group(g.title, tuple(tuple(_shown_cell(c, k) for c, k in zip(row, table.columns)) for row in g.rows), g.under)
        for g in table.groups
    )
    notes = tuple(typographic(n) for n in table.notes)
    return Table(
        table.name,
        table.title,
        table.columns,
        groups,
        typographic(table.caption),
        notes,
        table.numbers,
        table.heads,
        table.legend,
    )


class _ShownCell(Cell):
    is_text: bool = False


def _shown_cell(cell: Cell, column: Column) -> Cell:
    plain = cell.text if cell.code else typographic(cell.text)
    made = _ShownCell(
        plain, typographic(cell.under), cell.half, cell.low, cell.high, cell.bold, cell.dagger, cell.shade,
        f"{cell.sort:.9g}" if isinstance(cell.sort, float) else cell.sort, typographic(cell.note), cell.look, cell.code,
        cell.href,
    )  # fmt: skip
    object.__setattr__(made, "is_text", column.is_text)
    return made


def _facts(estimates: Estimates) -> list[dict[str, object]]:
    results = estimates.results
    methods, controls = sum(len(m) for m in estimates.classes.values()), len(untrained(results))
    done, total = estimates.grid.count("ok", "diverged"), estimates.grid.total
    texts = [
        plural(len(results.tasks), "task"),
        plural(methods, "method") + (f" + {plural(controls, 'control')}" if controls else ""),
        plural(len(results.seeds), "seed"),
        results.origin.mode(results.primary),
    ]
    out: list[dict[str, object]] = [{"text": t, "is_partial": False} for t in texts]
    state = f"partial: {done} of {total} runs" if estimates.is_partial else f"complete: {total} runs"
    return [*out, {"text": state, "is_partial": estimates.is_partial}]


def _keys(estimates: Estimates) -> dict[str, dict[str, str]]:
    out = {}
    for method, look in looks(estimates.results).items():
        stroke = "var(--control)" if look.colour == UNTRAINED_COLOUR else f"var(--c{look.index})"
        dashes = "" if look.dashes is None else " ".join(f"{1.3 * d:g}" for d in look.dashes)
        out[method] = {"stroke": stroke, "dashes": dashes}
    return out


def _sections(estimates: Estimates, shown: dict[str, _Shown], tables: dict[str, Table]) -> list[Section]:
    def some(*names: str) -> tuple[Table, ...]:
        return tuple(tables[n] for n in names if n in tables)

    scored = [n for n in ("tasks-absolute", "tasks-final") if n in tables]
    pool = estimates.pool
    unpooled = "" if pool.scores else f"No suite aggregate: {pool.why or 'no run has finished yet'}."
    tabs = tuple((axis, shown[f"curves-{axis}"]) for axis in ("frames", "seconds") if f"curves-{axis}" in shown)
    figures = {n: (shown[n],) if n in shown else () for n in ("aggregate", "profile", "improvement")}
    alone = "One method only: nothing to compare." if estimates.pool.scores else unpooled
    return [
        Section(
            "tasks", "Scores per task", INTRO["tasks"],
            tables=some(*scored[:1]), empty="" if scored else "No run has finished yet.",
        ),
        Section(
            "aggregate", "Aggregate scores", INTRO["aggregate"], figures["aggregate"], some("aggregate"),
            empty=unpooled,
        ),
        Section(
            "curves", "Learning curves", INTRO["curves"] if tabs else "", tabs=tabs if len(tabs) > 1 else (),
            figures=tuple(f for _, f in tabs) if len(tabs) == 1 else (), empty="" if tabs else "No evaluation yet.",
        ),
        Section("profiles", "Performance profile", INTRO["profiles"], figures["profile"], empty=unpooled),
        Section(
            "improvement", "Probability of improvement", INTRO["improvement"], figures["improvement"],
            empty="" if figures["improvement"] else alone,
        ),
        Section(
            "more", "Final scores, success, sampled actions", "",
            tables=some(*scored[1:], "tasks-absolute-success", "tasks-final-success", "modes"),
            empty="" if scored else "No run has finished yet.",
        ),
        Section("ranks", "Ranks", INTRO["ranks"], tables=some("ranks"), empty=unpooled),
        Section(
            "channel", "What acting together costs", INTRO["channel"], tables=some("channel"),
            empty="" if "channel" in tables else NO_CHANNEL if set(estimates.classes) <= {"D0"} else UNKNOWN_CHANNEL,
        ),
        Section(
            "compute", "Compute and tuning", "", tables=some("compute", "settings"),
            empty="" if "compute" in tables else "No record yet.",
        ),
        Section("provenance", "Provenance"),
    ]  # fmt: skip


def environment(*packages: str) -> jinja2.Environment:
    """Templates of packages, then those of reports; every value is escaped."""
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(p, "templates") for p in (*packages, "rlnet_bench.reports")])
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


def asset(name: str, package: str = "rlnet_bench.reports") -> Markup:
    """A style sheet or script of ours, to stand inside a page."""
    return Markup(resources.files(package).joinpath("templates", name).read_text(encoding="utf-8"))
