"""A drawing of a network for paper: the SVG of :mod:`rlnet_bench.networks.draw` as PDF or PNG, in its light colours.

It knows the shapes that such a drawing is made of, no more.
"""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch
from matplotlib.path import Path

ENDINGS = (".pdf", ".png")
_DPI = 192
_INK, _SOFT, _LINE, _CARD, _EDGE = "#1f2933", "#66717d", "#8a95a1", "#ffffff", "#c3ccd5"
_TOP, _MOTOR, _LATE = "#4a6fa5", "#2a8f7a", "#b7791f"
_FILL = {"card": _CARD, "pill": _LATE, "of-motor": _MOTOR, "of-top": _TOP, "tip": _LINE, "tip-late": _LATE}
_TEXT = {  # size in pixels, colour, weight
    "title": (16.0, _INK, "bold"), "name": (13.0, _INK, "bold"), "soft": (10.5, _SOFT, "normal"),
    "badge": (10.0, _CARD, "bold"),
    "note": (10.0, _LATE, "bold"), "": (12.0, _INK, "normal"),
}  # fmt: skip
_CODES = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3, "Z": [Path.CLOSEPOLY]}


def printed(svg: str, ending: str) -> bytes:
    """The bytes of a ``.pdf`` or ``.png`` file that shows a drawing.

    Args:
        svg: from :func:`rlnet_bench.networks.draw.draw`.
        ending: one of :data:`ENDINGS`.
    """
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    figure = Figure(figsize=(width / 96, height / 96))  # CSS pixels
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _draw(root, axes, 0.0, 0.0)
    out = io.BytesIO()
    metadata = {"CreationDate": None} if ending == ".pdf" else None  # equal drawings are equal files
    figure.savefig(out, format=ending[1:], dpi=_DPI, metadata=metadata)
    return out.getvalue()


def _draw(element: ElementTree.Element, axes: Axes, dx: float, dy: float) -> None:
    for item in element:
        kind = item.tag.rpartition("}")[2]
        if kind == "g":
            move = re.fullmatch(r"translate\((\S+) (\S+)\)", item.get("transform", ""))
            x, y = (float(move[1]), float(move[2])) if move else (0.0, 0.0)
            _draw(item, axes, dx + x, dy + y)
        elif kind == "text":
            size, colour, weight = _TEXT[item.get("class", "")]
            axes.text(
                float(item.attrib["x"]) + dx, float(item.attrib["y"]) + dy, (item.text or "").replace("$", r"\$"),
                fontsize=size * 0.75, color=colour, fontweight=weight, va="baseline", zorder=3,
                ha={"middle": "center", "end": "right"}.get(item.get("text-anchor", ""), "left"),
            )  # fmt: skip
        elif shape := _shape(kind, item.attrib, dx, dy):
            axes.add_patch(shape)


def _shape(kind: str, at: dict[str, str], dx: float, dy: float) -> Patch | None:
    """A shape in the look of its class; None for what is only read aloud."""
    css = at.get("class", "").split()
    own = dict(part.split(":", 1) for part in at.get("style", "").split(";") if part)
    look: dict[str, Any] = {
        "facecolor": own.get("fill") or at.get("fill") or _FILL.get(css[0] if css else "", "none"),
        "linewidth": 0.0,
    }
    if "card" in css:
        look |= {"edgecolor": _EDGE, "linewidth": 0.75}
    if "link" in css:
        dash = (0, (5, 4)) if "late" in css else (0, (1.5, 3.5)) if "loose" in css else "solid"
        width = float(own.get("stroke-width", 1.0 if "quiet" in css else 1.8 if "loose" in css else 1.4))
        colour = own.get("stroke", _LATE if "late" in css else _LINE)
        opacity = 0.45 if "idle" in css else 0.75 if "quiet" in css else 1.0
        look |= {
            "facecolor": "none",
            "edgecolor": colour,
            "linewidth": width * 0.75,
            "linestyle": dash,
            "alpha": opacity,
        }
    if kind == "rect":
        x, y, w, h = (float(at[key]) for key in ("x", "y", "width", "height"))
        r = min(float(at.get("rx", 0)), w / 2, h / 2)
        style = f"round,pad=0,rounding_size={r}" if r else "square,pad=0"
        return FancyBboxPatch((x + dx, y + dy), w, h, boxstyle=style, mutation_aspect=1, zorder=2, **look)
    if kind == "circle":
        return Circle((float(at["cx"]) + dx, float(at["cy"]) + dy), float(at["r"]), zorder=1, **look)
    if kind == "path":
        codes: list[np.uint8] = []
        points: list[tuple[float, float]] = []
        for letter, numbers in re.findall(r"([MLCZ])([^MLCZ]*)", at["d"]):
            flat = [float(x) for x in numbers.split()] or [*points[-1]]
            shift = (dx, dy) if letter != "Z" else (0.0, 0.0)
            codes += _CODES[letter]
            points += [(a + shift[0], b + shift[1]) for a, b in zip(flat[::2], flat[1::2])]
        return PathPatch(Path(points, codes), zorder=1, **look)
    return None
