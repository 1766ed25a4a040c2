"""Matplotlib set up once: styles for page and paper, and files that are the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
import numpy as np
from fontTools import subset
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rlnet_bench.reports.looks import Look

INK, MUTED, RULE, PAPER = "#1b1b1f", "#5c6066", "#c9ccd1", "#fefefe"
SALT = "rlnet_bench"


@dataclass(frozen=True)
class Size:
    """What a figure is drawn for: its width in inches, the font size in points, and how dense it may be."""

    name: str
    width: float
    font: float
    is_narrow: bool = False


PAGE = Size("page", 10.2, 9.5)
HALF_PAGE = Size("half", 6.6, 9.0)  # still legible when it is scaled down to a phone
PANEL = Size("panel", 3.8, 9.0)  # one of several beside each other on the page, or a phone's whole width
PHONE = Size("phone", 3.6, 8.5, True)  # of figures that are drawn once more for narrow screens
ONE_COLUMN = Size("1col", 3.3, 7.0, True)
TWO_COLUMNS = Size("2col", 6.9, 7.5)

Draw = Callable[[Size], Figure]


def style(size: Size) -> AbstractContextManager[None]:
    """The rc settings to draw and save under; names nothing but fonts that ship with matplotlib."""
    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": size.font,
        "axes.titlesize": size.font,
        "axes.labelsize": size.font,
        "xtick.labelsize": size.font * 0.9,
        "ytick.labelsize": size.font * 0.9,
        "legend.fontsize": size.font * 0.95,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": RULE,
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "axes.unicode_minus": True,
        "text.parse_math": False,  # names of methods are text, whatever dollars they hold
        "svg.hashsalt": SALT,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "pdf.compression": 6,
        "path.simplify": True,
        "axes.formatter.useoffset": False,
    }
    everything: Any = {**dict(matplotlib.rcParamsDefault), **settings}
    return cast("AbstractContextManager[None]", matplotlib.rc_context(everything))


def figure(size: Size, height: float) -> Figure:
    """An empty figure of the size's width; never touches pyplot's global state."""
    fig = Figure(figsize=(size.width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def svg_text(draw: Draw, size: Size = PAGE) -> str:
    """The figure as SVG text, without date or version of the library in it."""
    with style(size), _quiet():
        buffer = io.StringIO()
        laid_out(draw(size)).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def pdf_bytes(draw: Draw, size: Size) -> bytes:
    """The figure as PDF with embedded TrueType fonts."""
    with style(size), _quiet():
        buffer = io.BytesIO()
        metadata = {"CreationDate": None, "Creator": None, "Producer": None}
        with _fonts_without_shaping():
            laid_out(draw(size)).savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()


def laid_out(fig: Figure) -> Figure:
    """The figure with its layout settled: saving would draw it once more only to settle it."""
    engine = fig.get_layout_engine()
    if engine is not None:
        for ax in fig.axes:  # what is drawn inside of axes takes no room around them, and measuring it takes long
            for artist in (*ax.lines, *ax.collections, *ax.patches):
                artist.set_in_layout(False)
        fig.set_dpi(300)  # text is measured without the rounding to pixels; places are shares of the figure
        engine.execute(fig)
        fig.set_layout_engine("none")
    return fig


@contextmanager
def _fonts_without_shaping() -> Iterator[None]:
    """Embed fonts without their tables for shaping text: in a PDF every glyph has its place already, and cutting those
    tables down takes a third of the time of a small figure. Without the attribute fonts are embedded whole."""
    known = getattr(subset.Options, "_drop_tables_default", None)
    if known is None:
        yield
        return
    subset.Options._drop_tables_default = [*known, "GSUB", "GPOS", "GDEF"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = known


@contextmanager
def _quiet() -> Iterator[None]:
    """Names in scripts that the font lacks are drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph.*missing.*")
        yield


def short_name(name: str, size: Size) -> str:
    """A name that leaves room for the drawing: the middle of a long one gives way to an ellipsis.

    >>> short_name("a_very_long_name_of_a_method_with_options", ONE_COLUMN)
    'a_very_lo…_options'
    """
    room = 18 if size.is_narrow else 30
    return name if len(name) <= room else f"{name[: room // 2]}…{name[len(name) - room + room // 2 + 1 :]}"


def line_style(look: Look) -> dict[str, Any]:
    """Keyword arguments for a method's line."""
    dash: Any = "-" if look.dashes is None else (0, look.dashes)
    return {"color": look.colour, "linestyle": dash, "solid_capstyle": "round"}


def legend_above(fig: Figure, handles: list[Any], labels: list[str], size: Size) -> None:
    """A legend in rows above the panels, in the order given."""
    if not handles:
        return
    names = _legend_names(labels, size)
    fig.legend(
        handles, names, loc="outside upper left", ncols=_per_row(names, size), handlelength=2.8,
        columnspacing=1.6, handletextpad=0.6, borderaxespad=0.2,
    )  # fmt: skip


def legend_height(labels: list[str], size: Size) -> float:
    """Inches that a legend of these names takes above the panels."""
    return size.font / 72 * 1.55 * -(-len(labels) // _per_row(_legend_names(labels, size), size)) if labels else 0.0


def _legend_names(labels: list[str], size: Size) -> list[str]:
    shown = [short_name(x, size) for x in labels]
    if len(set(shown)) < len(labels):  # shorter, two methods would look the same
        shown = labels
    return [f" {x}" if x.startswith("_") else x for x in shown]  # matplotlib hides names with an underscore


def _per_row(names: list[str], size: Size) -> int:
    longest = max(len(x) for x in names)
    return min(len(names), max(1, int(size.width * 72 / (size.font * (4.6 + 0.62 * longest)))))


def thin_spines(ax: Axes) -> None:
    """Leave only the x axis line."""
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def spread_limits(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """Axis limits with some air; never of zero width."""
    width = max(high - low, 1e-9 * max(abs(low), abs(high), 1.0))
    return low - share * width, high + share * width


def finite(values: object) -> np.ndarray:
    """The finite numbers of anything array-like, flat."""
    x = np.asarray(values, dtype=np.float64).ravel()
    return x[np.isfinite(x)]
