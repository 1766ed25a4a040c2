"""What keeps scores from being compared, found in any results: copies of runs, scores far below random, budgets.

``lint`` says more about foreign files; what is found here also marks or refuses in every table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

import numpy as np

from rlnet_bench.analysis.classes import trained
from rlnet_bench.analysis.copies import fingerprint, same
from rlnet_bench.analysis.references import TaskFacts
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.wording import listed
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.vocabulary import MODES, EndKind

Cell = tuple[str, str]  # (method, task)
KINDS: tuple[EndKind, ...] = ("absolute", "final")  # in the order of reports
BUDGET_RATIO = 1.1  # budgets further apart than this are different budgets
FAR_BELOW = -1.0  # normalised: as far below the random policy as the documented best is above it


@dataclass(frozen=True)
class Findings:
    """What was found.

    ``copies``: (method, task) -> seeds whose numbers are those of an earlier seed of the same cell; they are not
    counted. ``twins``: pairs of methods that share runs, with the tasks: one run under two names, or one method.
    ``below``: cells far below the random policy.
    ``budgets``: task -> frames by trained method, where they differ.
    """

    copies: Mapping[Cell, tuple[int, ...]] = field(default_factory=dict)
    twins: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    below: Mapping[Cell, str] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def mark(self, method: str, task: str) -> str:
        """Why a cell cannot be compared as it stands; empty for most."""
        return self.below.get((method, task), "")

    def unequal(self, methods: Sequence[str], tasks: Iterable[str]) -> str:
        """Whether the methods trained for different numbers of frames on one of the tasks, in words; or nothing."""
        for task in tasks:
            ends = {m: n for m, n in self.budgets.get(task, {}).items() if m in methods}
            if differ(ends.values()):
                low, high = min(ends, key=lambda m: ends[m]), max(ends, key=lambda m: ends[m])
                return f"budgets differ on {task} ({high} {ends[high]:,} frames, {low} {ends[low]:,})"
        return ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything in words."""
        out = []
        for (method, task), seeds in self.copies.items():
            which = ", ".join(map(str, seeds))
            out.append(
                f"{method} on {task}: seed{'s' * (len(seeds) > 1)} {which} repeat{'s' * (len(seeds) == 1)} the numbers "
                f"of another seed and count{'s' * (len(seeds) == 1)} once."
            )
        out += [
            f"{a} and {b} share runs (the very same numbers) on {listed(tasks)}: they are one method, or one run was "
            "given two names."
            for (a, b), tasks in self.twins.items()
        ]
        out += [f"{m} on {t}: {text}." for (m, t), text in self.below.items()]
        for task, ends in self.budgets.items():
            shown = ", ".join(f"{m} {n:,}" for m, n in sorted(ends.items(), key=lambda p: -p[1]))
            out.append(f"Budgets differ on {task}: {shown} frames. They are not tested against each other.")
        return tuple(out)


def differ(budgets: Iterable[int]) -> bool:
    """Whether budgets are too far apart for a comparison."""
    known = [b for b in budgets if b]
    return bool(known) and max(known) > BUDGET_RATIO * min(known)


def find(results: Results, scores: Sequence[RunScores], facts: Sequence[TaskFacts]) -> Findings:
    """Look at every trained cell.

    Args:
        results: the records.
        scores: absolute or final team returns, in task units.
        facts: of the declared tasks.
    """
    labels = [m.label for m in trained(results)]
    copies, twins = _copies(results, labels)
    budgets: dict[str, dict[str, int]] = {}
    for task in results.tasks:
        ends = {m: max((int(r.config.get("frames") or 0) for r in results.find(m, task)), default=0) for m in labels}
        ends = {m: n for m, n in ends.items() if n}
        if differ(ends.values()):
            budgets[task] = ends
    return Findings(copies, twins, _below(scores, facts, labels), budgets)


def _below(scores: Sequence[RunScores], facts: Sequence[TaskFacts], labels: Sequence[str]) -> dict[Cell, str]:
    found = {}
    for s in scores:
        for f in facts if s.method in labels else ():
            runs = s.runs[f.id].without_diverged()  # the floor of a diverged run is no news
            if f.bounds is None or runs.n == 0:
                continue
            value = float(runs.scores.mean())
            if (value - f.bounds.low) / f.bounds.gap < FAR_BELOW:
                found[s.method, f.id] = (
                    f"{value:.4g} is far below the random policy ({f.bounds.low:.4g}): scale, horizon or task differ"
                )
    return found


def _copies(
    results: Results, labels: Sequence[str]
) -> tuple[dict[Cell, tuple[int, ...]], dict[tuple[str, str], tuple[str, ...]]]:
    copies: dict[Cell, tuple[int, ...]] = {}
    twins: dict[tuple[str, str], tuple[str, ...]] = {}
    for task in results.tasks:
        prints = {(m, s): x for m in labels for r in results.find(m, task) for s, x in _fingerprints(r)}
        for runs in same(prints):
            first = dict(reversed(runs))
            for method in first:
                again = tuple(s for m, s in runs if m == method and s != first[method])
                if again:
                    copies[method, task] = (*copies.get((method, task), ()), *again)
            for pair in combinations([m for m in labels if m in first], 2):
                if task not in twins.get(pair, ()):
                    twins[pair] = (*twins.get(pair, ()), task)
    return copies, twins


def _fingerprints(record: RunRecord) -> Iterator[tuple[int, str | None]]:
    """Of every run of a record that ended well; episodes that wait on disk are left there where their means will do."""
    for seed in [s for s, status in record.seed_status.items() if status == "ok"]:
        found = [record.score(kind, mode, seed) for kind in KINDS for mode in MODES]
        ends = [number for pair in found if pair is not None for number in pair if number == number]
        yield seed, fingerprint(ends, partial(_lines, record, seed))


def _lines(record: RunRecord, seed: int) -> Iterator[np.ndarray]:
    mine = [e for e in record.evals if e.seed == seed and e.frames > 0]
    return (e.returns for e in sorted(mine, key=lambda e: (e.kind, e.mode, e.frames)))
