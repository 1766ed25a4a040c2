"""What a task is made of, measured: how much information, coordination and memory are worth on it.

Each gap is a difference of two learners that differ in one thing, in normalised final scores, with its interval:

* ``information``: ``ippo`` whose actors observe all, minus ``ippo``;
* ``coordination``: ``central``, which also chooses for all at once, minus ``ippo`` that observes all;
* ``memory``: ``ippo`` with a gated recurrent unit, minus ``ippo``.

A gap means something only where both have stopped learning: what a run gained in the last quarter of its budget, over
the quarter before, must be below :data:`STILL`. On LBF sampled play is scored, elsewhere the suite's primary mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from rlnet_bench.analysis.references import TaskFacts, facts_of
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.streams import named
from rlnet_bench.envs.cards import GAPS, Gap, gaps_from_yaml
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.spaces import SCORED_IN
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.tuned import task_family
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.compare import difference
from rlnet_bench.stats.normalise import normalise
from rlnet_bench.vocabulary import Mode

STILL = 0.02  # of the way from random play to the best known
ROLES: Mapping[str, tuple[str, Mapping[str, str]]] = {  # method, and settings that tell it from its likes
    "own": ("ippo", {"observe": "own", "memory": "none"}),
    "all": ("ippo", {"observe": "all", "memory": "none"}),
    "gru": ("ippo", {"observe": "own", "memory": "gru"}),
    "central": ("central", {"memory": "none"}),
}
PAIRS = {"information": ("all", "own"), "coordination": ("central", "all"), "memory": ("gru", "own")}
assert tuple(PAIRS) == GAPS


def measured_gaps(results: Results) -> dict[str, dict[str, Gap]]:
    """Task -> gap -> what is known of it, for the tasks and pairs of methods that the results have.

    Raises:
        BadInput: when no pair is there on any task.
    """
    found: dict[str, dict[str, Gap]] = {}
    for task in results.tasks:
        roles = {role: label for role in ROLES if (label := _playing(results, task, role))}
        for name, (a, b) in PAIRS.items():
            if a in roles and b in roles:
                found.setdefault(task, {})[name] = _gap(results, facts_of(results.card(task)), roles[a], roles[b], name)
    if not found:
        raise BadInput(
            f"{results.name}: no two of `ippo`, `ippo` with observe: all, `central`, and `ippo` with memory: gru ran "
            "on one task; `rlnet-bench run gaps` makes them."
        )
    return found


def _playing(results: Results, task: str, role: str) -> str | None:
    """The label of the method that plays a role on a task; the suite's first of several."""
    method, settings = ROLES[role]
    for info in results.methods:
        for record in results.find(info.label, task):
            own = record.config["settings"]
            if record.config["method"] == method and all(own.get(k) == v for k, v in settings.items()):
                return info.label
    return None


def _gap(results: Results, facts: TaskFacts, a: str, b: str, name: str) -> Gap:
    task, mode = facts.id, SCORED_IN.get(task_family(facts.id), results.primary)
    frames = max(r.config["frames"] for m in (a, b) for r in results.find(m, task))
    scores = {s.method: s.select([task]) for s in results.scores("final", mode) if s.method in (a, b)}
    runs = min(s.runs[task].n for s in scores.values())
    about: dict[str, Any] = {
        "suite": f"{results.name}-v{results.version}",
        "frames": frames,
        "runs": runs,
        "mode": mode,
    }
    if facts.bounds is None:
        return Gap(reason=facts.reason, **about)
    if not runs:
        return Gap(reason="no finished run", **about)
    for method in (a, b):
        gained = _gained(results, facts, method, mode)
        if gained is None:
            return Gap(reason=f"the curve of {method} has too few points", **about)
        if gained >= STILL:
            return Gap(reason=f"still learning: {method} gained {gained:.2f} in the last quarter", **about)
    bounds = {task: facts.bounds}
    e = difference(normalise(scores[a], bounds), normalise(scores[b], bounds), mean, named("gap", name, task, mode))
    low, high = (None if x is None else round(x, 4) for x in (e.low, e.high))
    return Gap(round(e.value, 4), low, high, **about)


def _gained(results: Results, facts: TaskFacts, method: str, mode: Mode) -> float | None:
    """The mean curve's last quarter minus the quarter before, normalised; None without points in either."""
    frames, curves, _ = results.curve(method, facts.id, mode)
    if not frames.size or facts.bounds is None:
        return None
    share = frames / frames[-1] if frames[-1] else frames
    late, before = curves[:, share > 0.75], curves[:, (share > 0.5) & (share <= 0.75)]
    if not late.size or not before.size:
        return None
    return float(late.mean() - before.mean()) / facts.bounds.gap


def write_gaps(path: Path, found: Mapping[str, Mapping[str, Gap]]) -> None:
    """Write a data file, keeping what it has of other tasks and gaps.

    Raises:
        BadInput: when there is another kind of file.
    """
    old = gaps_from_yaml(load(path).data, str(path)) if path.exists() else {}
    merged = {task: {**old.get(task, {}), **found.get(task, {})} for task in sorted({*old, *found})}
    plain = {
        task: {name: {k: v for k, v in asdict(gap).items() if v not in (None, "")} for name, gap in row.items()}
        for task, row in merged.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "# Measured by `rlnet-bench gaps STORE --out FILE`; beside the cards, and no part of their digests.\n"
    write_atomic(path, head + yaml.safe_dump(plain, sort_keys=False, width=120))
