"""Figure 4: probability of improvement of every ordered pair, as a heat map centred at one half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.reports import plots
from rlnet_bench.reports.canvas import INK, MUTED, Size, figure, short_name
from rlnet_bench.reports.numbers import Numbers

FEW = 6  # methods; of more, narrow figures number the columns


def draw(estimates: Estimates, size: Size) -> Figure:
    """Cell = P(row > column); the tint is the distance from 0.5, a dot says that the interval excludes 0.5."""
    methods = estimates.sorted_methods
    k = len(methods)
    if size.is_narrow and k > FEW:  # one name for both sides of a cell that is too small for two
        names = [f"{m}  {i}" for i, m in enumerate(methods, 1)]
        columns = [str(i) if i % 5 == 0 or i == 1 else "" for i in range(1, k + 1)]
    else:
        names = columns = [short_name(m, size) for m in methods]
    margin = 0.35 + max(len(m) for m in names) * size.font * 0.62 / 72
    cell = min(size.font / 72 * 8, (size.width - margin) / max(k, 1))
    is_slanted = max(len(m) for m in columns) * size.font * 0.62 / 72 > cell and columns is names
    below = margin * 0.6 if is_slanted else 0.45
    fig = figure(replace(size, width=margin + cell * k), max(cell * 0.62, size.font / 72 * 2.2) * k + below)
    ax = fig.subplots()
    plots.improvement(estimates.improvement, ax, order=methods, fontsize=min(size.font, cell * 72 * 0.27))
    for place in (ax.hlines, ax.vlines):
        place(range(k + 1), 0, k, color=MUTED, linewidth=0.25)
    ax.set_xlim(0, k)
    ax.set_ylim(k, 0)
    turn: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if is_slanted else {"rotation": 0}
    ax.set_xticks([i + 0.5 for i in range(k)], columns, **turn)
    ax.set_yticks([i + 0.5 for i in range(k)], names, rotation=0)
    ax.tick_params(length=0, labelcolor=INK)
    ax.set_xlabel("column")
    ax.set_ylabel("row")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return fig


def numbers(estimates: Estimates) -> Numbers:
    """The plotted numbers."""
    rows = tuple(
        (a, b, e.value, e.low, e.high, e.method, e.excludes(0.5)) for (a, b), e in estimates.improvement.items()
    )
    return Numbers(("row", "column", "probability", "low", "high", "interval", "excludes_half"), rows)
