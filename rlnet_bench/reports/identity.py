"""Who is who: one order, one colour and one line style per method, everywhere in a report."""

from __future__ import annotations

from dataclasses import dataclass

from rlnet_bench.runs.results import MethodInfo, Results
from rlnet_bench.vocabulary import class_rank

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


def trained(results: Results) -> tuple[MethodInfo, ...]:
    """The methods that are compared, in suite order."""
    return tuple(m for m in results.methods if m.trains)


def untrained(results: Results) -> tuple[MethodInfo, ...]:
    """Controls and scripts: reference lines, never ranked."""
    return tuple(m for m in results.methods if not m.trains)


def looks(results: Results) -> dict[str, Look]:
    """The look of every method. From the ninth on, colours repeat with another pattern and mark."""
    out = {}
    for i, method in enumerate(trained(results)):
        k, turn = i % len(COLOURS), i // len(COLOURS)
        dashes = LINES[(k + 3 * turn) % len(LINES)]
        out[method.label] = Look(COLOURS[k], k, dashes, MARKERS[(k + 2 * turn) % len(MARKERS)])
    for i, method in enumerate(untrained(results)):
        out[method.label] = Look(UNTRAINED_COLOUR, -1, LINES[i % len(LINES)], "|")
    return out


def classes(results: Results) -> dict[str, tuple[MethodInfo, ...]]:
    """Execution class -> its trained methods, weakest class first; classes without methods are left out."""
    found = {m.execution for m in trained(results)}
    return {c: tuple(m for m in trained(results) if m.execution == c) for c in sorted(found, key=class_rank)}
