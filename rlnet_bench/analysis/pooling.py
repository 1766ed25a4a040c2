"""Which scores are added up over tasks, on which scale. The one place that decides it.

A pool's tasks are those that the suite declares and that have a scale, never those that happened to run: a method
that lacks one of them has no aggregate, and nobody else's moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlnet_bench.analysis.references import HOW, TaskFacts
from rlnet_bench.stats.normalise import Bounds, normalise
from rlnet_bench.stats.scores import RunScores

NORMALISED = "normalised: 0 = random policy, 1 = documented best"
RATE = "share of episodes"


@dataclass(frozen=True, eq=False)
class Pool:
    """Complete methods' scores on the pooled tasks, all on one scale.

    ``tasks`` is empty when nothing can be added up; ``why`` then says why. ``lacking`` names, for every method that
    has runs but no aggregate, the pooled tasks on which it has no scored run.
    """

    tasks: tuple[str, ...]
    scores: tuple[RunScores, ...] = ()
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: str = NORMALISED
    notes: tuple[str, ...] = ()
    why: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods with an aggregate."""
        return tuple(s.method for s in self.scores)

    @property
    def is_normalised(self) -> bool:
        """Whether 0 and 1 mean something."""
        return self.unit in (NORMALISED, RATE)

    def of(self, *methods: str) -> list[RunScores]:
        """The scores of some methods; those without an aggregate are left out."""
        known = {s.method: s for s in self.scores}
        return [known[m] for m in methods if m in known]

    def only(self, methods: Sequence[str]) -> Pool:
        """The same pool for some of its methods."""
        chosen = {m: t for m, t in self.lacking.items() if m in methods}
        return replace(self, scores=tuple(self.of(*methods)), lacking=chosen)

    def coverage(self, method: str) -> str:
        """``7 of 9 tasks`` of a method without an aggregate; empty for one that has it."""
        lost = self.lacking.get(method)
        return f"{len(self.tasks) - len(lost)} of {len(self.tasks)} tasks" if lost else ""


def pool(scores: Sequence[RunScores], facts: Sequence[TaskFacts], metric: str = "return") -> Pool:
    """Pool methods over the declared tasks.

    Args:
        scores: in task units, over all declared tasks.
        facts: of all declared tasks, in their order.
        metric: ``return`` is normalised by reference points, and tasks without are left out for everybody; a single
            task without them is taken in its own units. ``success`` is a share and needs none.
    """
    notes: list[str] = []
    bounds: dict[str, Bounds] = {}
    if metric == "success":
        tasks, unit = tuple(f.id for f in facts), RATE
    elif len(facts) == 1 and facts[0].bounds is None:
        tasks, unit = (facts[0].id,), f"in units of {facts[0].id}"
        notes.append(f"{facts[0].id} is in its own units: {facts[0].why_not}.")
    else:
        bounds = {f.id: f.bounds for f in facts if f.bounds is not None}
        tasks, unit = tuple(bounds), NORMALISED
        notes += [f"{f.id} is not pooled: {f.why_not}." for f in facts if f.bounds is None]
    if not tasks:
        return Pool((), notes=tuple(notes), why=f"no task has reference points that bring scores to one scale ({HOW})")
    lacking: dict[str, tuple[str, ...]] = {}
    whole: list[RunScores] = []
    for s in scores:
        lost = tuple(t for t in tasks if s.runs[t].n == 0)
        if not lost:
            whole.append(normalise(s.select(tasks), bounds) if bounds else s.select(tasks))
        else:
            lacking[s.method] = lost
    made = Pool(tasks, tuple(whole), lacking, unit)
    for method, lost in lacking.items():
        if len(lost) < len(tasks):
            few = ", ".join(lost) if len(lost) <= 3 else f"{', '.join(lost[:2])} and {len(lost) - 2} more"
            notes.append(f"{method} has no aggregate: {made.coverage(method)}, without {few}.")
    idle = [m for m, lost in lacking.items() if len(lost) == len(tasks)]
    if idle:
        notes.append(f"{', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no scored run on a pooled task.")
    return replace(made, notes=tuple(notes), why="" if whole else "no method has scored runs on every pooled task")
