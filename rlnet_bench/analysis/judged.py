"""Which scores of some results may be compared, in what unit, and what has to be said about that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.runs.results import MethodInfo, Results
from rlnet_bench.stats import Bounds, RunScores, TaskRuns, normalise
from rlnet_bench.vocabulary import Kind, Mode

NORMALISED = "normalised: 0 = random policy, 1 = documented best"


@dataclass(frozen=True)
class Judged:
    """Comparable scores: one :class:`RunScores` per method with any run, over all tasks with runs.

    ``bounds`` are the reference points of tasks that have usable ones. ``kind`` is absolute unless nobody has
    absolute scores, and then final. ``notes`` belong under whatever is printed.
    """

    results: Results
    scores: tuple[RunScores, ...]  # in task units
    bounds: Mapping[str, Bounds]
    kind: Kind
    mode: Mode
    notes: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods with any run."""
        return tuple(s.method for s in self.scores)

    def info(self, method: str) -> MethodInfo:
        """What is known about a method.

        Raises:
            UnknownName: with the nearest one.
        """
        found = {m.label: m for m in self.results.methods}
        if method not in found:
            raise UnknownName("method", method, found, hint=f"The source has {', '.join(found)}.")
        return found[method]

    def of(self, method: str) -> RunScores:
        """The scores of one method.

        Raises:
            BadInput: when it has no finished run.
        """
        self.info(method)
        for s in self.scores:
            if s.method == method:
                return s
        raise BadInput(
            f"{method!r} has no finished run with {self.kind} scores yet; `rlnet-bench status` shows the grid."
        )

    def pooled(self, methods: Sequence[str]) -> tuple[list[RunScores], tuple[str, ...]]:
        """The methods' normalised scores on the tasks that all of them have, and notes; empty without such a task.

        One task without reference points is taken as it is, in its own units.
        """
        scores = [self.of(m) for m in methods]
        common = [t for t in self.results.tasks if all(s.runs[t].n > 0 for s in scores)]
        usable = [t for t in common if t in self.bounds]
        notes = []
        lost = [t for t in self.results.tasks if t not in common and any(s.runs[t].n > 0 for s in scores)]
        if lost:
            notes.append(f"Without {', '.join(lost)}, where some of the methods have no runs.")
        if not usable and len(common) == 1:
            return [s.select(common) for s in scores], (*notes, f"In units of {common[0]}.")
        plain = [t for t in common if t not in self.bounds]
        if plain:
            notes.append(
                f"Without {', '.join(plain)}, which {'has' if len(plain) == 1 else 'have'} no usable reference points; "
                "--reference TASK=LOW,HIGH gives them."
            )
        if not usable:
            return [], tuple(notes)
        return [normalise(s.select(usable), {t: self.bounds[t] for t in usable}) for s in scores], tuple(notes)


def judged(
    results: Results,
    *,
    kind: Kind | None = None,
    mode: Mode | None = None,
    metric: str = "return",
    references: Mapping[str, Bounds] | None = None,
) -> Judged:
    """Collect what may be compared.

    Raises:
        BadInput: when no run has a score of this kind, or a reference point is for a task that is not there.
    """
    from rlnet_bench.analysis.references import task_facts

    mode = mode or results.primary
    notes = list(getattr(results, "notes", ()))
    candidates: list[Kind] = [kind] if kind else ["absolute", "final"]
    scores: list[RunScores] = []
    for chosen in candidates:
        found = results.scores(chosen, mode, metric)
        if any("ok" in r.statuses for s in found for r in s.runs.values()):
            # A method all of whose runs diverged is judged too, at the floor.
            scores = [s for s in found if any(r.n for r in s.runs.values())]
            break
    if not scores:
        which = kind or "absolute or final"
        raise BadInput(f"{results.name}: expected runs with {which} scores ({mode} actions, {metric}), found none.")
    if kind is None and chosen == "final":
        notes.append("Nobody has absolute scores (best checkpoint, fresh episodes): final scores are compared.")
    unknown = [t for t in references or {} if t not in results.tasks]
    if unknown:
        raise BadInput(f"--reference: expected a task out of {', '.join(results.tasks)}, found {', '.join(unknown)}.")
    bounds: dict[str, Bounds] = {}
    if metric == "return":
        for fact in (task_facts(results, t) for t in results.tasks):
            given = (references or {}).get(fact.id) or fact.bounds
            if given is not None:
                bounds[fact.id] = given
    else:
        bounds = {t: Bounds(0.0, 1.0, source="a rate") for t in results.tasks}
    return Judged(results, tuple(scores), bounds, chosen, mode, tuple(notes))


def spread_scaled(a: RunScores, b: RunScores, tasks: Sequence[str]) -> list[RunScores]:
    """Two methods with every task divided by the spread of all their runs on it.

    For tests across tasks without reference points: no relabelling changes that spread, so a permutation test
    stays exact; a difference is then in standard deviations.
    """
    out: list[dict[str, TaskRuns]] = [{}, {}]
    for task in tasks:
        both = np.concatenate([a.runs[task].scores, b.runs[task].scores])
        sd = float(both.std()) or 1.0
        for k, s in enumerate((a, b)):
            out[k][task] = replace(s.runs[task], scores=s.runs[task].scores / sd)
    return [RunScores(a.method, out[0]), RunScores(b.method, out[1])]
