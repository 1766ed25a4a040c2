"""What keeps scores from being compared, found in any results: copies of runs, scores far below random, budgets.

``lint`` says more about foreign files; what is found here also marks or refuses in every table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from rlnet_bench.analysis.classes import trained
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
MIN_VALUES = 4  # fewer different numbers than this may agree by chance


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
                "of another seed and count once."
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
    owners: dict[tuple[str, str], list[tuple[str, int]]] = {}  # (task, digest) -> runs
    values: dict[tuple[str, str], list[np.ndarray]] = {}
    for record in results.records:
        if record.method not in labels:
            continue
        for seed, numbers in numbers_of(record).items():
            key = record.task, fingerprint(numbers)
            owners.setdefault(key, []).append((record.method, seed))
            values[key] = numbers
    copies: dict[Cell, tuple[int, ...]] = {}
    twins: dict[tuple[str, str], tuple[str, ...]] = {}
    for (task, digest), runs in owners.items():
        if len(runs) < 2 or not is_telling(values[task, digest]):
            continue
        first = dict(reversed(runs))
        for method in first:
            again = tuple(s for m, s in runs if m == method and s != first[method])
            if again:
                copies[method, task] = (*copies.get((method, task), ()), *again)
        for pair in combinations([m for m in labels if m in first], 2):
            if task not in twins.get(pair, ()):
                twins[pair] = (*twins.get(pair, ()), task)
    return copies, twins


def numbers_of(record: RunRecord) -> dict[int, list[np.ndarray]]:
    """Seed -> what was scored at the end, else on the curve; the means alone where episodes wait on disk."""
    out: dict[int, list[np.ndarray]] = {}
    seeds = [s for s, status in record.seed_status.items() if status == "ok"]
    if hasattr(record.evals, "means"):
        for seed in seeds:
            found = [record.score(kind, mode, seed) for kind in KINDS for mode in MODES]
            out[seed] = [np.array(x) for x in found if x is not None]
        return out
    ends = [e for e in record.evals if e.kind in KINDS]
    for e in sorted(ends or record.evals, key=lambda e: (e.kind, e.mode, e.frames)):
        if e.frames > 0 and e.seed in seeds:
            out.setdefault(e.seed, []).append(e.returns)
    return out


def fingerprint(numbers: Sequence[np.ndarray]) -> str:
    """A digest of a run's numbers."""
    digest = hashlib.sha256()
    for x in numbers:
        digest.update(np.ascontiguousarray(x, dtype=np.float64).tobytes())
    return digest.hexdigest()


def is_telling(numbers: Sequence[Any]) -> bool:
    """Whether equal numbers mean one run: too few of them, or a task that everybody solves, may be a coincidence."""
    return len({float(x) for v in numbers for x in np.ravel(v)}) >= MIN_VALUES
