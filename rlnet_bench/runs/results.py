"""Results: the records of a suite, from a store or from published files, ready for statistics.

Imports without torch. One ``Results`` is all that reports and tables see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import StoreError
from rlnet_bench.runs.compact import read_index
from rlnet_bench.runs.files import read_json
from rlnet_bench.runs.indexed import indexed_record
from rlnet_bench.runs.plan import Group, Plan, method_of
from rlnet_bench.runs.publish import is_published, read_published
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.verify import read_policy
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import Kind, Mode, Status, class_rank

if TYPE_CHECKING:
    import pandas


Policies = dict[tuple[str, str], dict[str, Any]]  # description of the policy by (method label, task)


@dataclass(frozen=True)
class MethodInfo:
    """What tables say about a method besides its scores."""

    label: str
    id: str
    summary: str = ""
    execution: str = "D0"  # an :data:`ExecutionClass`, computed from the information flow of the acting policy
    training: str = "none"  # a :data:`TrainingClass`, or ``unknown``
    parameters: int | None = None
    trains: bool = True
    citation: str = ""
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)  # task -> bits_up, bits_down, hops, ...


@dataclass(frozen=True)
class Results:
    """A suite's declared grid and the records that exist so far."""

    name: str
    version: int
    tasks: tuple[str, ...]
    methods: tuple[MethodInfo, ...]  # in the order of the suite
    seeds: tuple[int, ...]
    primary: Mode
    records: tuple[RunRecord, ...]
    suite: dict[str, Any] = field(default_factory=dict)  # the resolved suite, for provenance

    def card(self, task: str) -> TaskCard:
        """The card of a task."""
        return task_card(task)

    def find(self, method: str, task: str) -> list[RunRecord]:
        """The records of a cell (several when the seeds were split into groups)."""
        return [r for r in self.records if r.method == method and r.task == task]

    @property
    def damage(self) -> tuple[str, ...]:
        """A sentence for every group whose record is damaged or was changed: it counts as failed."""
        return tuple(f"{r.method} on {r.task}: {r.reason}" for r in self.records if r.damaged)

    @property
    def complete(self) -> bool:
        """Every declared (method, task, seed) has ended as ok or diverged."""
        done = {
            (r.method, r.task, s)
            for r in self.records
            for s, status in r.seed_status.items()
            if status in ("ok", "diverged")
        }
        return all((m.label, t, s) in done for m in self.methods for t in self.tasks for s in self.seeds)

    def scores(self, kind: Kind = "absolute", mode: Mode | None = None, metric: str = "return") -> list[RunScores]:
        """One score per run: mean over its evaluation episodes.

        Args:
            kind: ``absolute`` or ``final``.
            mode: ``deterministic`` or ``sampled``; the suite's primary mode by default.
            metric: ``return`` (team sum) or ``success``.

        Returns:
            One RunScores per method with any run, tasks in suite order. Diverged runs carry the task's
            floor; failed runs are counted as failed, absent ones as missing.
        """
        out = []
        for method in self.methods:
            tasks = {t: self._task_runs(method.label, t, kind, mode or self.primary, metric) for t in self.tasks}
            out.append(RunScores(method.label, tasks))
        return out

    def _task_runs(self, method: str, task: str, kind: Kind, mode: Mode, metric: str) -> TaskRuns:
        scores: list[float] = []
        seeds: list[int] = []
        statuses: list[str] = []
        failed = 0
        known: set[int] = set()
        for record in self.find(method, task):
            for seed, status in record.seed_status.items():
                known.add(seed)
                if status == "diverged":
                    scores.append(self.card(task).floor if metric == "return" else 0.0)
                elif status == "failed":
                    failed += 1
                    continue
                else:
                    found = record.score(kind, mode, seed)
                    if found is None:
                        known.discard(seed)  # still running
                        continue
                    scores.append(found[0] if metric == "return" else found[1])
                seeds.append(seed)
                statuses.append("diverged" if status == "diverged" else "ok")
        missing = len(set(self.seeds) - known)
        return TaskRuns(np.asarray(scores), tuple(seeds), tuple(statuses), failed, missing)  # type: ignore[arg-type]

    def curve(self, method: str, task: str, mode: Mode | None = None) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """Learning curves: (frames [P], team return [n, P], seeds [n]) over the points that all runs have.

        A diverged run is at the task's floor from the first point that it did not reach.
        """
        rows: dict[int, dict[int, float]] = {}
        diverged: list[int] = []
        for record in self.find(method, task):
            diverged += [s for s, status in record.seed_status.items() if status == "diverged"]
            for line in record.lines("curve", mode or self.primary):
                if record.seed_status.get(line.seed) != "failed":
                    rows.setdefault(line.seed, {})[line.frames] = float(line.team.mean())
        if not rows:
            return np.zeros(0, dtype=np.int64), np.zeros((0, 0)), ()
        reached = {frames for points in rows.values() for frames in points}
        for record in self.find(method, task):
            if diverged and (frames := record.config.get("frames")):
                every = record.config["evaluation"]["every"]
                reached |= {*range(0, frames + 1, every), frames}
        for seed in diverged:
            rows[seed] = {**dict.fromkeys(reached, self.card(task).floor), **rows.get(seed, {})}
        common = sorted(set.intersection(*(set(points) for points in rows.values())))
        seeds = tuple(sorted(rows))
        return np.asarray(common), np.array([[rows[s][f] for f in common] for s in seeds]), seeds

    def frame(self) -> pandas.DataFrame:
        """Tidy DataFrame, one row per evaluation and seed."""
        import pandas as pd

        rows = [
            {
                "suite": self.name, "method": r.method, "task": r.task, "seed": e.seed, "kind": e.kind,
                "mode": e.mode, "frames": e.frames, "trained_frames": e.trained_frames, "updates": e.updates,
                "episodes": len(e.returns), "return": float(e.team.mean()),
                "return_mean": float(e.team.mean()) / e.returns.shape[1],
                "success": float(e.success.mean()), "status": r.seed_status.get(e.seed, r.status),
                "run_id": r.run_id,
            }
            for r in self.records
            for e in r.evals
        ]  # fmt: skip
        return pd.DataFrame(rows)


def load_results(source: Store | str | Path, suite: str | None = None) -> Results:
    """The results of a suite, finished or not, from a store or from a published directory; or of a tidy CSV file.

    Raises:
        StoreError, UnknownName: when there is no such store or suite.
    """
    if not isinstance(source, Store):
        from rlnet_bench.foreign.door import is_table, read_table  # it builds Results of this module
        from rlnet_bench.foreign.results import to_results

        if is_table(Path(source)):
            return to_results(read_table(Path(source)))
    if not isinstance(source, Store) and is_published(Path(source)):
        published = read_published(Path(source))
        spoken = {(r.method, r.task): published.policies[r.run_id] for r in published.finished}
        return _results(published.plan, published.records, spoken, published.seed_plan)
    store = (source if isinstance(source, Store) else Store(source)).checked()
    plan = store.plan(suite)
    index = read_index(store)  # of what has ended; the rest is read from its own files
    records = tuple(
        r
        for g in plan.groups
        if (r := indexed_record(store.folder(g), g, index[g.run_id]) if g.run_id in index else _record(store, g))
    )
    policies: Policies = {}
    for g in reversed(plan.groups):  # one policy speaks for its cell: that of the last group with any
        cell = g.label, g.config["task"]
        if cell not in policies and (found := _policy(store, g)):
            policies[cell] = found
    declared = read_json(store.root / "seed-plans" / f"{plan.suite.name}-v{plan.suite.version}.json")
    return _results(plan, records, policies, declared)


def _policy(store: Store, group: Group) -> dict[str, Any]:
    """The description of a group's policy; none where it is damaged, of which :func:`_record` speaks."""
    try:
        return read_policy(store.folder(group) / "policies" / "policy.json")
    except StoreError:
        return {}


def _record(store: Store, group: Group) -> RunRecord | None:
    """The record of a group; one that cannot be read is a failed run, and spoils no other."""
    try:
        return store.record(group)
    except StoreError as error:
        seeds: dict[int, Status] = dict.fromkeys(group.config["seeds"], "failed")
        return RunRecord(group.run_id, group.config, "failed", seeds, reason=str(error), damaged=True)


def _results(
    plan: Plan, records: tuple[RunRecord, ...], policies: Policies, seed_plan: dict[str, Any] | None = None
) -> Results:
    return Results(
        name=plan.suite.name,
        version=plan.suite.version,
        tasks=tuple(plan.suite.tasks),
        methods=tuple(_method_info(plan, entry.name, policies) for entry in plan.suite.methods),
        seeds=tuple(plan.suite.seeds),
        primary=plan.suite.evaluation.primary,
        records=records,
        suite=plan.suite.model_dump(mode="json") | ({"seed_plan": seed_plan} if seed_plan else {}),
    )


def _method_info(plan: Plan, label: str, policies: Policies) -> MethodInfo:
    """What the catalogue knows of a method, and what its trained policies turned out to be."""
    config = next(g for g in plan.groups if g.label == label).config
    method = method_of(config)
    found = {task: p for task in plan.suite.tasks if (p := policies.get((label, task)))}
    sizes = [p["actor_parameters"] for p in found.values() if p.get("actor_parameters") is not None]
    return MethodInfo(
        label=label,
        id=method.id,
        summary=method.summary,
        # One class per method, whatever the task: the strongest, so that no task's score is flattered.
        execution=max((p.get("execution", "D0") for p in found.values()), key=class_rank, default="D0"),
        training=method.training_class(method.configure(config["settings"])),
        parameters=max(sizes, default=None),
        trains=method.capabilities.trains,
        citation=method.citation,
        columns={
            task: {"execution": p.get("execution", "D0"), "actor_parameters": p.get("actor_parameters")}
            | p.get("columns", {})
            for task, p in found.items()
        },
    )
