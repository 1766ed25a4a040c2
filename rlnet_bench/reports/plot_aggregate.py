"""Figure 1: suite aggregates as sorted horizontal bars with intervals."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.reports.canvas import INK, MUTED, Size, figure, short_name, thin_spines
from rlnet_bench.reports.looks import looks
from rlnet_bench.reports.sheet import Sheet
from rlnet_bench.stats.result import Estimate

PANELS = (
    ("iqm", "IQM"),
    ("mean", "Mean"),
    ("median", "Median"),
    ("optimality_gap", "Optimality gap"),
)


def draw(estimates: Estimates, size: Size) -> Figure:
    """Four panels in a row (two by two in one column); methods sorted by IQM, controls apart and grey."""
    table = estimates.headline
    methods = estimates.sorted_methods
    controls = sorted(estimates.controls, key=lambda m: -estimates.controls[m]["iqm"].value)
    rows = len(methods) + len(controls) + (0.5 if controls else 0)
    across = 2 if size.is_narrow else 4
    line = size.font / 72 * 2.1
    fig = figure(size, (4 // across) * (line * max(rows, 2) + 0.55))
    axes = fig.subplots(4 // across, across, sharey=True, squeeze=False)
    for ax, (name, title) in zip(axes.flat, PANELS):
        for i, method in enumerate(methods):
            _bar(ax, estimates, method, table[method][name], float(i))
        for i, method in enumerate(controls):
            _bar(ax, estimates, method, estimates.controls[method][name], len(methods) + 0.5 + i, 0.28)
        better = "lower is better" if name == "optimality_gap" else "higher is better"
        ax.set_title(title, loc="left", fontweight="bold", pad=4)
        ax.set_xlabel(better, color=MUTED, fontsize=size.font * 0.85)
        ax.grid(axis="x")
        thin_spines(ax)
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, 0.0), high)
        if low < 0:
            ax.axvline(0, color=MUTED, linewidth=0.6)
    places = [float(i) for i in range(len(methods))] + [len(methods) + 0.5 + i for i in range(len(controls))]
    for ax in axes[:, 0]:
        ax.set_yticks(places, [short_name(m, size) for m in [*methods, *controls]])
        for label, method in zip(ax.get_yticklabels(), [*methods, *controls]):
            label.set_color(MUTED if method in controls else INK)
    axes[0, 0].set_ylim((places[-1] if places else 0) + 0.6, -0.6)
    return fig


def _bar(ax: Axes, estimates: Estimates, method: str, e: Estimate, y: float, height: float = 0.62) -> None:
    look = looks(estimates.results)[method]
    ax.barh(y, e.value, height, color=look.colour, alpha=0.45, linewidth=0)
    if e.low is not None and e.high is not None:
        ax.plot([e.low, e.high], [y, y], color=INK, linewidth=1.3, solid_capstyle="butt")
        for x in (e.low, e.high):
            ax.plot([x, x], [y - height / 4, y + height / 4], color=INK, linewidth=1.0)
    ax.plot([e.value, e.value], [y - height / 2, y + height / 2], color=look.colour, linewidth=2.2)


def sheet(estimates: Estimates) -> Sheet:
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
    return Sheet(("method", "statistic", "value", "low", "high", "interval", "runs", "tasks"), tuple(rows))
