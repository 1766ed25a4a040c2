"""Two methods against each other: one sentence, and the numbers that it stands on.

Where the suite has a scale (:mod:`.pooling`) and both methods have every pooled task, the suite's mean difference is
tested. Otherwise every task is tested by itself, adjusted for their number: without a scale there is no suite verdict,
here as everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.pooling import Pool
from rlnet_bench.analysis.streams import named
from rlnet_bench.analysis.wording import listed, p_text, signed
from rlnet_bench.errors import BadInput
from rlnet_bench.stats.aggregate import iqm, mean
from rlnet_bench.stats.compare import difference, replication_interval
from rlnet_bench.stats.permutation import PairTest, adjust_pvalues, permutation_test
from rlnet_bench.stats.power import seeds_for_family, seeds_to_tell
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.vocabulary import EXECUTION_CLASSES, class_rank

Interval = tuple[float, float]
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Contrast:
    """``a - b`` over some tasks: one effect, with its test, its interval and that of a replication.

    Where ``untested`` says why the two may not be compared there is no test.
    """

    tasks: tuple[str, ...]
    unit: str
    difference: Estimate  # of means
    test: PairTest | None
    chance: Estimate  # that a run of a beats a run of b
    again: Interval | None  # where the difference will lie if all runs are made again
    untested: str = ""

    def verdict(self, level: float, adjusted_p: float | None = None) -> str:
        """``better``, ``worse`` or ``not distinguishable``; ``not tested`` where they may not be compared."""
        if self.test is None:
            return "not tested"
        p = self.test.p_value if adjusted_p is None else adjusted_p
        if p > 1 - level or self.difference.value == 0:
            return "not distinguishable"
        return "better" if self.difference.value > 0 else "worse"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two methods: over the suite (None where nothing can be added up), and task by task."""

    a: str
    b: str
    suite: Contrast | None
    iqm: Estimate | None  # difference of the suite's IQMs
    by_task: dict[str, Contrast]
    adjusted: dict[str, float]  # task -> Holm-adjusted p over the tasks that are tested
    level: float
    sentence: str
    notes: tuple[str, ...]


def compare(estimates: Estimates, a: str, b: str) -> Comparison:
    """Compare two methods; exchanging them turns the signs and moves no digit.

    Raises:
        BadInput, UnknownName: for a method that is not there or has no run, or without a task in common.
    """
    a, b = estimates.info(a).label, estimates.info(b).label
    if a == b:
        raise BadInput(f"compare needs two different methods, found {a!r} twice.")
    first, second = estimates.of(a), estimates.of(b)
    tasks = [t for t in estimates.results.tasks if first.runs[t].n and second.runs[t].n]
    if not tasks:
        raise BadInput(f"{a!r} and {b!r} have no task in common: nothing can be compared.")
    pool = estimates.everyone.only([a, b])
    suite = gap = None
    if len(pool.scores) == 2:
        x, y = pool.of(a, b)
        suite = _contrast(estimates, x, y, pool.unit)
        gap = difference(x, y, iqm, _stream(estimates, "iqm difference", x, y), level=estimates.level)
    by_task = {t: _contrast(estimates, first.select([t]), second.select([t]), f"in units of {t}") for t in tasks}
    adjusted = holm(by_task)
    unequal = estimates.findings.unequal([a, b], tasks)
    if unequal:
        text = _unequal_sentence(estimates.level, a, b, by_task, adjusted, unequal)
    elif suite is not None:
        text = _suite_sentence(estimates.level, a, b, suite, by_task, pool.of(a, b))
    else:
        text = _task_sentence(estimates.level, a, b, by_task, adjusted, _why_not(pool))
    notes = (*_marks(estimates, a, b, tasks), *_starts(estimates, a, b, tasks))
    return Comparison(a, b, suite, gap, by_task, adjusted, estimates.level, text, notes)


def holm(contrasts: Mapping[T, Contrast]) -> dict[T, float]:
    """Holm-adjusted p-values of those contrasts that are tested, adjusted for the number of them."""
    tested = {key: c.test.p_value for key, c in contrasts.items() if c.test is not None}
    return dict(zip(tested, adjust_pvalues(list(tested.values())).tolist()))


def class_warning(estimates: Estimates, a: str, b: str) -> str:
    """What to say when two methods do not act on the same information; empty when they do."""
    x, y = estimates.info(a).execution, estimates.info(b).execution
    if x == y:
        return f"The execution classes of {a} and {b} are not known." if x == "unknown" else ""
    text = f"{a} is of execution class {x}, {b} of class {y}: they do not act on the same information"
    if x in EXECUTION_CLASSES and y in EXECUTION_CLASSES:
        stronger = a if class_rank(x) > class_rank(y) else b
        return f"{text}, and {stronger} sees more. Ranks and bold are formed within a class."
    return f"{text}."


def _stream(estimates: Estimates, what: str, a: RunScores, b: RunScores) -> np.random.Generator:
    pair = sorted((a.method, b.method))
    return named(what, pair, a.tasks, estimates.kind, estimates.mode, estimates.metric)


def _contrast(estimates: Estimates, a: RunScores, b: RunScores, unit: str) -> Contrast:
    unequal = estimates.findings.unequal([a.method, b.method], a.tasks)
    return Contrast(
        a.tasks,
        unit,
        difference(a, b, mean, _stream(estimates, "mean difference", a, b), level=estimates.level),
        None if unequal else permutation_test(a, b, _stream(estimates, "pair test", a, b)),
        estimates.improvement_of([a, b])[a.method, b.method],
        None if unequal else replication_interval(a, b, level=estimates.level),
        unequal,
    )


def _why_not(pool: Pool) -> str:
    """Why there is no suite verdict."""
    if not pool.tasks:
        return pool.why
    return "; ".join(f"{m} has {pool.coverage(m)}" for m in pool.lacking)


def _seeds(scores: Sequence[RunScores]) -> str:
    counts = sorted({n for s in scores for n in s.n_per_task.values()})
    text = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{text} seed{'s' * (counts != [1])} per method" + (" and task" if len(scores[0].tasks) > 1 else "")


def _effect(c: Contrast, test: PairTest) -> str:
    """The difference that was tested, with its own interval, unit and p."""
    e = c.difference
    unit = c.unit.partition(":")[0]
    return f"mean difference {signed(e.value, e.low, e.high)}, {unit}; {p_text(test.p_value)}, permutation test of it"


def _suite_sentence(
    level: float, a: str, b: str, c: Contrast, by_task: dict[str, Contrast], scores: Sequence[RunScores]
) -> str:
    """The verdict over the pooled tasks, how many seeds would tell, and the tasks that go the other way."""
    assert c.test is not None  # else :func:`_unequal_sentence`
    where = f"over {len(c.tasks)} tasks" if len(c.tasks) > 1 else f"on {c.tasks[0]}"
    outcome = c.verdict(level)
    if outcome != "not distinguishable":
        text = f"{a} is {outcome} than {b} {where} with {_seeds(scores)} ({_effect(c, c.test)})."
        return " ".join(x for x in (text, _opposing(a, c, by_task), _borderline(c, level)) if x)
    text = f"{a} and {b} are not distinguishable {where} with {_seeds(scores)} ({_effect(c, c.test)})."
    if c.test.smallest_p > 1 - level:
        fewest = seeds_for_family(1, len(c.tasks), level=level)
        text += (
            f" No difference could have been: the smallest p that these runs allow is {c.test.smallest_p:.2g}; "
            f"{fewest} seeds a side are the least."
        )
    text = " ".join(x for x in (text, _borderline(c, level)) if x)
    counts = [n for s in scores for n in s.n_per_task.values()]
    if min(counts) < 2:
        return f"{text} The spread between runs is unknown with one seed, so how many would tell is, too."
    needed = seeds_to_tell(*scores)
    if needed is None:
        return f"{text} Their means are equal: no number of seeds would tell."
    if needed > max(counts):
        many = "more than a million" if needed >= 10**6 else f"about {needed}"
        return f"{text} If the difference seen now were the true one, {many} seeds per method and task would tell."
    return f"{text} As many seeds find a difference like this one four times out of five: more are worth a try."


def _opposing(a: str, c: Contrast, by_task: dict[str, Contrast]) -> str:
    """The tasks on which the difference has the other sign."""
    if len(c.tasks) < 2:
        return ""
    other = [t for t in c.tasks if by_task[t].difference.value * c.difference.value < 0]
    if not other:
        return f"The means go the same way on {'both' if len(c.tasks) == 2 else f'all {len(c.tasks)}'} tasks."
    texts = [f"{t} ({signed(by_task[t].difference.value)})" for t in other]
    return f"The mean goes the other way on {listed(texts)}."


def _borderline(c: Contrast, level: float) -> str:
    """The test and the interval are made in different ways and may disagree near the limit."""
    if not c.difference.has_interval or c.difference.excludes(0.0) == (c.verdict(level) != "not distinguishable"):
        return ""
    return "Test and interval disagree about 0 here: a borderline case."


def _unequal_sentence(
    level: float, a: str, b: str, by_task: dict[str, Contrast], adjusted: dict[str, float], unequal: str
) -> str:
    """No claim where budgets differ; the tasks on which they are equal are judged one by one."""
    tested = {t: c for t, c in by_task.items() if c.test is not None}
    if not tested:
        return f"No claim about {a} and {b}: {unequal}."
    return _task_sentence(level, a, b, tested, adjusted, unequal)


def _task_sentence(
    level: float, a: str, b: str, by_task: dict[str, Contrast], adjusted: dict[str, float], why: str
) -> str:
    """Verdicts task by task: how many each way, with the tasks named."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
    for t, c in by_task.items():
        text = f"{t}, {p_text(adjusted[t])}" if c.verdict(level, adjusted[t]) != "not distinguishable" else t
        groups[c.verdict(level, adjusted[t])].append(text)
    n = len(by_task)
    parts = []
    for outcome in ("better", "worse"):
        if groups[outcome]:
            parts.append(f"{outcome} than {b} on {len(groups[outcome])} of {n} tasks ({'; '.join(groups[outcome])})")
    if not parts:
        head = f"{a} and {b} are not distinguishable on any of {n} tasks"
    else:
        head = f"{a} is {' and '.join(parts)}"
        if groups["not distinguishable"]:
            head += f", not distinguishable on {listed(groups['not distinguishable'])}"
    smallest = min(c.test.smallest_p for c in by_task.values() if c.test is not None) * n
    few = (
        f" No difference could have been found: the smallest adjusted p that these runs allow is "
        f"{min(1, smallest):.2g}."
        if smallest > 1 - level
        else ""
    )
    return f"{head}: each task tested by itself, adjusted for {n} (Holm).{few} No verdict over the suite: {why}."


def _marks(estimates: Estimates, a: str, b: str, tasks: Sequence[str]) -> list[str]:
    return [f"{m} on {t}: {mark}" for m in (a, b) for t in tasks if (mark := estimates.findings.mark(m, t))]


def _starts(estimates: Estimates, a: str, b: str, tasks: Sequence[str]) -> list[str]:
    """Whether both were scored on the same starts, seed by seed, and what that does not change."""
    shared = [t for t in tasks if starts_shared(estimates, a, b, t)]
    if not shared:
        return []
    where = "" if len(shared) == len(tasks) else f" on {listed(shared)}"
    return [
        f"Both were scored on the same starts, seed by seed{where}: that takes some episode noise out of the "
        "difference. Seeds are no pairs of runs, so the interval still resamples each side's runs by themselves."
    ]


def starts_shared(estimates: Estimates, a: str, b: str, task: str) -> bool:
    """Whether episodes of equal seeds began alike: same task, same evaluation, a seed in common. Starts are drawn from
    (seed, purpose, episode) alone; of imported runs nothing is known."""
    found = []
    for method in (a, b):
        records = estimates.results.find(method, task)
        known = {(r.config.get("task_hash"), _protocol(r.config)) for r in records}
        seeds = {s for r in records for s in r.seed_status}
        found.append((known, seeds))
    (x, seeds_x), (y, seeds_y) = found
    return x == y and len(x) == 1 and None not in next(iter(x)) and bool(seeds_x & seeds_y)


def _protocol(config: dict[str, Any]) -> tuple[Any, ...] | None:
    evaluation = config.get("evaluation")
    if not isinstance(evaluation, dict):
        return None
    return (
        evaluation.get("episodes"),
        evaluation.get("absolute_episodes"),
        evaluation.get("referee"),
        config.get("device"),
    )
