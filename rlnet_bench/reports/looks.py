"""How methods look: one order, one colour and one line style each, everywhere in a report."""

from __future__ import annotations

from dataclasses import dataclass

from rlnet_bench.analysis.classes import trained, untrained
from rlnet_bench.analysis.results import Results

# Okabe & Ito (2008), ordered for contrast between neighbours; "ink" is black on paper, white on a dark page.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#222222", "#b8a800")
UNTRAINED_COLOUR = "#808080"
LINES: tuple[tuple[float, ...] | None, ...] = (
    None, (5, 1.6), (1.4, 1.4), (6, 1.6, 1.4, 1.6), (9, 2), (3, 1.2, 1.2, 1.2, 1.2, 1.2), (2.6, 1.3), (10, 1.5, 2, 1.5),
)  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")


@dataclass(frozen=True)
class Look:
    """How a method is drawn: hue and pattern differ, so neither is needed alone."""

    colour: str
    index: int
    dashes: tuple[float, ...] | None
    marker: str
    place: int = 0  # among all methods


def looks(results: Results) -> dict[str, Look]:
    """The look of every method. From the ninth on, colours repeat with another pattern and mark."""
    out = {}
    for i, method in enumerate(trained(results)):
        k, turn = i % len(COLOURS), i // len(COLOURS)
        dashes = LINES[(k + 3 * turn) % len(LINES)]
        out[method.label] = Look(COLOURS[k], k, dashes, MARKERS[(k + 2 * turn) % len(MARKERS)], i)
    for i, method in enumerate(untrained(results)):
        out[method.label] = Look(UNTRAINED_COLOUR, -1, LINES[i % len(LINES)], "|", len(out))
    return out
