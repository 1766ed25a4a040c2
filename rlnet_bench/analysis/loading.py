"""Where results come from: a store, a published directory, a tidy CSV file; for ``lint`` also what has only means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlnet_bench.analysis.estimates import judge
from rlnet_bench.analysis.exported import from_results
from rlnet_bench.analysis.findings import Findings
from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.analysis.wording import listed
from rlnet_bench.envs.card import TaskCard, unknown_card
from rlnet_bench.errors import BadInput, Malformed, StoreError
from rlnet_bench.foreign.door import TABLE_FILE, is_table, read_file, read_table
from rlnet_bench.foreign.summary import Summary
from rlnet_bench.foreign.table import ForeignTable
from rlnet_bench.reading.files import found_at
from rlnet_bench.runs.compact import lost_runs, read_index
from rlnet_bench.runs.described import card_of, facts_of, other_task
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.indexed import indexed_record
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.published import SUITE, is_published, read_published
from rlnet_bench.runs.record_files import read_policy
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.trial import Declared
from rlnet_bench.runs.tuned import tuning_words
from rlnet_bench.vocabulary import Status, class_rank

SOURCES = ("store.json", SUITE, TABLE_FILE)  # by what a folder is known

Policies = dict[tuple[str, str], dict[str, Any]]  # description of the policy by (method label, task)


def load_results(source: Store | str | Path, suite: str | None = None) -> Results:
    """The results of a suite, finished or not, from a store or from a published directory; or of a tidy CSV file.

    Raises:
        StoreError, UnknownName: when there is no such store or suite.
    """
    if not isinstance(source, Store) and not any((Path(source) / name).is_file() for name in SOURCES):
        _refuse_nothing(Path(source))
    if not isinstance(source, Store) and is_table(Path(source)):
        return to_results(read_table(Path(source)))
    if not isinstance(source, Store) and is_published(Path(source)):
        published = read_published(Path(source))
        spoken = {(r.method, r.task): published.policies[r.run_id] for r in published.finished}
        return _results(published.plan, published.records, spoken, published.seed_plan, published.declared)
    store = (source if isinstance(source, Store) else Store(source)).checked()
    plan = store.plan(suite)
    index = read_index(store)  # of what has ended; the rest is read from its own files
    lost = lost_runs(store, {g.run_id for g in plan.groups} - set(index))
    records = tuple(
        r
        for g in plan.groups
        if (r := indexed_record(store.folder(g), g, index[g.run_id]) if g.run_id in index else _record(store, g, lost))
    )
    policies: Policies = {}
    for g in reversed(plan.groups):  # one policy speaks for its cell: that of the last group with any
        cell = g.label, g.config["task"]
        if cell not in policies and (found := _policy(store, g)):
            policies[cell] = found
    declared = read_mapping(store.root / "seed-plans" / f"{plan.suite.name}-v{plan.suite.version}.json")
    return _results(plan, records, policies, declared, store.declared(plan.suite))


def _refuse_nothing(path: Path) -> None:
    """Raise for what is no source at all; a CSV file's reader says what is wrong with it."""
    if path.suffix.lower() != ".csv" or not path.exists():
        raise Malformed(
            str(path),
            "a run store, published results or a results.csv",
            found_at(path, listed(SOURCES)),
            "`rlnet-bench run SUITE` makes a store, `rlnet-bench import FILES` a results.csv of other runs.",
        )


def _policy(store: Store, group: Group) -> dict[str, Any]:
    """The description of a group's policy; none where it is damaged, of which :func:`_record` speaks."""
    try:
        return read_policy(store.folder(group) / "policies" / "policy.json")
    except StoreError:
        return {}


def _record(store: Store, group: Group, lost: Mapping[str, str]) -> RunRecord | None:
    """The record of a group; one that cannot be read is a failed run, and spoils no other."""
    try:
        if group.run_id in lost:
            raise StoreError(lost[group.run_id])
        return store.record(group)
    except StoreError as error:
        seeds: dict[int, Status] = dict.fromkeys(group.config["seeds"], "failed")
        return RunRecord(group.run_id, group.config, "failed", seeds, reason=str(error), damaged=True)


def _results(
    plan: Plan, records: tuple[RunRecord, ...], policies: Policies, seed_plan: dict[str, Any] | None = None,
    declared: Declared | None = None,
) -> Results:  # fmt: skip
    of_task = {g.config["task"]: g for g in reversed(plan.groups)}
    known = {t: card_of(g.config, g.described) for t, g in of_task.items()}
    agents = {r.task: r.evals[0].shape[1] for r in records if known.get(r.task) is None and r.evals}
    tasks = tuple(plan.suite.tasks)
    beside = {"seed_plan": seed_plan, "declared": declared.model_dump(mode="json") if declared else None}
    return Results(
        name=plan.suite.name,
        version=plan.suite.version,
        tasks=tasks,
        methods=tuple(_method_info(plan, entry.name, policies) for entry in plan.suite.methods),
        seeds=tuple(plan.suite.seeds),
        primary=plan.suite.evaluation.primary,
        records=tuple(_of_this_task(r, known.get(r.task)) for r in records),
        suite=plan.suite.model_dump(mode="json") | {k: v for k, v in beside.items() if v},
        cards={t: _with_points(plan, known.get(t) or unknown_card(t, agents=agents.get(t, 1))) for t in tasks},
    )


def _with_points(plan: Plan, card: TaskCard) -> TaskCard:
    """The card with the reference points that the suite gives to a task of its own."""
    points = plan.suite.card.get(card.id)
    return card if points is None else replace(card, references=points.references())


def _of_this_task(record: RunRecord, card: TaskCard | None) -> RunRecord:
    """The record, or a damaged one when it was made on another task than the one of this name."""
    sentence = other_task(record.config, card)
    if sentence is None:
        return record
    seeds: dict[int, Status] = dict.fromkeys(record.seeds, "failed")
    return RunRecord(record.run_id, record.config, "failed", seeds, reason=f"{record.run_id}: {sentence}", damaged=True)


def _method_info(plan: Plan, label: str, policies: Policies) -> MethodInfo:
    """What is known of a method without its code, and what its trained policies turned out to be."""
    group = next(g for g in plan.groups if g.label == label)
    entry = next(m for m in plan.suite.methods if m.name == label)
    facts = facts_of(group.config, group.described)
    tuning, by_hand = tuning_words(entry.tuned, facts.algorithms, entry.only or plan.suite.tasks)
    found = {task: p for task in plan.suite.tasks if (p := policies.get((label, task)))}
    sizes = [p["actor_parameters"] for p in found.values() if p.get("actor_parameters") is not None]
    return MethodInfo(
        label=label,
        id=facts.id,
        summary=facts.summary,
        # One class per method, whatever the task: the strongest, so that no task's score is flattered.
        execution=max((p.get("execution", "D0") for p in found.values()), key=class_rank, default="unknown"),
        training=facts.training,
        parameters=max(sizes, default=None),
        trains=facts.trains,
        citation=facts.citation,
        columns={
            task: {"execution": p.get("execution", "D0"), "actor_parameters": p.get("actor_parameters")}
            | p.get("columns", {})
            for task, p in found.items()
        },
        tuning=tuning,
        by_hand=by_hand,
        only=tuple(entry.only),
    )


@dataclass(frozen=True, eq=False)
class Source:
    """What ``lint`` looks at: a table of every number with what is known about it, or of means alone; and what marks
    the tables of reports, where the source can be scored."""

    table: ForeignTable | Summary
    findings: Findings | None = None


def load_source(path: Path, suite: str | None = None) -> Source:
    """Any source, for ``lint``.

    Raises:
        BadInput, StoreError: when it is nothing that can be recognised, or damaged.
    """
    found = read_file(path)
    if isinstance(found, Summary):
        return Source(found)
    try:
        results: Results = load_results(path, suite) if found is None else to_results(found)
    except BadInput:  # nothing in the file may be scored: the other rules say why
        if found is None:
            raise
        return Source(found)
    table = found or replace(from_results(results), name=str(path), damage=results.damage)
    return Source(table, judge(results, timings=False).findings)
