"""Figures on axes of yours: ``rb.plots.curves(frame, ax=ax)``, as seaborn's users expect. Reports draw through these.

Every function takes estimates or a tidy DataFrame with finished numbers (nothing is resampled here), draws on ``ax``
(the current axes by default) and returns it. ``palette`` maps methods to colours; ``dashes`` to dash patterns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from rlnet_bench.analysis.crossplay import Crossplay
from rlnet_bench.analysis.curves import CurveEstimate
from rlnet_bench.analysis.wording import share
from rlnet_bench.reports.looks import COLOURS, LINES
from rlnet_bench.stats.result import BandEstimate, Estimate

Palette = Mapping[str, str]
Dashes = Mapping[str, tuple[float, ...] | None]
INK = "#1b1b1f"
ABOVE, BELOW = "#0072b2", "#d55e00"
SHADES = [to_rgba("#0072b2", 0.03), to_rgba("#0072b2", 0.6)]
SMALLEST_TEXT = 4.5  # points; numbers in cells of a heat map are left out below it


def estimates_frame(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Method -> estimate as columns method, value, low, high (NaN without an interval)."""
    rows = [(m, e.value, _nan(e.low), _nan(e.high)) for m, e in estimates.items()]
    return pd.DataFrame(rows, columns=["method", "value", "low", "high"])


def bands_frame(bands: Mapping[str, BandEstimate | CurveEstimate]) -> pd.DataFrame:
    """Method -> curve or profile as columns method, x, value, low, high, one row per point."""
    parts = []
    for method, found in bands.items():
        b = found.band if isinstance(found, CurveEstimate) else found
        nothing = np.full(b.x_T.size, np.nan)
        low, high = (nothing if x is None else x for x in (b.low_T, b.high_T))
        parts.append(pd.DataFrame({"method": method, "x": b.x_T, "value": b.value_T, "low": low, "high": high}))
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["method", "x", "value", "low", "high"])
    )


def pairs_frame(pairs: Mapping[tuple[str, str], Estimate]) -> pd.DataFrame:
    """(row, column) -> P(row > column) as columns row, column, probability, low, high."""
    rows = [(a, b, e.value, _nan(e.low), _nan(e.high)) for (a, b), e in pairs.items()]
    return pd.DataFrame(rows, columns=["row", "column", "probability", "low", "high"])


def aggregates(
    data: pd.DataFrame | Mapping[str, Estimate], ax: Axes | None = None, *, palette: Palette | None = None
) -> Axes:
    """Horizontal bars with intervals, one per method, in the order given.

    Args:
        data: columns method, value, low, high; or method -> estimate.
        ax: where to draw.
        palette: method -> colour.
    """
    frame = data if isinstance(data, pd.DataFrame) else estimates_frame(data)
    ax = _axes(ax)
    known = _palette(frame["method"], palette)
    colours = [known[m] for m in frame["method"]]
    y = np.arange(len(frame))
    ax.barh(y, frame["value"], 0.62, color=colours, alpha=0.45, linewidth=0)
    ax.vlines(frame["value"], y - 0.31, y + 0.31, colors=colours, linewidth=2.2)
    sure = frame["low"].notna().to_numpy()
    low, high = frame["low"][sure], frame["high"][sure]
    ax.hlines(y[sure], low, high, colors=INK, linewidth=1.3)
    ax.vlines(
        np.concatenate([low, high]), np.tile(y[sure] - 0.16, 2), np.tile(y[sure] + 0.16, 2), colors=INK, linewidth=1
    )
    ax.set(ylim=(len(frame) - 0.5, -0.5))
    ax.set_yticks(y, list(frame["method"]))
    return ax


def curves(
    data: pd.DataFrame | Mapping[str, CurveEstimate],
    ax: Axes | None = None,
    *,
    palette: Palette | None = None,
    dashes: Dashes | None = None,
    band_alpha: float = 0.18,
    **line: Any,
) -> Axes:
    """Lines with their bands, one per method: learning curves, or with ``drawstyle="steps-post"`` profiles.

    Args:
        data: columns method, x, value, low, high; or method -> curve.
        ax: where to draw.
        palette: method -> colour.
        dashes: method -> dash pattern.
        band_alpha: opacity of the bands.
        line: further keyword arguments of the lines.
    """
    frame = data if isinstance(data, pd.DataFrame) else bands_frame(data)
    ax = _axes(ax)
    parts = {str(m): part for m, part in frame.groupby("method", sort=False)}
    colours = _palette(list(parts), palette)
    for i, (method, part) in enumerate(parts.items()):
        if part["low"].notna().any():
            shade = ax.fill_between(part["x"], part["low"], part["high"], color=colours[method], alpha=band_alpha, lw=0)
            shade.set_label(f"_{method}")
        pattern = dashes.get(method) if dashes else LINES[i % len(LINES)]
        how: dict[str, Any] = {"linewidth": 1.7, "zorder": 3, "linestyle": (0, pattern) if pattern else "-", **line}
        ax.plot(part["x"], part["value"], color=colours[method], label=method, **how)
    return ax


def profiles(data: pd.DataFrame | Mapping[str, BandEstimate], ax: Axes | None = None, **options: Any) -> Axes:
    """Performance profiles: the share of runs above each threshold, as falling steps; options as of :func:`curves`."""
    frame = data if isinstance(data, pd.DataFrame) else bands_frame(data)
    faint = 0.14 if frame["method"].nunique() <= len(COLOURS) else 0.05  # many bands would be a fog
    return curves(frame, ax, **{"drawstyle": "steps-post", "band_alpha": faint, **options})


def improvement(
    data: pd.DataFrame | Mapping[tuple[str, str], Estimate],
    ax: Axes | None = None,
    *,
    order: Sequence[str] | None = None,
    fontsize: float = 9.0,
) -> Axes:
    """Heat map of P(row > column), centred at one half; bold with a dot where the interval excludes it.

    Args:
        data: columns row, column, probability, low, high; or (row, column) -> estimate.
        ax: where to draw.
        order: of the methods; as they come by default.
        fontsize: of the numbers, in points; below a legible size they are left out.
    """
    frame = data if isinstance(data, pd.DataFrame) else pairs_frame(data)
    ax = _axes(ax)
    methods = list(order or dict.fromkeys(frame["row"]))
    place = _tinted(ax, frame.rename(columns={"probability": "value"}), methods, methods, tints(), (0.0, 1.0))
    sure = (frame["low"] > 0.5) | (frame["high"] < 0.5)
    if fontsize >= SMALLEST_TEXT:
        for a, b, p, is_sure in zip(frame["row"], frame["column"], frame["probability"], sure):
            text = share(p) + (" •" if is_sure else "")
            weight = "bold" if is_sure else "normal"
            ax.text(
                place[b], place[a], text, ha="center", va="center", fontsize=fontsize, color=INK, weight=weight,
                in_layout=False,
            )  # fmt: skip
    else:
        ax.scatter(frame["column"][sure].map(place), frame["row"][sure].map(place), s=3, color=INK, linewidths=0)
    ax.set(xlabel="", ylabel="")
    return ax


def crossplay(
    data: pd.DataFrame | Crossplay, ax: Axes | None = None, *, order: Sequence[str] | None = None, fontsize: float = 9.0
) -> Axes:
    """Heat map of returns: a guest of the row among hosts of the column; self-play in a column of its own, last.

    Args:
        data: columns row, column, value, low, high (:meth:`~rlnet_bench.analysis.crossplay.Crossplay.frame`), or
            cross-play itself.
        ax: where to draw.
        order: of the methods; as they come by default.
        fontsize: of the numbers, in points; below a legible size they are left out.

    Each cell has its mean and, where runs were resampled, the interval under it; a pair that cannot play stays empty.
    """
    frame = data if isinstance(data, pd.DataFrame) else data.frame()
    ax = _axes(ax)
    methods = list(order or dict.fromkeys(frame["row"]))
    columns = [*methods, "itself"]
    known = frame.dropna(subset="value")
    span = (float(known["value"].min()), float(known["value"].max()))
    x = _tinted(ax, frame, methods, columns, LinearSegmentedColormap.from_list("returns", SHADES), span)
    y = {m: i + 0.5 for i, m in enumerate(methods)}
    if fontsize >= SMALLEST_TEXT:
        for row, column, value, low, high in known[["row", "column", "value", "low", "high"]].itertuples(index=False):
            text = f"{value:.3g}" if pd.isna(low) else f"{value:.3g}\n[{low:.3g}, {high:.3g}]"
            ax.text(x[column], y[row], text, ha="center", va="center", fontsize=fontsize, color=INK, in_layout=False)
    ax.axvline(len(methods), color="white", linewidth=4)
    ax.set(xlabel="hosts", ylabel="guest")
    return ax


def _tinted(
    ax: Axes, frame: pd.DataFrame, rows: list[str], columns: list[str], colours: Any, span: tuple[float, float]
) -> dict[str, float]:
    """Cells of a heat map without numbers; returns the horizontal place of every column."""
    import seaborn as sns  # it takes as long to import as everything else together

    wide = frame.pivot(index="row", columns="column", values="value").reindex(index=rows, columns=columns)
    low, high = span
    sns.heatmap(
        wide.astype(float), ax=ax, vmin=low, vmax=high, cmap=colours, cbar=False, linewidths=0, xticklabels=True,
        yticklabels=True,
    )  # fmt: skip
    return {m: i + 0.5 for i, m in enumerate(columns)}


def tints() -> LinearSegmentedColormap:
    """Orange below one half, blue above, nothing at it: transparent, so that any page shows through."""
    ends = [to_rgba(BELOW, 0.65), to_rgba(BELOW, 0.0), to_rgba(ABOVE, 0.0), to_rgba(ABOVE, 0.65)]
    return LinearSegmentedColormap.from_list("improvement", list(zip((0, 0.5, 0.5, 1), ends)))


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def _palette(methods: Sequence[str] | pd.Series, given: Palette | None) -> dict[str, str]:
    names = list(dict.fromkeys(methods))
    return {m: (given or {}).get(m, COLOURS[i % len(COLOURS)]) for i, m in enumerate(names)}


def _nan(x: float | None) -> float:
    return float("nan") if x is None else x
