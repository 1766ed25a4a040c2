"""The figures of a report: what is drawn, under which caption, from which numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.reports import captions, plot_aggregate, plot_curves, plot_improvement, plot_profile
from rlnet_bench.reports.canvas import ONE_COLUMN, PAGE, PANEL, TWO_COLUMNS, Draw, Size, pdf_bytes, svg_text
from rlnet_bench.reports.sheet import Sheet
from rlnet_bench.reports.svg import inline, shorten


@dataclass(frozen=True)
class Plot:
    """One figure: its drawing as a function of size, caption, alternative text and numbers."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Size], Figure]
    sheet: Sheet
    panels: dict[str, Draw] = field(
        default_factory=dict
    )  # title -> one panel by itself, where the page shows them apart

    def svgs(self) -> dict[str, str]:
        """Stand-alone SVG files by name: one, or one per panel."""
        if not self.panels:
            return {self.name: shorten(svg_text(self.draw, PAGE))}
        out: dict[str, str] = {}
        for number, draw in enumerate(self.panels.values(), 1):
            out[f"{self.name}-{number}"] = shorten(svg_text(draw, PANEL))
        return out

    def pdfs(self) -> dict[str, bytes]:
        """PDF files for papers, by the size's name: one column (3.3 in) and two (6.9 in)."""
        return {size.name: pdf_bytes(self.draw, size) for size in (ONE_COLUMN, TWO_COLUMNS)}

    def markup(self, svgs: dict[str, str]) -> dict[str, str]:
        """The SVG files' texts as elements of the page; the first one tells what all of them show."""
        titles = list(self.panels) or [""]
        return {
            name: inline(text, name, f"{title}. {self.alt}" if title and i == 0 else title or self.alt)
            for i, (title, (name, text)) in enumerate(zip(titles, svgs.items()))
        }


def plots(estimates: Estimates) -> dict[str, Plot]:
    """Every figure that the records allow, by name, in the order of the report."""
    out = []
    if estimates.pool.scores:
        out.append(
            Plot(
                "aggregate", "Aggregate scores", *captions.aggregate(estimates),
                lambda size: plot_aggregate.draw(estimates, size), plot_aggregate.sheet(estimates),
                plot_aggregate.panels(estimates),
            )
        )  # fmt: skip
    if estimates.by_frames:
        out.append(
            Plot(
                "curves-frames", "Learning curves by frames", *captions.learning(estimates, "frames"),
                lambda size: plot_curves.draw(estimates, size, "frames"), plot_curves.sheet(estimates, "frames"),
                plot_curves.panels(estimates, "frames"),
            )
        )  # fmt: skip
    if estimates.by_seconds:
        out.append(
            Plot(
                "curves-seconds", "Learning curves by seconds", *captions.learning(estimates, "seconds"),
                lambda size: plot_curves.draw(estimates, size, "seconds"), plot_curves.sheet(estimates, "seconds"),
                plot_curves.panels(estimates, "seconds"),
            )
        )  # fmt: skip
    if estimates.profiles:
        out.append(
            Plot(
                "profile", "Performance profile", *captions.profile(estimates),
                lambda size: plot_profile.draw(estimates, size), plot_profile.sheet(estimates),
            )
        )  # fmt: skip
    if estimates.improvement:
        out.append(
            Plot(
                "improvement", "Probability of improvement", *captions.improvement(estimates),
                lambda size: plot_improvement.draw(estimates, size), plot_improvement.sheet(estimates),
            )
        )  # fmt: skip
    return {p.name: p for p in out}
