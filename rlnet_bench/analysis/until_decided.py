"""``run --until-decided``: add seeds in declared batches until every pair of methods is told apart, or the cap.

The :class:`~rlnet_bench.stats.sequential.SeedPlan` is stored under ``STORE/seed-plans/`` before the first run and
never changed; every look is replayed from the scores, so anybody can check the decisions. Imports without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.pooling import pool
from rlnet_bench.analysis.references import TaskFacts, facts_of
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.runs.files import read_mapping, write_atomic
from rlnet_bench.runs.plan import Group, Plan, make_plan, method_of
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.stats.sequential import PlanState, SeedPlan, next_batch

BATCH, LOOKS = 5, 4
Drive = Callable[[Store, Plan], None]
Planner = Callable[[Suite], Plan]


@dataclass(frozen=True)
class Outcome:
    """What the looks so far decided, and what they cost."""

    plan: SeedPlan
    state: PlanState
    frames_saved: int  # of training, against running every method to the cap

    def sentences(self) -> list[str]:
        """The outcome in plain English."""
        out = [f"{d.better} is better than {d.worse} (look {d.look})." for d in self.state.decisions]
        seeds = self.plan.batch * self.state.looks_done
        out += [f"{a} and {b} are not distinguishable with {seeds} seeds." for a, b in self.state.undecided]
        s = self.state
        spare = f"{s.runs_planned - s.runs_used} of {s.runs_planned} planned runs"
        out.append(
            f"{s.looks_done} of {self.plan.max_looks} looks; {spare} were not needed "
            f"({s.saved:.0%} of the compute saved, {self.frames_saved:,} frames)."
        )
        out.append(f"The error over all looks and pairs stays at {1 - self.plan.level:.0%}.")
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        s = self.state
        return {
            "looks_done": s.looks_done,
            "decisions": [{"better": d.better, "worse": d.worse, "look": d.look} for d in s.decisions],
            "undecided": [list(p) for p in s.undecided],
            "is_finished": s.is_finished,
            "runs_used": s.runs_used,
            "runs_planned": s.runs_planned,
            "saved": s.saved,
            "frames_saved": self.frames_saved,
        }


def plan_file(store: Store, suite: Suite) -> Path:
    """Where the declared seed plan of a suite lies."""
    return store.root / "seed-plans" / f"{suite.name}-v{suite.version}.json"


def declare(
    store: Store,
    suite: Suite,
    *,
    batch: int = BATCH,
    looks: int = LOOKS,
    level: float = 0.95,
    planner: Planner = make_plan,
) -> SeedPlan:
    """Store the seed plan of a suite, or find the same one there.

    Compared are the methods that train (all, when none does). Controls run on the first batch of seeds.

    Raises:
        BadInput: for fewer than two methods, or several tasks of which one lacks reference points.
        StoreError: when another plan was declared, or runs were made before there was one.
    """
    fresh = planner(suite.model_copy(update={"seeds": [0]}))
    suite = suite.model_copy(update={"methods": fresh.suite.methods})  # under their names in tables
    trained = {g.label for g in fresh.groups if method_of(g.config).capabilities.trains}
    compared = [m.name for m in suite.methods if m.name in trained] or [m.name for m in suite.methods]
    if len(compared) < 2:
        raise BadInput(f"{suite.name}: --until-decided needs two methods to compare, found {', '.join(compared)}.")
    _facts(suite)
    plan = SeedPlan(tuple(compared), tuple(suite.tasks), batch, looks, level)
    path = plan_file(store, suite)
    stored = read_mapping(path)
    if stored:
        declared = SeedPlan.from_dict(stored["plan"])
        if declared != plan:
            raise StoreError(
                f"{path}: another seed plan was declared for {suite.name}-v{suite.version} ({_describe(declared)}; now "
                f"{_describe(plan)}). A plan is never changed: give the suite a new version, or use another --store."
            )
        return plan
    first = planner(suite.model_copy(update={"seeds": list(plan.seeds(1))}))
    begun = [g.describe() for g in (*first.groups, *_recorded(store, suite)) if store.status(g)["status"] != "missing"]
    if begun:
        raise StoreError(
            f"{store.root}: {begun[0]} was run before a seed plan was declared. Seeds added after a look at the "
            "results are exploratory: use another --store, or run without --until-decided."
        )
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps({"plan": plan.as_dict(), "digest": plan.digest()}, indent=1) + "\n")
    return plan


def _recorded(store: Store, suite: Suite) -> tuple[Group, ...]:
    """Groups of this suite that the store knows already."""
    known = store.plans().get(f"{suite.name}-v{suite.version}")
    return known.groups if known else ()


def _describe(plan: SeedPlan) -> str:
    return f"{', '.join(plan.methods)}; {len(plan.tasks)} task(s); {plan.max_looks} looks of {plan.batch} seeds"


def run_until_decided(
    store: Store,
    suite: Suite,
    plan: SeedPlan,
    drive: Drive,
    on_look: Callable[[Outcome], None] = lambda outcome: None,
    planner: Planner = make_plan,
) -> Outcome:
    """Run batch after batch until everything is decided or the cap is reached; the same call goes on.

    Args:
        store: the run store.
        suite: the suite; its seeds are replaced by the plan's.
        plan: what :func:`declare` returned.
        drive: runs what is left of a plan; raises when that fails.
        on_look: told the outcome after every look.
        planner: makes a suite's plan; its device and threads are part of every run.
    """
    facts = _facts(suite)
    suite = suite.model_copy(update={"methods": planner(suite.model_copy(update={"seeds": [0]})).suite.methods})
    first = suite.model_copy(update={"seeds": list(plan.seeds(1))})
    groups = {(g.label, g.run_id): g for g in planner(first).groups}  # two labels may name one run
    while True:
        grid = Plan(first, tuple(groups.values()))
        store.add_plan(grid)
        drive(store, grid)
        results = load_results(store, f"{suite.name}-v{suite.version}")
        compared = [s for s in results.scores("absolute") if s.method in plan.methods]
        state = next_batch(plan, pool(compared, facts).scores)  # who lacks a task is needed, and gets its seeds
        outcome = Outcome(plan, state, _frames_saved(suite, plan, state, grid))
        body = {"plan": plan.as_dict(), "digest": plan.digest(), "outcome": outcome.to_json()}
        write_atomic(plan_file(store, suite), json.dumps(body, indent=1) + "\n")
        on_look(outcome)
        if state.is_finished:
            return outcome
        new = _batch(suite, plan, state, planner)
        if all((g.label, g.run_id) in groups for g in new):
            lost = ", ".join(g.describe() for g in new[:3])
            raise StoreError(f"{store.root}: {lost} ended without a score, so the next look is not possible.")
        groups |= {(g.label, g.run_id): g for g in new}


def _batch(suite: Suite, plan: SeedPlan, state: PlanState, planner: Planner) -> tuple[Group, ...]:
    """The groups of the next batch: new seeds of the methods still in question."""
    seeds = next(iter(state.needed.values()))[-plan.batch :]
    methods = [m for m in suite.methods if m.name in state.needed]
    return planner(suite.model_copy(update={"seeds": list(seeds), "methods": methods})).groups


def _facts(suite: Suite) -> tuple[TaskFacts, ...]:
    """The suite's tasks; a single one needs no reference points.

    Raises:
        BadInput: when one of several tasks cannot be brought to the others' scale.
    """
    facts = tuple(facts_of(task_card(t)) for t in suite.tasks)
    for f in facts if len(facts) > 1 else ():
        if f.bounds is None:
            raise BadInput(
                f"{suite.name}: --until-decided adds up scores over tasks, and {f.id} cannot be brought to their "
                f"scale: {f.reason}. Run its tasks one by one."
            )
    return facts


def _frames_saved(suite: Suite, plan: SeedPlan, state: PlanState, grid: Plan) -> int:
    """Training frames of the runs between what was used and the cap."""
    per_task = [max((g.config["frames"] for g in grid.groups if g.config["task"] == t), default=0) for t in suite.tasks]
    used = state.runs_used / len(plan.tasks)  # seeds over all methods
    return round((len(plan.methods) * plan.batch * plan.max_looks - used) * sum(per_task))
