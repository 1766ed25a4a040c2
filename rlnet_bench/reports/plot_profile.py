"""Figure 3: performance profiles with simultaneous bands."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlnet_bench.analysis.estimates import LOWEST_SHOWN, Estimates
from rlnet_bench.reports import plots
from rlnet_bench.reports.canvas import MUTED, Size, figure, legend_above, legend_height, line_style
from rlnet_bench.reports.looks import looks
from rlnet_bench.reports.numbers import Numbers


def draw(estimates: Estimates, size: Size) -> Figure:
    """Share of runs above every threshold; the reference points are marked on the axis."""
    methods = list(estimates.profiles)
    fig = figure(size, size.width * (0.7 if size.is_narrow else 0.4) + legend_height(methods, size))
    ax = fig.subplots()
    known = looks(estimates.results)
    for x in (0.0, 1.0):
        ax.axvline(x, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2.5)) if x == 0 else "-")
    plots.profiles(
        estimates.profiles,
        ax,
        palette={m: known[m].colour for m in methods},
        dashes={m: known[m].dashes for m in methods},
    )
    ax.set_xlabel("normalised score τ" if size.is_narrow else "normalised score τ (0 = random, 1 = documented best)")
    ax.set_ylabel("share of runs above τ")
    ax.set_ylim(-0.02, 1.03)
    ax.set_xlim(*shown(estimates))
    ax.grid()
    legend_above(fig, [Line2D([], [], linewidth=1.8, **line_style(known[m])) for m in methods], methods, size)
    return fig


def shown(estimates: Estimates) -> tuple[float, float]:
    """The thresholds that the axis shows; floors of diverged runs may lie far below them."""
    return LOWEST_SHOWN, max(float(b.x_T[-1]) for b in estimates.profiles.values()) + 0.02


def numbers(estimates: Estimates) -> Numbers:
    """The plotted numbers."""
    rows = []
    for method, band in estimates.profiles.items():
        for t, x in enumerate(band.x_T):
            low = None if band.low_T is None else float(band.low_T[t])
            high = None if band.high_T is None else float(band.high_T[t])
            rows.append((method, float(x), float(band.value_T[t]), low, high))
    return Numbers(("method", "threshold", "share_above", "low", "high"), tuple(rows))
