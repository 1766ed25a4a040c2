"""Figure 2: learning curves, one small panel per task, with the card's reference points as lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlnet_bench.analysis.curves import FEW_RUNS, Axis, CurveEstimate
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.wording import duration, short_count
from rlnet_bench.reports import plots
from rlnet_bench.reports.canvas import (
    INK,
    MUTED,
    Draw,
    Size,
    figure,
    finite,
    legend_above,
    legend_height,
    line_style,
    spread_limits,
)
from rlnet_bench.reports.looks import looks
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.svg import mark
from rlnet_bench.reports.titles import task_titles

REFERENCE_STYLE: dict[str, Any] = {
    "best": {"linestyle": "-", "linewidth": 0.9},
    "uncoordinated": {"linestyle": (0, (6, 3)), "linewidth": 0.9},
    "random": {"linestyle": (0, (1, 2.5)), "linewidth": 0.9},
}


MANY_METHODS = 8  # above it single runs are left out, and bands are fainter
_LABEL = {"frames": "environment frames per run", "seconds": "training seconds of the seed group"}


def curves_of(estimates: Estimates, axis: Axis) -> dict[str, dict[str, CurveEstimate]]:
    """Task -> method -> curve on an axis."""
    return estimates.by_frames if axis == "frames" else estimates.by_seconds


def draw(estimates: Estimates, size: Size, axis: Axis) -> Figure:
    """All panels; every method keeps its colour, pattern and place in the legend."""
    panels = curves_of(estimates, axis)
    across = min(len(panels), 1 if size.is_narrow else 3) or 1
    down = max(1, math.ceil(len(panels) / across))
    panel = size.width / max(across, 2 if not size.is_narrow else 1)
    known = looks(estimates.results)
    present = [m.label for m in estimates.results.methods if any(m.label in p for p in panels.values())]
    labels = present + [f"{k} reference" for k in REFERENCE_STYLE]
    fig = figure(size, down * panel * 0.72 + 0.4 + legend_height(labels, size))
    axes = fig.subplots(down, across, squeeze=False)
    for ax, task in zip(axes.flat, panels):
        _panel(ax, estimates, task, axis, size)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    fig.supylabel("team return", color=INK, fontsize=size.font)
    fig.supxlabel(_LABEL[axis], color=INK, fontsize=size.font)
    handles = [Line2D([], [], linewidth=1.8, **line_style(known[m])) for m in present]
    lines = [Line2D([], [], color=MUTED, **REFERENCE_STYLE[k]) for k in REFERENCE_STYLE]
    legend_above(fig, handles + lines, labels, size)
    return fig


def panels(estimates: Estimates, axis: Axis) -> dict[str, Draw]:
    """One figure per task, for a page with a legend of its own."""
    titles = task_titles(estimates.results.tasks)
    return {titles[task][0]: partial(_single, estimates, task, axis) for task in curves_of(estimates, axis)}


def _single(estimates: Estimates, task: str, axis: Axis, size: Size) -> Figure:
    fig = figure(size, size.width * 0.66)
    ax = fig.subplots()
    _panel(ax, estimates, task, axis, size)
    ax.set_ylabel("team return")
    ax.set_xlabel(_LABEL[axis])
    return fig


def _panel(ax: Axes, estimates: Estimates, task: str, axis: Axis, size: Size) -> None:
    found, known = curves_of(estimates, axis)[task], looks(estimates.results)
    # Single runs tell something while there are few lines; among many methods they are a fog.
    thin = [c for c in found.values() if c.runs.n <= FEW_RUNS] if len(found) <= MANY_METHODS else []
    for curve in thin:
        for run in curve.runs.values_nT:
            [line] = ax.plot(curve.band.x_T, run, color=known[curve.method].colour, linewidth=0.6, alpha=0.5)
            line.set_gid(mark(known[curve.method].place))
    styles = {m: known[m] for m in found}
    plots.curves(
        found, ax, palette={m: s.colour for m, s in styles.items()}, dashes={m: s.dashes for m, s in styles.items()},
        band_alpha=0.18 if len(found) <= MANY_METHODS else 0.1, linewidth=1.7,
    )  # fmt: skip
    by_label = {f"{x}{m}": m for m in found for x in ("", "_")}
    for drawn in (*ax.lines, *ax.collections):
        method = by_label.get(str(drawn.get_label()))
        if method is not None:
            drawn.set_gid(mark(known[method].place))
    for method, curve in found.items():
        if curve.band.x_T.size == 1:
            look = known[method]
            ax.plot(curve.band.x_T, curve.band.value_T, marker=look.marker, color=look.colour, markersize=4)
    _limits(ax, estimates, task, found, thin)
    _dress(ax, estimates, task, axis, size)


def _limits(
    ax: Axes, estimates: Estimates, task: str, found: dict[str, CurveEstimate], thin: Sequence[CurveEstimate]
) -> None:
    """Reference lines, and limits that cut no line; a band may reach out where a diverged run's floor pulls it down."""
    lines = [c.band.value_T for c in found.values()] + [c.runs.values_nT.ravel() for c in thin]
    bands = [x for c in found.values() for x in (c.band.low_T, c.band.high_T) if x is not None]
    points = []
    for name, how in REFERENCE_STYLE.items():
        reference = estimates.fact(task).reference(name)
        if reference is not None:
            points.append(reference.value)
            ax.axhline(reference.value, color=MUTED, zorder=1, **how)
    whole = finite(np.concatenate([*lines, points]))
    low, high = float(whole.min()), float(whole.max())
    if bands:
        spread = finite(np.concatenate(bands))
        room = 0.3 * (high - low)
        low, high = max(min(low, float(spread.min())), low - room), min(max(high, float(spread.max())), high + room)
    ax.set_ylim(*spread_limits(low, high))


def _dress(ax: Axes, estimates: Estimates, task: str, axis: Axis, size: Size) -> None:
    name, detail = task_titles(estimates.results.tasks)[task]
    note = " · channel task" if estimates.fact(task).card.channel else ""
    ax.set_title(f"{name}\n", loc="left", pad=3, fontweight="bold", linespacing=1.3)
    small: dict[str, Any] = {"fontsize": size.font * 0.85, "color": MUTED}
    ax.annotate(detail + note, (0, 1), (0, 4), "axes fraction", textcoords="offset points", **small)
    ax.grid(axis="y")
    text = short_count if axis == "frames" else duration
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: text(v) if v else "0"))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.margins(x=0.01)


def numbers(estimates: Estimates, axis: Axis) -> Numbers:
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
    return Numbers(("task", "method", "line", axis, "value", "low", "high", "runs"), tuple(rows))
