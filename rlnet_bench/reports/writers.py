"""Tables as LaTeX (booktabs), Markdown and CSV text."""

from __future__ import annotations

import re
import unicodedata

from rlnet_bench.analysis.wording import typographic
from rlnet_bench.reports.table import Cell, Table, turned

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "†": r"\textdagger{}", "–": "--",
    "‡": r"\textdaggerdbl{}", "→": r"$\rightarrow$", "τ": r"$\tau$", "·": r"$\cdot$", "±": r"$\pm$",
    "×": r"$\times$",     "−": "$-$", "…": r"\ldots{}", "≤": r"$\le$", "≥": r"$\ge$",
}  # fmt: skip
# Greek letters that look like Latin ones have no command of their own.
_ROMAN = dict(
    zip(
        [
            "Alpha",
            "Beta",
            "Epsilon",
            "Zeta",
            "Eta",
            "Iota",
            "Kappa",
            "Mu",
            "Nu",
            "Omicron",
            "Rho",
            "Tau",
            "Chi",
            "omicron",
        ],
        ["A", "B", "E", "Z", "H", "I", "K", "M", "N", "O", "P", "T", "X", "o"],
    )
)
BACKSLASH = "\\"
LATIN_EXTENDED = 0x17F  # up to here fonts in T1 encoding have the letters of European languages
MAX_LATEX_TASKS = 4
PARAGRAPH = r">{\raggedright\arraybackslash\scriptsize}p{48mm}"
# Wide tables shrink to the line, others keep their size.
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
PLUS_MINUS = (
    "After ± stands half the width of the interval where it is about even on both sides, else both ends in [ ]."
)
_NUMBER = re.compile(r"(?<![\w.-])-(?=\d)")


def latex_escape(text: str) -> str:
    """Make any text safe for LaTeX, every letter as itself or as something that stands for no other one.

    Greek letters become maths, letters and signs that decompose into ASCII do so, and what a Latin font cannot show
    (scripts, emoji) is written as its code point.

    >>> latex_escape("50% of a_b & {c}")
    '50\\\\% of a\\\\_b \\\\& \\\\{c\\\\}'
    >>> latex_escape("PPO-α"), latex_escape("π₂ ≥ 名")
    ('PPO-$\\\\alpha$', '$\\\\pi$2 $\\\\ge$ U+540D')
    """
    clean = "".join(" " if c.isspace() else c for c in text if c.isspace() or c.isprintable())
    out = "".join(_LATEX[c] if c in _LATEX else c if ord(c) < LATIN_EXTENDED else _beyond(c) for c in clean)
    # TeX reads ?` and !` and -- as other characters; the escapes above leave only dashes to break up.
    return out.replace("--", "-{}-") if "--" in clean else out


def greek(letter: str) -> str | None:
    """The English name of a Greek letter, ``alpha`` or ``Omega``; None for anything else.

    >>> greek("α"), greek("Λ"), greek("a")
    ('alpha', 'Lambda', None)
    """
    words = unicodedata.name(letter, "").split()
    if len(words) < 4 or words[0] != "GREEK" or words[2] != "LETTER":
        return None
    name = {"LAMDA": "lambda", "FINAL": "varsigma"}.get(words[3], words[3].lower())
    return name.capitalize() if words[1] == "CAPITAL" else name


def _beyond(c: str) -> str:
    name = greek(c)
    if name is not None:
        return rf"$\mathrm{{{_ROMAN[name]}}}$" if name in _ROMAN else rf"${BACKSLASH}{name}$"
    plain = unicodedata.normalize("NFKD", c)
    return latex_escape(plain) if plain.isascii() and plain.isalnum() else f"U+{ord(c):04X}"


def latex(table: Table) -> str:
    """A booktabs table environment, without a document around it.

    Tables of more than four tasks are turned (a row per task), so that they stay on the page.
    """
    if table.is_grid and len(table.columns) - table.heads > MAX_LATEX_TASKS:
        table = turned(table)
    spec = "".join(PARAGRAPH if c.is_long else "l" if c.is_text else "r" for c in table.columns)
    is_even = any(_is_even(c) for group in table.groups for row in group.rows for c in row)
    caption = " ".join((table.caption, *([PLUS_MINUS] if is_even else []), *table.notes, *table.remarks))
    lines = [
        f"% {table.name}: made by rlnet-bench; needs \\usepackage{{booktabs,textcomp,graphicx,array}} and T1 fonts",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex_escape(caption)}}}",
        rf"\label{{tab:{table.name}}}\smallskip",
        r"\small\setlength{\tabcolsep}{4pt}",
        FIT,
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        " & ".join(latex_escape(c.title) for c in table.columns) + r" \\",
    ]
    if any(c.under for c in table.columns):
        under = (rf"{{\scriptsize {latex_escape(c.under)}}}" if c.under else "" for c in table.columns)
        lines.append(" & ".join(under) + r" \\")
    for group in table.groups:
        lines.append(r"\midrule")
        if len(table.groups) > 1:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\itshape {latex_escape(group.title)}}} \\")
        lines += [" & ".join(latex_cell(c) for c in row) + r" \\" for row in group.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def latex_cell(cell: Cell) -> str:
    """One cell; the value in maths, ``value ± half`` when the interval is nearly even, else brackets."""
    main = _maths(cell.text)
    main = rf"\textbf{{{main}}}" if cell.bold else main
    if _is_even(cell):
        main += rf" {{\scriptsize $\pm$ {cell.half}}}"
        rest = cell.under.partition("]")[2].strip() if cell.low else cell.under
    elif cell.low:
        main += rf" {{\scriptsize {_maths(f'[{cell.low}, {cell.high}]')}}}"
        rest = cell.under.partition("]")[2].strip()
    else:
        rest = cell.under
    if cell.mark:
        main += rf"\textsuperscript{{{latex_escape(cell.mark)}}}"
    return main + (rf" {{\scriptsize ({_maths(rest)})}}" if rest else "")


def _is_even(cell: Cell) -> bool:
    return cell.half not in ("", "0")


def _maths(text: str) -> str:
    return _NUMBER.sub("$-$", latex_escape(text))


def markdown(table: Table) -> str:
    """A GitHub table; groups become rows in italics when there are several."""
    heads = [_md(f"{c.title} ({c.under})" if c.under else c.title) for c in table.columns]
    rule = [":---" if c.is_text else "---:" for c in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(rule)} |"]
    for group in table.groups:
        if len(table.groups) > 1:
            lines.append(f"| *{_md(group.title)}* |{' |' * (len(table.columns) - 1)}")
        lines += [f"| {' | '.join(markdown_cell(c) for c in row)} |" for row in group.rows]
    return "\n".join([*lines, "", _md(" ".join((table.caption, *table.notes, *table.remarks))), ""])


def markdown_cell(cell: Cell) -> str:
    """One cell."""
    text = f"`{cell.text.replace('`', '')}`" if cell.code and cell.text else _md(typographic(cell.text))
    text = text.replace("|", "\\|") if cell.code else text
    text = f"**{text}**" if cell.bold else text
    return f"{text}{cell.mark} {_md(typographic(cell.under))}".rstrip()


def _md(text: str) -> str:
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_{}<>|~#])", r"\\\1", flat)
