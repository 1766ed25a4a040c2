"""Figure 1: suite aggregates as sorted horizontal bars with intervals."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.reports import plots
from rlnet_bench.reports.canvas import INK, MUTED, Draw, Size, figure, short_name, thin_spines
from rlnet_bench.reports.looks import looks
from rlnet_bench.reports.numbers import Numbers

PANELS = {"iqm": "IQM", "mean": "Mean", "median": "Median", "optimality_gap": "Optimality gap"}


def draw(estimates: Estimates, size: Size) -> Figure:
    """All panels in a row (two by two in one column); methods sorted by IQM, controls below and grey."""
    names = shown(estimates)
    across = 2 if size.is_narrow else len(names)
    down = -(-len(names) // across)
    fig = figure(size, down * _height(estimates, size))
    axes = fig.subplots(down, across, sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names):
        _panel(ax, estimates, name, size)
    for ax in list(axes.flat)[len(names) :]:
        ax.set_visible(False)
    return fig


def panels(estimates: Estimates) -> dict[str, Draw]:
    """One figure per statistic, for a page that puts as many side by side as it has room for."""
    return {PANELS[name]: partial(_single, estimates, name) for name in shown(estimates)}


def shown(estimates: Estimates) -> list[str]:
    """The statistics that are drawn: those of the pool's scale."""
    known = {s.name for s in estimates.statistics}
    return [name for name in PANELS if name in known]


def _single(estimates: Estimates, name: str, size: Size) -> Figure:
    fig = figure(size, _height(estimates, size))
    _panel(fig.subplots(), estimates, name, size)
    return fig


def _height(estimates: Estimates, size: Size) -> float:
    rows = len(estimates.headline) + len(estimates.controls)
    return size.font / 72 * 2.1 * max(rows, 2) + 0.55


def _panel(ax: Axes, estimates: Estimates, name: str, size: Size) -> None:
    controls = sorted(estimates.controls, key=lambda m: -estimates.controls[m]["iqm"].value)
    methods = [*estimates.sorted_methods, *controls]
    table = estimates.headline | estimates.controls
    known = looks(estimates.results)
    plots.aggregates({m: table[m][name] for m in methods}, ax, palette={m: known[m].colour for m in methods})
    ax.set_title(PANELS[name], loc="left", fontweight="bold", pad=4)
    better = "lower is better" if name == "optimality_gap" else "higher is better"
    ax.set_xlabel(better, color=MUTED, fontsize=size.font * 0.85)
    ax.grid(axis="x")
    thin_spines(ax)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0.0), high)
    if low < 0:
        ax.axvline(0, color=MUTED, linewidth=0.6)
    ax.set_yticks(range(len(methods)), [short_name(m, size) for m in methods])
    for label, method in zip(ax.get_yticklabels(), methods):
        label.set_color(MUTED if method in controls else INK)


def numbers(estimates: Estimates) -> Numbers:
    """The plotted numbers."""
    rows = []
    for source, methods in (
        (estimates.headline, estimates.sorted_methods),
        (estimates.controls, list(estimates.controls)),
    ):
        for method in methods:
            for name, e in source[method].items():
                rows.append(
                    (method, name, e.value, e.low, e.high, e.method, sum(e.n_per_task.values()), len(e.n_per_task))
                )
    return Numbers(("method", "statistic", "value", "low", "high", "interval", "runs", "tasks"), tuple(rows))
