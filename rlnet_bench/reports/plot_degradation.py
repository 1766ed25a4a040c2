"""What becomes of a score as its channel gets coarser, later and less reliable: one panel each."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rlnet_bench.analysis.protocol import CURVES, Protocol
from rlnet_bench.reports import plots
from rlnet_bench.reports.canvas import MUTED, Size, figure

LABELS = {"bits": "bits per number", "delay": "steps late", "drop": "share of steps lost"}
LEVELS = {"intact": "-", "constant": "--", "shuffled": ":"}


def frame(protocol: Protocol, kind: str) -> pd.DataFrame:
    """A curve as :func:`rlnet_bench.reports.plots.curves` draws it; ``intact`` is its beginning where that is 0."""
    start = [] if kind == "bits" else [p for p in protocol.points if p.kind == "intact"]
    points = start + [p for p in protocol.points if p.kind == kind and p.score is not None]
    return pd.DataFrame(
        {"method": kind, "x": [p.value for p in points], "value": [p.score for p in points],
         "low": [p.low for p in points], "high": [p.high for p in points]}
    )  # fmt: skip


def draw(protocol: Protocol, size: Size) -> Figure:
    """Panels with one scale; lines mark the score with the channel intact, constant and shuffled."""
    fig = figure(size, size.width * 0.32)
    axes = fig.subplots(1, len(CURVES), sharey=True)
    for ax, kind in zip(axes, CURVES):
        plots.curves(frame(protocol, kind), ax, marker="o", markersize=3)
        for name, dashes in LEVELS.items():
            value = next((p.score for p in protocol.points if p.kind == name), None)
            if value is not None:
                ax.axhline(value, color=MUTED, linestyle=dashes, linewidth=0.9, label=name)
        ax.set_xlabel(LABELS[kind])
    axes[0].set_ylabel("team return")
    axes[-1].legend(fontsize=size.font * 0.8, frameon=False)
    return fig
