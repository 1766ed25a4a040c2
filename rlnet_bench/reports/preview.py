"""``preview.tex``: a document that shows every table and figure, to try them before they enter a paper."""

from __future__ import annotations

from collections.abc import Sequence

from rlnet_bench.reports.writers import latex_escape

_HEAD = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs,textcomp,graphicx,array}
\usepackage[margin=18mm]{geometry}
\input{../macros.tex}
\begin{document}
\section*{Suite %SUITE%}
\rlnet{runs} runs of \rlnet{methods} methods on \rlnet{tasks} tasks with \rlnet{seeds} seeds.
"""


def preview(tables: Sequence[str], figures: Sequence[str], suite: str) -> str:
    """The document's text; compile it with ``pdflatex preview.tex`` in ``tables/``."""
    parts = [_HEAD.replace("%SUITE%", latex_escape(suite))]
    parts += [
        f"\\begin{{figure*}}\n\\centering\\includegraphics{{../figures/{name}-2col.pdf}}\n\\end{{figure*}}\n"
        for name in figures
    ]
    parts.append("\\clearpage\\onecolumn\n")
    parts += [f"\\input{{{name}.tex}}\n" for name in tables]
    parts.append("\\nocite{*}\n\\bibliographystyle{plain}\n\\bibliography{../references}\n\\end{document}\n")
    return "".join(parts)
