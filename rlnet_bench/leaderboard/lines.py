"""Small line charts as SVG text: a site has thousands of them, so each is a few string formats and no drawing library.

Colours are the page's variables, so that a chart follows its theme; numbers are finished before they come here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rlnet_bench.analysis.wording import short_count, typographic
from rlnet_bench.reports.looks import COLOURS, LINES

WIDTH, HEIGHT = 460.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 10.0, 38.0


@dataclass(frozen=True)
class Line:
    """One line: points, how it is stroked, and whose it is."""

    x: Sequence[float]
    y: Sequence[float]
    stroke: str  # a CSS colour
    dashes: str = ""
    label: str = ""  # for a tooltip
    is_thin: bool = False  # a single run behind its mean


def chart(
    lines: Sequence[Line],
    name: str,
    alt: str,
    *,
    references: Sequence[tuple[str, float]] = (),
    x_title: str = "environment frames per run",
    y_title: str = "team return",
) -> str:
    """The chart as an ``<svg>`` element; empty text when there is no point to draw.

    Args:
        lines: back to front.
        name: unique on its page.
        alt: what a reader who cannot see it is told.
        references: (name, value) of horizontal lines.
        x_title: under the axis.
        y_title: beside it.
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y) if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return ""
    x0, x1 = _limits([x for x, _ in points], 0.0)
    y0, y1 = _limits([*(y for _, y in points), *(v for _, v in references)], 0.06)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
            TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
        )

    out = [
        f'<svg class="chart" role="img" aria-labelledby="{escape(name)}-alt" viewBox="0 0 {WIDTH:g} {HEIGHT:g}">'
        f'<title id="{escape(name)}-alt">{escape(alt)}</title>'
    ]
    for y in ticks(y0, y1):
        _, at = place(x0, y)
        out.append(f'<path class="grid" d="M{LEFT:g} {at:.1f}H{WIDTH - RIGHT:g}"/>')
        out.append(_text(LEFT - 7, at + 3.5, typographic(f"{y:g}"), "end"))
    for x in ticks(x0, x1):
        at, _ = place(x, y0)
        out.append(_text(at, HEIGHT - BOTTOM + 15, short_count(x), "middle"))
    out.append(f'<path class="axis" d="M{LEFT:g} {HEIGHT - BOTTOM:g}H{WIDTH - RIGHT:g}"/>')
    for label, value in references:
        _, at = place(x0, value)
        out.append(f'<path class="reference" d="M{LEFT:g} {at:.1f}H{WIDTH - RIGHT:g}"/>')
        out.append(_text(WIDTH - RIGHT, at - 3.5, label, "end"))
    for line in lines:
        body = "L".join(f"{a:.1f} {b:.1f}" for a, b in (place(x, y) for x, y in zip(line.x, line.y)))
        dash = f' stroke-dasharray="{escape(line.dashes)}"' if line.dashes else ""
        title = f"<title>{escape(line.label)}</title>" if line.label else ""
        thin = "line thin" if line.is_thin else "line"
        out.append(f'<path class="{thin}" style="stroke: {escape(line.stroke)}"{dash} d="M{body}">{title}</path>')
    out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text x="11" y="{middle:g}" text-anchor="middle" transform="rotate(-90 11 {middle:g})">'
               f"{escape(y_title)}</text></svg>")  # fmt: skip
    return "".join(out)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside of a range, at most ``about`` + 1 of them.

    >>> ticks(0, 3_000_000), ticks(-55.2, -20.1)
    ([0.0, 1000000.0, 2000000.0, 3000000.0], [-50.0, -40.0, -30.0])
    """
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def stroke(k: int) -> str:
    """The colour of the k-th method of a chart: a variable of the page."""
    return f"var(--c{k % len(COLOURS)})"


def dashes(k: int) -> str:
    """Its dash pattern, so that no colour is needed alone."""
    pattern = LINES[(k + 3 * (k // len(COLOURS))) % len(LINES)]
    return "" if pattern is None else " ".join(f"{1.3 * d:g}" for d in pattern)


def _limits(values: Sequence[float], air: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    width = max(high - low, 1e-9 * max(abs(low), abs(high), 1.0))
    return low - air * width, high + (air * width if air else 0.0 if high > low else width)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
