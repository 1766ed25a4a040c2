"""The figures of a report: what is drawn, under which caption, from which numbers."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from rlnet_bench.analysis.curves import Axis
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.reports import captions, plot_aggregate, plot_curves, plot_improvement, plot_profile
from rlnet_bench.reports.canvas import (
    HALF_PAGE,
    ONE_COLUMN,
    PAGE,
    PANEL,
    PHONE,
    TWO_COLUMNS,
    Draw,
    Size,
    pdf_bytes,
    svg_text,
)
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.svg import inline, shorten


@dataclass(frozen=True)
class Plot:
    """One figure: its drawing as a function of size, caption, alternative text and numbers."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Size], Figure]
    numbers: Numbers
    panels: dict[str, Draw] = field(default_factory=dict)  # by title; where there are any, the page shows these

    page: Size = PAGE

    def svgs(self) -> dict[str, str]:
        """Stand-alone SVG files by name: one per panel; or one, and one more for narrow screens."""
        if not self.panels:
            sizes = {self.name: self.page, f"{self.name}-{PHONE.name}": PHONE}
            return {name: shorten(svg_text(self.draw, size)) for name, size in sizes.items()}
        out: dict[str, str] = {}
        for number, draw in enumerate(self.panels.values(), 1):
            out[f"{self.name}-{number}"] = shorten(svg_text(draw, PANEL))
        return out

    def pdfs(self) -> dict[str, bytes]:
        """PDF files for papers, by the size's name: one column (3.3 in) and two (6.9 in).

        None of curves by seconds: wall clocks of hosts that may have been shared are for looking, not for papers.
        """
        return (
            {}
            if self.name == "curves-seconds"
            else {size.name: pdf_bytes(self.draw, size) for size in (ONE_COLUMN, TWO_COLUMNS)}
        )

    def markup(self, svgs: dict[str, str]) -> dict[str, str]:
        """The SVG files' texts as elements of the page; the first one tells what all of them show."""
        titles = list(self.panels) or [""] * len(svgs)
        return {
            name: inline(text, name, f"{title}. {self.alt}" if title and i == 0 else title or self.alt)
            for i, (title, (name, text)) in enumerate(zip(titles, svgs.items()))
        }


def _aggregate(e: Estimates) -> Plot | None:
    if not e.pool.scores:
        return None
    return Plot(
        "aggregate", "Aggregate scores", *captions.aggregate(e), lambda size: plot_aggregate.draw(e, size),
        plot_aggregate.numbers(e), plot_aggregate.panels(e),
    )  # fmt: skip


def _curves(e: Estimates, axis: Axis) -> Plot | None:
    if not plot_curves.curves_of(e, axis):
        return None
    return Plot(
        f"curves-{axis}", f"Learning curves by {axis}", *captions.learning(e, axis),
        lambda size: plot_curves.draw(e, size, axis), plot_curves.numbers(e, axis), plot_curves.panels(e, axis),
    )  # fmt: skip


def _profile(e: Estimates) -> Plot | None:
    if not e.profiles:
        return None
    return Plot(
        "profile", "Performance profile", *captions.profile(e), lambda size: plot_profile.draw(e, size),
        plot_profile.numbers(e), page=HALF_PAGE,
    )  # fmt: skip


def _improvement(e: Estimates) -> Plot | None:
    if not e.improvement:
        return None
    return Plot(
        "improvement", "Probability of improvement", *captions.improvement(e),
        lambda size: plot_improvement.draw(e, size), plot_improvement.numbers(e),
    )  # fmt: skip


MAKERS: dict[str, Callable[[Estimates], Plot | None]] = {  # in the order of the report
    "aggregate": _aggregate,
    "curves-frames": lambda e: _curves(e, "frames"),
    "curves-seconds": lambda e: _curves(e, "seconds"),
    "profile": _profile,
    "improvement": _improvement,
}


def plots(estimates: Estimates) -> dict[str, Plot]:
    """Every figure that the records allow, by name, in the order of the report."""
    made = {name: make(estimates) for name, make in MAKERS.items()}
    return {name: plot for name, plot in made.items() if plot is not None}


@dataclass(frozen=True)
class Drawn:
    """A figure as files and as markup for the page."""

    name: str
    caption: str
    markup: dict[str, str]
    pdfs: tuple[str, ...]
    files: dict[str, bytes]  # below ``figures/``


@contextmanager
def drawing(estimates: Estimates, *, pdf: bool = True) -> Iterator[Callable[[], dict[str, Drawn]]]:
    """Draw every figure beside what the caller does meanwhile; the function given waits for them, by name.

    Drawing takes most of a report's time, so every core gets a process. They are forked: each makes the estimates that
    only its figure needs. With one core, or where there is no fork, the function draws when it is called.
    """
    names = [name for name in MAKERS if name != "curves-seconds" or estimates.timings]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

    def by_name(found: Iterable[Drawn | None]) -> dict[str, Drawn]:
        return {d.name: d for d in found if d is not None}

    if cores < 2 or not estimates.results.records:
        yield lambda: by_name([_drawn(estimates, name, pdf) for name in names])
        return
    # What several figures and tables rest on is made once, before the processes part.
    _ = (estimates.headline, estimates.controls, estimates.improvement)
    # Children find the estimates in a global: results hold functions, which cannot be sent to them.
    _shared.append(estimates)
    with ProcessPoolExecutor(min(cores, len(names)), multiprocessing.get_context("fork")) as pool:
        jobs = [pool.submit(_drawn_in_child, name, pdf) for name in names]
        _shared.clear()
        yield lambda: by_name([job.result() for job in jobs])


_shared: list[Estimates] = []


def _drawn_in_child(name: str, pdf: bool) -> Drawn | None:
    return _drawn(_shared[0], name, pdf)


def _drawn(estimates: Estimates, name: str, pdf: bool) -> Drawn | None:
    plot = MAKERS[name](estimates)
    if plot is None:
        return None
    svgs = plot.svgs()
    files = {f"{part}.svg": text.encode() for part, text in svgs.items()} | {f"{name}.csv": plot.numbers.csv().encode()}
    pdfs = {f"{name}-{size}.pdf": data for size, data in plot.pdfs().items()} if pdf else {}
    return Drawn(name, plot.caption, plot.markup(svgs), tuple(pdfs), files | pdfs)
