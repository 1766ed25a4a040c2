"""How numbers and lists become text: the one place where anything is rounded.

An interval's half-width keeps two significant digits and the value is written to the same place, so a
table never shows digits that the runs cannot carry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlnet_bench.stats.result import Estimate

FLOAT32 = 2.0**-22  # relative; sums of float32 rewards carry no more
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Rounded:
    """A value and its interval as plain ASCII decimals; ``low``, ``high`` and ``half`` may be empty."""

    value: str
    low: str = ""
    high: str = ""
    half: str = ""

    @property
    def bracket(self) -> str:
        """``[low, high]``, or nothing."""
        return f"[{self.low}, {self.high}]" if self.low else ""

    def __str__(self) -> str:
        return f"{self.value} {self.bracket}".rstrip()


def decimals(half_width: float) -> int:
    """Decimal places at which ``half_width`` shows two significant digits; negative left of the point.

    >>> decimals(0.0123), decimals(0.0996), decimals(123.0)
    (3, 2, -1)
    """
    if not (math.isfinite(half_width) and half_width > 0):
        return 3
    two_digits = float(f"{half_width:.1e}")
    return 1 - math.floor(math.log10(two_digits) + 1e-12)


def fixed(x: float, places: int) -> str:
    """Write ``x`` to ``places`` decimals (negative: to tens, hundreds, ...), never as minus zero."""
    if not math.isfinite(x):
        return "nan" if math.isnan(x) else ("inf" if x > 0 else "-inf")
    text = f"{round(x, places):.{max(places, 0)}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def rounded(value: float, low: float | None = None, high: float | None = None) -> Rounded:
    """Round a value by the half-width of its interval; without an interval it keeps three digits.

    An interval narrower than the float32 in which returns are stored is no spread, but rounding.

    >>> str(rounded(-54.6131, -55.9, -53.1)), rounded(0.8123, 0.79, 0.83).half
    ('-54.6 [-55.9, -53.1]', '0.020')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Rounded(significant(value, 3))
    half = (high - low) / 2
    if half <= FLOAT32 * abs(value):
        same = significant(value, 3)
        return Rounded(same, same, same, "0")
    places = decimals(half)
    return Rounded(fixed(value, places), fixed(low, places), fixed(high, places), fixed(half, places))


def significant(x: float, digits: int = 3) -> str:
    """Write ``x`` with so many significant digits, without an exponent.

    >>> significant(-54.6131), significant(0.0), significant(123456.0, 2)
    ('-54.6', '0', '120000')
    """
    if not math.isfinite(x) or x == 0:
        return fixed(x, 0)
    exponent = math.floor(math.log10(abs(float(f"{x:.{digits - 1}e}"))) + 1e-12)
    return fixed(x, digits - 1 - exponent)


def share(x: float) -> str:
    """A proportion to two decimals."""
    return fixed(x, 2)


def p_text(p: float) -> str:
    """A p-value as papers print it, for example ``p = 0.031`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {significant(p, 2)}"


def count(x: float) -> str:
    """A whole number with thin groups of three, for example ``1,000,000``."""
    return f"{round(x):,}"


def short_count(x: float) -> str:
    """A count in at most four characters: ``950``, ``12k``, ``1.5M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            text = significant(x / size, 3)
            return (text.rstrip("0").rstrip(".") if "." in text else text) + unit
    return fixed(x, 0)


def duration(seconds: float | None) -> str:
    """Time as people say it; ``?`` where it is not known.

    >>> [duration(x) for x in (59.4, 200, 3725, 200_000, None)]
    ['59 s', '3 min 20 s', '1 h 02 min', '2 d 08 h', '?']
    """
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def typographic(text: str) -> str:
    """Use a true minus sign in front of digits (HTML and figures)."""
    out = []
    for i, c in enumerate(text):
        begins = c == "-" and i + 1 < len(text) and text[i + 1].isdigit() and (i == 0 or text[i - 1] in " [(±")
        out.append(MINUS if begins else c)
    return "".join(out)


def with_interval(e: Estimate) -> str:
    """``0.81 [0.77, 0.85]``, or the value alone."""
    return str(rounded(e.value, e.low, e.high))


def signed(value: float, low: float | None = None, high: float | None = None) -> str:
    """A difference with its sign, and its interval where there is one.

    >>> signed(0.5), signed(-0.0501, -0.09, -0.01)
    ('+0.500', '-0.050 [-0.090, -0.010]')
    """
    text = str(rounded(value, low, high))
    return text if text.startswith("-") or value == 0 else f"+{text}"


def listed(names: Sequence[str], limit: int = 6) -> str:
    """``a, b and c``; long lists end in ``and 4 more``.

    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', 'none')
    """
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def split_sentences(text: str) -> list[str]:
    """A caption's sentences.

    >>> split_sentences("Mean over runs, n = 5. Bold: the best. \u2020 cannot be told from it.")
    ['Mean over runs, n = 5.', 'Bold: the best.', '\u2020 cannot be told from it.']
    """
    return re.split(r"(?<=\.) (?=[A-Z\u2020\u2021])", text) if text else []


def plural(n: int, noun: str) -> str:
    """``1 seed``, ``5 seeds``."""
    return f"{n} {noun}{'s' * (n != 1)}"


def counted(counts: Sequence[int]) -> str:
    """``5``, or ``3 to 5``."""
    return "no" if not counts else str(min(counts)) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
