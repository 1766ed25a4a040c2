"""From results to scores that may be compared: reference points, normalisation, which tasks are pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlnet_bench.envs.card import Reference, TaskCard
from rlnet_bench.errors import BadInput
from rlnet_bench.runs.results import Results
from rlnet_bench.stats.normalise import Bounds, normalise
from rlnet_bench.stats.scores import RunScores


@dataclass(frozen=True)
class TaskFacts:
    """What a report says about a task: its card, and the bounds or the reason why there are none."""

    card: TaskCard
    bounds: Bounds | None
    reason: str = ""

    @property
    def id(self) -> str:
        """The task id."""
        return self.card.id

    def reference(self, name: str) -> Reference | None:
        """One of ``random``, ``uncoordinated``, ``best``, where the card has it."""
        return self.card.references.get(name)

    def normalised(self, value: float) -> float | None:
        """A score in task units as a share of the way from random to best."""
        return None if self.bounds is None else (value - self.bounds.low) / self.bounds.gap


@dataclass(frozen=True)
class Pool:
    """The tasks and methods that enter suite aggregates, and in sentences what was left out and why."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    notes: tuple[str, ...] = ()


def task_facts(results: Results, task: str) -> TaskFacts:
    """Facts of one task; never raises for missing or unusable reference points."""
    card = results.card(task)
    low, high = card.references.get("random"), card.references.get("best")
    if low is None or high is None:
        lost = [name for name in ("random", "best") if name not in card.references]
        return TaskFacts(card, None, f"its card has no {' and no '.join(lost)} reference point")
    try:
        bounds = Bounds(
            low.value, high.value, low.n, low.se, high.n, high.se,
            f"0 = {low.policy}, 1 = {high.policy}", card.hash()[:12],
        )  # fmt: skip
    except BadInput as error:
        return TaskFacts(card, None, str(error))
    if not bounds.is_usable:
        return TaskFacts(card, None, "its reference points are closer than five of their standard errors")
    return TaskFacts(card, bounds)


def pool_of(facts: Sequence[TaskFacts], scores: Sequence[RunScores]) -> Pool:
    """Choose what is aggregated: tasks with bounds, and among them those that every started method has.

    A method without any run is left out. When the started methods share no task, the methods that have
    every task of the method with most of them are kept.
    """
    notes = [f"{f.id} is not pooled: {f.reason}." for f in facts if f.bounds is None]
    usable = [f.id for f in facts if f.bounds is not None]
    has = {s.method: [t for t in usable if s.runs[t].n > 0] for s in scores}
    idle = [m for m in has if not has[m]]
    if idle and usable:
        notes.append(f"{', '.join(idle)} {_has(idle)} no finished run on a pooled task yet.")
    started = [m for m in has if has[m]]
    common = [t for t in usable if all(t in has[m] for m in started)]
    if started and not common:
        widest = max((has[m] for m in started), key=len)
        left = [m for m in started if not set(widest) <= set(has[m])]
        started = [m for m in started if m not in left]
        common = widest
        notes.append(f"{', '.join(left)} {_has(left)} no task in common with the others and {_is(left)} left out.")
    elif started and len(common) < len(usable):
        lost = [t for t in usable if t not in common]
        notes.append(
            f"Tasks in common only: {len(common)} of {len(usable)}, without {', '.join(lost)}, "
            "where some method has no finished run yet."
        )
    return Pool(tuple(common), tuple(started) if common else (), tuple(notes))


def normalised(scores: Sequence[RunScores], facts: Sequence[TaskFacts], pool: Pool) -> list[RunScores]:
    """The pooled methods' scores on the pooled tasks, on the scale 0 = random, 1 = best."""
    bounds = {f.id: f.bounds for f in facts if f.bounds is not None}
    chosen = [s.select(pool.tasks) for s in scores if s.method in pool.methods]
    return [normalise(s, {t: bounds[t] for t in pool.tasks}) for s in chosen]


def covering(scores: Sequence[RunScores], pool: Pool) -> list[str]:
    """The methods (controls and scripts) that have runs on every pooled task."""
    return [s.method for s in scores if pool.tasks and all(s.runs[t].n > 0 for t in pool.tasks)]


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
