"""A trial that a suite declares, judged: one primary method against every comparator, task by task.

Claims are made on test tasks alone. The primary *wins* on a task when it is better than each comparator (intersection
and union: the largest of their p-values counts, Berger 1982), adjusted over the test tasks by Holm. It is *not
inferior* when the one-sided lower limit of its difference to each is above minus the margin, and the best comparator
stands further than the margin above random play: else random play itself would pass, and *nothing* was *learned* that
could be lost. Development tasks and controls are shown with the same numbers and claim nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.streams import named
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.spaces import SCORED_IN
from rlnet_bench.runs.trial import Declared, Trial, when
from rlnet_bench.runs.tuned import task_family
from rlnet_bench.stats import adjust_pvalues, permutation_test, seeds_needed, welch
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.vocabulary import Mode

Outcome = Literal["wins", "not inferior", "inferior", "undecided", "nothing learned", "open"]
ALPHA = 0.05
POWER = 0.8
STILL_LEARNING = 0.02  # normalised gain over the last quarter of training


@dataclass(frozen=True)
class Against:
    """The primary less another method on one task, in shares of the way from random to best."""

    method: str
    difference: float
    low: float
    """Two-sided 95 percent limits (Welch)."""
    high: float
    at_least: float
    """One-sided 95 percent limits: the difference is above, and below."""
    at_most: float
    p: float
    """Of no difference; exact permutation test, two-sided."""
    seeds: int
    """About as many a side would tell whether it is above minus the margin, four times out of five; 0 if known."""

    @property
    def beats(self) -> float:
        """The p-value of being better; 1 when it is not."""
        return self.p if self.difference > 0 else 1.0


@dataclass(frozen=True)
class TaskTrial:
    """What came out on a task."""

    task: str
    is_test: bool
    mode: Mode
    primary: float
    """Mean over runs, normalised."""
    n: int
    comparators: tuple[Against, ...]
    controls: tuple[Against, ...]
    adjusted_p: float | None
    """Of being better than each comparator, Holm over the test tasks; None on development tasks."""
    gain: float | None
    """What the best comparator still gained over its last quarter, normalised."""
    outcome: Outcome
    open: str = ""
    """Why nothing can be said: who has no two runs, or whose budgets differ."""
    short: str = ""
    """Who has fewer runs than the suite declares: ``gnn 3 of 5``."""

    @property
    def is_early(self) -> bool:
        """Whether it tells of early learning."""
        return self.gain is not None and self.gain > STILL_LEARNING

    @property
    def beats_controls(self) -> bool:
        """Whether it is better than each control (each tested by itself)."""
        return bool(self.controls) and all(c.beats <= ALPHA for c in self.controls)


def judge_trial(estimates: Estimates) -> tuple[Trial, tuple[TaskTrial, ...]]:
    """The trial that the results' suite declares, on every task, development tasks first.

    Raises:
        BadInput: when it declares none, or a task has no scale.
    """
    results = estimates.results
    declared = results.suite.get("trial")
    if declared is None:
        raise BadInput(
            f"{results.name}: its suite declares no trial. Expected "
            "`trial: {primary: LABEL, comparators: [LABEL, ...]}` in the suite, written before it is run "
            "(docs/comparing.md)."
        )
    trial = Trial.model_validate(declared)
    test = [t for t in results.tasks if t in results.suite.get("test", ())]
    found = {t: _task(estimates, trial, t, t in test) for t in results.tasks}
    adjusted = adjust_pvalues([_union(found[t]) for t in test])
    found |= {t: _decided(found[t], trial, float(p)) for t, p in zip(test, adjusted) if not found[t].open}
    order = [t for t in results.tasks if t not in test] + test
    return trial, tuple(found[t] for t in order)


def _task(estimates: Estimates, trial: Trial, task: str, is_test: bool) -> TaskTrial:
    """Everything but the verdict."""
    fact = estimates.fact(task)
    if fact.bounds is None:
        raise BadInput(
            f"{task}: a trial needs a scale from random to best; {fact.reason}. A suite gives "
            "its own tasks such points under `card:` (docs/suites.md)."
        )
    mode: Mode = SCORED_IN.get(task_family(task), estimates.results.primary)
    low, gap = fact.bounds.low, fact.bounds.gap
    everyone = (trial.primary, *trial.others)
    scores = {
        s.method: (s.runs[task].scores - low) / gap
        for s in estimates.scores(trial.kind, mode, "return")
        if s.method in everyone
    }
    lost = ", ".join(m for m in everyone if len(scores.get(m, ())) < 2)
    why = f"{lost} without two runs" if lost else estimates.findings.unequal(everyone, (task,))
    if why:
        return TaskTrial(task, is_test, mode, math.nan, 0, (), (), None, None, "open", why)
    declared = len(estimates.results.seeds)
    short = ", ".join(f"{m} {len(scores[m])} of {declared}" for m in everyone if len(scores[m]) < declared)
    mine = scores[trial.primary]
    pairs = {m: _against(task, trial, mine, m, scores[m]) for m in trial.others}
    best = max(trial.comparators, key=lambda m: scores[m].mean())
    frames, curves, _ = estimates.results.curve(best, task, mode)
    gain = float(_gain(frames, (curves - low) / gap)) if len(frames) > 1 else None
    return TaskTrial(
        task, is_test, mode, float(mine.mean()), len(mine), tuple(pairs[m] for m in trial.comparators),
        tuple(pairs[m] for m in trial.controls), None, gain, "undecided", short=short,
    )  # fmt: skip


def _against(task: str, trial: Trial, mine: np.ndarray, other: str, theirs: np.ndarray) -> Against:
    low, high = welch(theirs, mine, 1 - ALPHA)
    at_least, at_most = welch(theirs, mine, 1 - 2 * ALPHA)
    a, b = (RunScores.from_arrays(m, {task: x}) for m, x in ((trial.primary, mine), (other, theirs)))
    p = permutation_test(a, b, named("trial", task, trial.primary, other)).p_value
    difference = float(mine.mean() - theirs.mean())
    is_known = at_least > -trial.margin or at_most < -trial.margin
    seeds = 0 if is_known else _seeds(abs(difference + trial.margin), mine, theirs)
    return Against(other, difference, low, high, at_least, at_most, p, seeds)


def _seeds(distance: float, mine: np.ndarray, theirs: np.ndarray) -> int:
    """Runs a side that tell a mean this far from the margin, more than there are; 0 when it stands on the margin."""
    sd = math.sqrt((float(mine.var(ddof=1)) + float(theirs.var(ddof=1))) / 2)
    if distance == 0:
        return 0
    enough = seeds_needed(distance, sd, level=1 - 2 * ALPHA, power=POWER)
    return max(enough, min(len(mine), len(theirs)) + 1)


def _gain(frames: np.ndarray, curves: np.ndarray) -> float:
    """The mean over runs at the end less that at three quarters of training."""
    mean = curves.mean(axis=0)
    return float(mean[-1] - np.interp(0.75 * frames[-1], frames, mean))


def _union(found: TaskTrial) -> float:
    """The p-value of "better than each comparator": that of the hardest. A task that is open did not reject."""
    return max((c.beats for c in found.comparators), default=1.0)


def _decided(found: TaskTrial, trial: Trial, adjusted: float) -> TaskTrial:
    outcome: Outcome
    if adjusted <= ALPHA:
        outcome = "wins"
    elif max(found.primary - c.difference for c in found.comparators) <= trial.margin:
        outcome = "nothing learned"
    elif all(c.at_least > -trial.margin for c in found.comparators):
        outcome = "not inferior"
    elif any(c.at_most < -trial.margin for c in found.comparators):
        outcome = "inferior"
    else:
        outcome = "undecided"
    return replace(found, adjusted_p=adjusted, outcome=outcome)


def declared_when(results: Results) -> str:
    """Whether the trial came before its runs, as far as its store wrote it down; runs that were adopted later and say
    that they had started before count, too."""
    found = results.suite.get("declared")
    declared = Declared.model_validate(found) if found else None
    at = when(declared.at) if declared else None
    if declared is None or at is None:
        return "When the trial was declared is not recorded; the history of its suite's file can show it."
    known = [(when(r.provenance.get("started")), len(r.seeds)) for r in results.records]
    begun = max(declared.begun, sum(n for started, n in known if started is not None and started < at))
    if not begun:
        return f"The trial was declared before any of its runs had begun ({declared.at})."
    ended = f" and {declared.ended} had ended" if declared.ended else ""
    total = sum(len(r.seeds) for r in results.records)
    return (
        f"The trial was declared when {begun} of its {total} runs had begun{ended} ({declared.at}): what came out of "
        "them could be known."
    )


def sentences(trial: Trial, tasks: Sequence[TaskTrial]) -> list[str]:
    """What came out, in words: one sentence per test task, then the count."""
    test = [t for t in tasks if t.is_test]
    out = []
    for t in test:
        early = " Early learning: the best comparator was still gaining." if t.is_early else ""
        early += f" Runs are missing ({t.short}): this is not the declared test yet." if t.short else ""
        if t.outcome == "open":
            out.append(f"{t.task}: open ({t.open}).")
        elif t.outcome == "wins":
            out.append(f"{t.task}: {trial.primary} is better than each comparator (p = {t.adjusted_p:.2g}).{early}")
        elif t.outcome == "nothing learned":
            out.append(f"{t.task}: no comparator is more than the margin ({trial.margin:g}) above random play.{early}")
        elif t.outcome == "not inferior":
            out.append(f"{t.task}: {trial.primary} is not inferior to any comparator (margin {trial.margin:g}).{early}")
        elif t.outcome == "inferior":
            worst = ", ".join(c.method for c in t.comparators if c.at_most < -trial.margin)
            out.append(f"{t.task}: {trial.primary} is inferior to {worst} (margin {trial.margin:g}).{early}")
        else:
            wanted = {c.method: c.seeds for c in t.comparators if c.seeds}
            told = ", ".join(f"about {n} seeds against {m}" for m, n in wanted.items())
            out.append(f"{t.task}: undecided; {told or 'no number of seeds'} would decide.{early}")
    counts = ", ".join(
        f"{sum(t.outcome == o for t in test)} {o}"
        for o in ("wins", "not inferior", "undecided", "inferior", "nothing learned", "open")
        if any(t.outcome == o for t in test)
    )
    return [*out, f"{trial.primary} on {len(test)} test tasks: {counts}."]
