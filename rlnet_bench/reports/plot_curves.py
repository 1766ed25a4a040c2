"""Figure 2: learning curves, one small panel per task, with the card's reference points as lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlnet_bench.analysis.curves import FEW_RUNS, Axis, CurveEstimate
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.wording import duration, short_count
from rlnet_bench.reports.canvas import INK, MUTED, Size, figure, finite, legend_above, line_style, spread_limits
from rlnet_bench.reports.looks import looks
from rlnet_bench.reports.sheet import Sheet
from rlnet_bench.reports.titles import task_titles

REFERENCE_STYLE: dict[str, Any] = {
    "best": {"linestyle": "-", "linewidth": 0.9},
    "uncoordinated": {"linestyle": (0, (6, 3)), "linewidth": 0.9},
    "random": {"linestyle": (0, (1, 2.5)), "linewidth": 0.9},
}


def curves_of(estimates: Estimates, axis: Axis) -> dict[str, dict[str, CurveEstimate]]:
    """Task -> method -> curve on an axis."""
    return estimates.by_frames if axis == "frames" else estimates.by_seconds


def draw(estimates: Estimates, size: Size, axis: Axis) -> Figure:
    """All panels; every method keeps its colour, pattern and place in the legend."""
    panels = curves_of(estimates, axis)
    across = min(len(panels), 1 if size.is_narrow else 3) or 1
    down = max(1, math.ceil(len(panels) / across))
    panel = size.width / max(across, 2 if not size.is_narrow else 1)
    fig = figure(size, down * panel * 0.72 + 0.5)
    axes = fig.subplots(down, across, squeeze=False)
    known = looks(estimates.results)
    for ax, task in zip(axes.flat, panels):
        for method, curve in panels[task].items():
            _curve(ax, curve, known[method])
        _references(ax, estimates, task, panels[task])
        _dress(ax, estimates, task, axis, size)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    fig.supylabel("team return", color=INK, fontsize=size.font)
    label = "environment frames per run" if axis == "frames" else "training seconds of the seed group"
    fig.supxlabel(label, color=INK, fontsize=size.font)
    present = [m.label for m in estimates.results.methods if any(m.label in p for p in panels.values())]
    handles = [Line2D([], [], linewidth=1.8, **line_style(known[m])) for m in present]
    lines = [Line2D([], [], color=MUTED, **REFERENCE_STYLE[k]) for k in REFERENCE_STYLE]
    legend_above(fig, handles + lines, present + [f"{k} reference" for k in REFERENCE_STYLE], size)
    return fig


def _curve(ax: Axes, curve: CurveEstimate, look: Any) -> None:
    x, band = curve.band.x_T, curve.band
    if curve.runs.n <= FEW_RUNS:
        for run in curve.runs.values_nT:
            ax.plot(x, run, color=look.colour, linewidth=0.5, alpha=0.4)
    if band.low_T is not None and band.high_T is not None:
        ax.fill_between(x, band.low_T, band.high_T, color=look.colour, alpha=0.18, linewidth=0)
    ax.plot(x, band.value_T, linewidth=1.7, zorder=3, **line_style(look))
    if x.size == 1:
        ax.plot(x, band.value_T, marker=look.marker, color=look.colour, markersize=4)


def _references(ax: Axes, estimates: Estimates, task: str, panel: dict[str, CurveEstimate]) -> None:
    fact = estimates.fact(task)
    shown = [c.band.value_T for c in panel.values()] + [
        limit for c in panel.values() for limit in (c.band.low_T, c.band.high_T) if limit is not None
    ]
    values = finite(np.concatenate(shown))
    points = []
    for name, how in REFERENCE_STYLE.items():
        reference = fact.reference(name)
        if reference is not None:
            points.append(reference.value)
            ax.axhline(reference.value, color=MUTED, zorder=1, **how)
    low, high = float(min([values.min(), *points])), float(max([values.max(), *points]))
    if points:  # A diverged run's floor may lie far below: the panel stays readable, the band leaves it.
        low = max(low, min(points) - 0.6 * (max(points) - min(points)))
    ax.set_ylim(*spread_limits(low, high))


def _dress(ax: Axes, estimates: Estimates, task: str, axis: Axis, size: Size) -> None:
    name, detail = task_titles(estimates.results.tasks)[task]
    mark = " · channel task" if estimates.fact(task).card.channel else ""
    ax.set_title(f"{name}\n", loc="left", pad=3, fontweight="bold", linespacing=1.3)
    small: dict[str, Any] = {"fontsize": size.font * 0.85, "color": MUTED}
    ax.annotate(detail + mark, (0, 1), (0, 4), "axes fraction", textcoords="offset points", **small)
    ax.grid(axis="y")
    text = short_count if axis == "frames" else duration
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: text(v) if v else "0"))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.margins(x=0.01)


def sheet(estimates: Estimates, axis: Axis) -> Sheet:
    """The plotted numbers: mean and band per point, and every run."""
    rows: list[tuple[object, ...]] = []
    for task, methods in curves_of(estimates, axis).items():
        for method, curve in methods.items():
            band = curve.band
            for t, x in enumerate(band.x_T):
                low = None if band.low_T is None else float(band.low_T[t])
                high = None if band.high_T is None else float(band.high_T[t])
                rows.append((task, method, "mean", float(x), float(band.value_T[t]), low, high, curve.runs.n))
            for seed, run in zip(curve.runs.seeds, curve.runs.values_nT):
                for x, y in zip(curve.runs.frames_T, run):
                    rows.append((task, method, f"seed {seed}", float(x), float(y), None, None, 1))
    return Sheet(("task", "method", "line", axis, "value", "low", "high", "runs"), tuple(rows))
