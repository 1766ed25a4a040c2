"""What cannot be compared in some results, in sentences. Pure, and imports without torch.

Every rule is a function from tables (one per source) to findings. A ``problem`` makes a comparison wrong or void;
a ``note`` limits what can be said. Tables come from stores, published directories, tidy CSV files, marl-eval and
BenchMARL JSON (:func:`rlnet_bench.analysis.loading.load_source`); summary tables of means have rules of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from rlnet_bench.analysis.copies import fingerprint, same
from rlnet_bench.analysis.findings import KINDS, Findings, differ
from rlnet_bench.analysis.wording import listed
from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.foreign.completeness import lost_runs
from rlnet_bench.foreign.summary import Summary
from rlnet_bench.foreign.table import SCORED, CellFacts, Evaluation, ForeignTable

FEW, ENOUGH = 3, 5  # below FEW: dots only; below ENOUGH on one task: no interval
_VERSION = re.compile(r"-v(\d+)$")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; ``rule`` is its short name."""

    rule: str
    sentence: str
    severity: Literal["problem", "note"] = "problem"


@dataclass(frozen=True)
class Cell:
    """A method on a task in one source."""

    source: str
    method: str
    task: str
    facts: CellFacts
    evaluations: tuple[Evaluation, ...]
    seeds: tuple[int, ...]
    trains: bool

    def where(self, many: bool) -> str:
        """Its name in a sentence."""
        return f"{self.method} ({self.source})" if many else self.method

    @property
    def scored(self) -> list[Evaluation]:
        """What may be scored."""
        return [e for e in self.evaluations if e.kind in SCORED]


def lint(
    tables: Sequence[ForeignTable], summaries: Sequence[Summary] = (), judged: Sequence[Findings] = ()
) -> list[Finding]:
    """All findings, problems first, each sentence once.

    Args:
        tables: one per source.
        summaries: tables of means.
        judged: what marks the tables of those sources that can be scored.
    """
    cells = [c for table in tables for c in _cells(table)]
    many = len(tables) > 1
    found: list[Finding] = []
    for task in dict.fromkeys(c.task for c in cells):
        group = [c for c in cells if c.task == task]
        for rule in RULES:
            found += rule(task, group, many)
    found += [*_versions(cells), *_coverage(cells, many), *(f for s in summaries for f in _summary(s))]
    for table in tables:
        found += _incomplete(table)
    for f in judged:
        found += [Finding("below-random", f"{method} on {task}: {text}.") for (method, task), text in f.below.items()]
    found += [Finding("damaged", f"{t.name}: {sentence}") for t in tables for sentence in t.damage]
    return sorted(dict.fromkeys(found), key=lambda f: f.severity != "problem")


def _cells(table: ForeignTable) -> Iterator[Cell]:
    by_cell: dict[tuple[str, str], list[Evaluation]] = {cell: [] for cell in table.facts}
    for e in table.evaluations:
        by_cell[e.cell].append(e)
    longest = max((e.frames for e in table.evaluations), default=0)
    for (method, task), evaluations in by_cell.items():
        facts = table.facts[method, task]
        runs = table.seeds(method, task)
        trains = facts.trains and (longest == 0 or any(e.frames for e in evaluations))
        yield Cell(table.name, method, task, facts, tuple(evaluations), runs, trains)


def _steps(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Different definitions of a step, or budgets that hint at them."""
    trained = [c for c in cells if c.trains]
    units: dict[str, list[str]] = {}
    for c in trained:
        if c.facts.steps != "unknown":
            units.setdefault(c.facts.steps, []).append(c.where(many))
    if len(units) > 1:
        text = "; ".join(f"{_listed(v)} in {k}" for k, v in units.items())
        yield Finding("steps", f"{task}: steps are counted in different ways: {text}. Their curves share no axis.")
    odd = units.get("logger-steps", []) + units.get("vector-steps", [])
    if odd and len(units) == 1:
        yield Finding("steps", f"{task}: the steps of {_listed(odd)} are not environment frames.", "note")
    ends = {c.where(many): max((e.frames for e in c.evaluations), default=0) for c in trained}
    ends = {k: v for k, v in ends.items() if v}
    if len(set(ends.values())) > 1:
        low, high = min(ends, key=lambda k: ends[k]), max(ends, key=lambda k: ends[k])
        ratio = ends[high] / ends[low]
        if ratio >= 2 and abs(ratio - round(ratio)) < 0.02 * ratio:
            yield Finding(
                "steps",
                f"{task}: {high} ends at {ends[high]:,} steps, {round(ratio)} times as many as {low} ({ends[low]:,}). "
                "If one counts parallel environments together and the other does not, they share no axis; else budgets "
                "differ.",
            )
        elif differ(ends.values()):
            yield Finding("budget", f"{task}: budgets differ: {high} has {ends[high]:,} steps, {low} {ends[low]:,}.")


def _scales(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Sum against mean over agents."""
    scales: dict[str, list[str]] = {}
    for c in cells:
        scales.setdefault(c.facts.scale, []).append(c.where(many))
    unknown = scales.pop("unknown", [])
    if unknown:
        yield Finding(
            "scale",
            f"{task}: nothing says whether the returns of {_listed(unknown)} are added over agents or averaged.",
        )
    if len(scales) > 1:
        text = "; ".join(f"{_listed(v)} on the scale {k}" for k, v in scales.items())
        joined = f"{task}: rewards are joined in different ways: {text}."
        if task in task_ids():
            agents = task_card(task).num_agents
            yield Finding("scale", f"{joined} All verbs show them as sums over the task's {agents} agents.", "note")
        else:
            yield Finding("scale", f"{joined} Returns differ by the agents' number.")


def _horizons(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    known: dict[int, list[str]] = {}
    for c in cells:
        if c.facts.horizon:
            known.setdefault(c.facts.horizon, []).append(c.where(many))
    if task in task_ids():
        card = task_card(task)
        for horizon, who in known.items():
            if horizon != card.horizon:
                yield Finding(
                    "horizon", f"{task}: episodes of {_listed(who)} last {horizon} steps, the task's {card.horizon}."
                )
    if len(known) > 1:
        text = "; ".join(f"{_listed(v)}: {k} steps" for k, v in known.items())
        yield Finding("horizon", f"{task}: episodes have different horizons ({text}); a return is a sum over them.")


def _seeds(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Unequal and too few seeds."""
    trained = [c for c in cells if c.trains and c.seeds]
    counts = {c.where(many): len(c.seeds) for c in trained}
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{k} {v}" for k, v in counts.items())
        yield Finding("seeds", f"{task}: methods have different numbers of seeds ({text}): was something left out?")
    few = {k: n for k, n in counts.items() if n < ENOUGH}
    if few:
        who = ", ".join(f"{k} {n}" for k, n in few.items())
        least = min(few.values())
        limit = "only the runs can be shown" if least < FEW else "no interval, no bold, no claim on this task alone"
        yield Finding("few-seeds", f"{task}: too few seeds for a claim ({who}; an interval takes {ENOUGH}): {limit}.")


def _kinds(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Training returns, best-episode scores, mixed modes, means without episodes."""
    training = [c.where(many) for c in cells if any(e.kind == "training" for e in c.evaluations)]
    if training:
        yield Finding(
            "training-returns",
            f"{task}: {_listed(training)}: training returns, made while exploring, with weights that change on the "
            "way; they do not belong in a table.",
        )
    lucky = [c.where(many) for c in cells if _best_episode(c)]
    if lucky:
        yield Finding(
            "best-episode",
            f"{task}: the 'absolute' scores of {_listed(lucky)} are the best single episode of a run, not its best "
            "policy scored again on fresh episodes.",
        )
    modes = {c.where(many): {e.mode for e in c.scored} for c in cells if c.trains and c.scored}
    if modes and not set.intersection(*modes.values()):
        text = "; ".join(f"{k}: {' and '.join(sorted(v))}" for k, v in modes.items())
        yield Finding("modes", f"{task}: actions were chosen in different ways when evaluating ({text}).")
    means = [c.where(many) for c in cells if any(e.episodes != 1 for e in c.scored)]
    if means:
        yield Finding(
            "means",
            f"{task}: {_listed(means)}: one mean per evaluation, no episodes; evaluation noise cannot be told from "
            "differences between runs.",
            "note",
        )
    kinds = {c.where(many): "absolute" in {e.kind for e in c.scored} for c in cells if c.trains and c.scored}
    if len(set(kinds.values())) > 1:
        text = _listed([k for k, v in kinds.items() if not v])
        yield Finding(
            "kinds", f"{task}: {text} without absolute scores, others with: only final scores are comparable.", "note"
        )


def _best_episode(cell: Cell) -> bool:
    """Said to be, or one number per run that is the highest episode of its curve in every run."""
    if any(e.kind == "best-episode" for e in cell.evaluations):
        return True
    hits = []
    for e in cell.evaluations:
        if e.kind == "absolute" and len(e.returns) == 1:
            mine = [x for x in cell.evaluations if (x.kind, x.seed, x.mode) == ("curve", e.seed, e.mode)]
            episodes = [float(x.returns.sum(axis=1).max()) for x in mine if len(x.returns) > 1]
            hits.append(bool(episodes) and e.value >= max(episodes))
    return bool(hits) and all(hits)


def _hashes(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Another task under the same name."""
    known: dict[str, list[str]] = {}
    for c in cells:
        if c.facts.task_hash:
            known.setdefault(c.facts.task_hash[:12], []).append(c.where(many))
    if len(known) > 1:
        text = "; ".join(f"{_listed(v)}: {k}" for k, v in known.items())
        yield Finding("task-hash", f"{task}: the same name stands for different tasks (digests {text}).")
    if task in task_ids():
        now = task_card(task).hash()[:12]
        old = [who for digest, names in known.items() if digest != now for who in names]
        if old:
            yield Finding(
                "task-hash", f"{task}: {_listed(old)} ran on another version of the task than this package's."
            )


def _copies(task: str, cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Runs that are copies of each other: a seed without effect, or a file counted twice."""
    prints: dict[tuple[str, int], str | None] = {}
    for c in cells:
        for seed in c.seeds if c.trains else ():
            mine = [e for e in c.evaluations if e.seed == seed]
            ends = [e.value for e in sorted(mine, key=_order) if e.kind in KINDS]
            prints[c.where(many), seed] = fingerprint(ends, partial(_after_start, mine))
    for runs in same(prints):
        names = sorted(f"{who} seed {seed}" for who, seed in runs)
        yield Finding("copies", f"{task}: {_listed(names)} have identical numbers: they are one run.")


def _order(e: Evaluation) -> tuple[str, str, int]:
    return e.kind, e.mode, e.frames


def _after_start(evaluations: Sequence[Evaluation]) -> list[np.ndarray]:
    return [e.returns for e in sorted(evaluations, key=_order) if e.frames > 0]


Rule = Callable[[str, Sequence[Cell], bool], Iterable[Finding]]
RULES: tuple[Rule, ...] = (_steps, _scales, _horizons, _seeds, _kinds, _hashes, _copies)


def _versions(cells: Sequence[Cell]) -> Iterator[Finding]:
    """``x-v1`` and ``x-v2`` side by side."""
    stems: dict[str, dict[str, None]] = {}
    for c in cells:
        stems.setdefault(_VERSION.sub("", c.task), {})[c.task] = None
    for tasks in stems.values():
        if len(tasks) > 1:
            yield Finding("task-version", f"{_listed(list(tasks))} are different tasks; their scores do not mix.")


def _incomplete(table: ForeignTable) -> Iterator[Finding]:
    """Runs that did not get to the end."""
    for task in table.tasks:
        if text := lost_runs(table, task=task):
            yield Finding("incomplete", f"{task}: {text[0].lower()}{text[1:]}")


def _coverage(cells: Sequence[Cell], many: bool) -> Iterator[Finding]:
    """Methods without some of the tasks."""
    tasks = list(dict.fromkeys(c.task for c in cells))
    has: dict[str, set[str]] = {}
    for c in cells:
        if c.trains and c.seeds:
            has.setdefault(c.method, set()).add(c.task)
    for method, own in has.items():
        lost = [t for t in tasks if t not in own and any(t in other for other in has.values())]
        if lost:
            yield Finding(
                "tasks", f"{method} has no runs on {_listed(lost)}: suite scores would be over different tasks."
            )


def _summary(summary: Summary) -> Iterator[Finding]:
    """A table of means that contradicts itself, or claims too much."""
    for row in summary.rows:
        who = f"{summary.name}, line {row.line}: {row.method} on {row.task}"
        if row.maximum is not None and row.maximum < row.mean:
            yield Finding("max-below-mean", f"{who} has a maximum of {row.maximum:g}, below its mean of {row.mean:g}.")
        if row.minimum is not None and row.minimum > row.mean:
            yield Finding("max-below-mean", f"{who} has a minimum of {row.minimum:g}, above its mean of {row.mean:g}.")
        if row.n is not None and row.n < ENOUGH:
            yield Finding(
                "few-seeds", f"{who} is a mean over {row.n} seeds, too few for a claim (an interval takes {ENOUGH})."
            )
    counts = Counter(r.n for r in summary.rows if r.n is not None)
    if len(counts) > 1:
        yield Finding(
            "seeds", f"{summary.name}: rows rest on different numbers of seeds ({', '.join(map(str, sorted(counts)))})."
        )
    if any(r.n is None for r in summary.rows):
        yield Finding("seeds", f"{summary.name}: some rows do not say how many seeds they rest on.")


def _listed(names: Sequence[str]) -> str:
    return listed(list(dict.fromkeys(names)))
