"""``macros.tex``: numbers for a paper's running text that follow the data.

``\\rlnet{mappo/iqm}`` prints ``0.81 [0.77, 0.85]``; ``\\rlnet{mappo/iqm/value}`` the value alone;
``\\rlnet{mappo/mpe/simple_spread-discrete-v1}`` the absolute score on a task; ``\\rlnet{runs}`` how many
runs. Keys are the names of methods and tasks with every character outside ``a-z A-Z 0-9 . / -`` made ``-``.
An unknown key is an error, never a blank.
"""

from __future__ import annotations

import re

from rlnet_bench.analysis.estimates import AGGREGATES, Estimates
from rlnet_bench.analysis.wording import rounded
from rlnet_bench.reports.writers import _maths, greek
from rlnet_bench.stats.result import Estimate

_HEAD = r"""% Numbers of suite %SUITE%, made by rlnet-bench. Use: \rlnet{mappo/iqm}
\makeatletter
\providecommand{\rlnet}[1]{\ifcsname rlnet@#1\endcsname\csname rlnet@#1\endcsname\else
  \PackageError{rlnet}{No number is called '#1'}{See macros.tex for the names.}\fi}
\newcommand{\rlnet@def}[2]{\expandafter\gdef\csname rlnet@#1\endcsname{#2}}
"""


def slug(text: str) -> str:
    """A name as a key.

    >>> slug("mpe/simple_spread-discrete-v1")
    'mpe/simple-spread-discrete-v1'
    >>> slug("PPO-α")
    'PPO-alpha'
    """
    spelled = "".join(greek(c) or c for c in text)
    return re.sub(r"[^A-Za-z0-9./-]+", "-", spelled).strip("-") or "x"


def macros(estimates: Estimates) -> str:
    """The file's text."""
    values: dict[str, str] = {
        "runs": str(estimates.grid.count("ok", "diverged")),
        "seeds": str(len(estimates.results.seeds)),
        "tasks": str(len(estimates.results.tasks)),
        "methods": str(sum(len(m) for m in estimates.classes.values())),
    }
    for method, row in (estimates.headline | estimates.controls).items():
        for statistic in (s for s in AGGREGATES if s.name in row):  # without reference points, there is no gap to them
            _add(values, f"{slug(method)}/{statistic.name.replace('_', '-')}", row[statistic.name])
    for ranking in estimates.rankings.values():
        for r in ranking.ranks:
            values.setdefault(f"{slug(r.method)}/rank", str(r).replace("-", "--"))
    for kind in ("absolute", "final"):
        for method, cells in estimates.board(kind).cells.items():
            for task, cell in cells.items():
                key = f"{slug(method)}/{slug(task)}" + ("/final" if kind == "final" else "")
                _add(values, key, cell.estimate)
    lines = [rf"\rlnet@def{{{key}}}{{{text}}}" for key, text in values.items()]
    head = _HEAD.replace("%SUITE%", slug(estimates.results.name))
    return head + "\n".join(lines) + "\n" + r"\makeatother" + "\n"


def _add(values: dict[str, str], key: str, e: Estimate) -> None:
    # Two names with one slug: the first keeps it, the second gets a number.
    unique, n = key, 2
    while unique in values:
        unique, n = f"{key}-{n}", n + 1
    r = rounded(e.value, e.low, e.high)
    values[unique] = _maths(str(r))
    values[f"{unique}/value"] = _maths(r.value)
