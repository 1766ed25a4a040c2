"""From a figure file to markup inside the page: own ids, short numbers, colours that follow the theme."""

from __future__ import annotations

import re
from html import escape

from rlnet_bench.reports.canvas import INK, MUTED, PAPER, RULE
from rlnet_bench.reports.looks import COLOURS, UNTRAINED_COLOUR

_THEME = {
    INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)",
    UNTRAINED_COLOUR: "var(--control)", **{c: f"var(--c{i})" for i, c in enumerate(COLOURS)},
}  # fmt: skip
SCREEN_SCALE = 1.43  # screen pixels per point: all figures of a page share one text size
_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def mark(place: int) -> str:
    """The id of everything that is drawn of one method; on the page it becomes the classes ``m`` and ``m3``."""
    return f"method-{place}"


def shorten(text: str) -> str:
    """Numbers to two decimals: a hundredth of a point is invisible."""
    return _NUMBER.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip(".").replace("-0", "-0") or "0", text)


def inline(text: str, name: str, alt: str) -> str:
    """SVG text as an element for the page, with its alternative text.

    Ids that nothing refers to are dropped and the others get the figure's name in front, so that several
    figures can live on one page.
    """
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r' id="method-(\d+)"', r' class="m m\1"', body)
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    for colour, variable in _THEME.items():
        body = re.sub(rf"(fill|stroke): {colour}", rf"\1: {variable}", body)
    body = re.sub(r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--sans)", body)
    box = re.search(r'viewBox="([^"]+)"', body)
    width = float(box[1].split()[2]) * SCREEN_SCALE if box else 600.0
    head = (
        f'<svg role="img" aria-labelledby="{name}-alt" viewBox="{box[1] if box else "0 0 100 100"}" '
        f'style="max-width: {width:.0f}px; min-width: {min(640.0, 0.7 * width):.0f}px">'
        f'<title id="{name}-alt">{escape(alt)}</title>'
    )
    body = re.sub(r"<svg\b.*?>", lambda _: head, body, count=1, flags=re.S)
    return re.sub(r"\n\s*", "\n", body)
