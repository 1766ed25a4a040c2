"""``tune``: a method's settings are chosen on development tasks, by trials that are ordinary groups of a run store.

A trial is a method of a suite of trials (``tune-SUITE-METHOD``), with its settings as overrides. What to try next is a
function of the trials so far, so that a tuning that was killed goes on with the same proposals, and a longer one begins
with those of a shorter one. Imports without torch.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlnet_bench import trust
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.pooling import NORMALISED
from rlnet_bench.analysis.references import TaskFacts, facts_of
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, ImpossibleCell, MissingExtra, StoreError, UnknownName, WorkFailed
from rlnet_bench.learning.spaces import SCORED_IN, SPACES, Space, space_of
from rlnet_bench.methods import Method, method_ids
from rlnet_bench.runs.plan import Plan, resolve_method
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Budget, MethodEntry, Suite
from rlnet_bench.runs.tuned import (
    LEAST_SEEDS,
    TUNING_SEEDS,
    FamilyTuning,
    Trial,
    TuningRecord,
    refuse_reserved,
    task_family,
    tried_by_hand,
)
from rlnet_bench.trust import Wanted, is_file
from rlnet_bench.vocabulary import Mode

RANDOM_TRIALS = 4  # before the sampler uses what it saw
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Tuning:
    """What is tuned, on what: everything but the trials."""

    suite: Suite
    entry: MethodEntry  # without a record
    space: Space
    tasks: Mapping[str, tuple[TaskFacts, ...]]  # by family
    frames: Mapping[str, int]  # by task
    seeds: tuple[int, ...]
    method: type[Method]

    @property
    def name(self) -> str:
        """Of the suite of trials."""
        label = re.sub(r"[^a-z0-9_-]+", "-", self.entry.name.lower()).strip("-")
        return f"tune-{self.suite.name}-{label}"[:64].rstrip("-")

    def mode(self, family: str) -> Mode:
        """How actions are chosen where trials are scored."""
        return SCORED_IN.get(family, self.suite.evaluation.primary)

    def own(self, task: str) -> dict[str, Any]:
        """The entry's settings of the space on a task: what the first trial is."""
        found = self.method.configure(self.entry.settings(task))
        return {name: getattr(found, name) for name in self.space.choices}

    def kept(self, task: str) -> dict[str, Any]:
        """The entry's settings beside the space."""
        return {k: v for k, v in self.entry.settings(task).items() if k not in self.space.choices}

    def trials(self, settings: Sequence[Mapping[str, Settings]]) -> Suite:
        """The suite of trials, each as settings by family."""
        tasks = [f.id for facts in self.tasks.values() for f in facts]
        entries = [
            MethodEntry(
                id=self.entry.id,
                network=self.entry.network,
                label=f"trial {i}",
                per_task={t: {**self.kept(t), **by_family[task_family(t)]} for t in tasks},
            )
            for i, by_family in enumerate(settings)
        ]
        frames = dict(self.frames)
        return Suite(
            name=self.name,
            version=self.suite.version,
            description=f"trials of {self.entry.name} for {self.suite.name}-v{self.suite.version}",
            tasks=tasks,
            methods=entries,
            seeds=list(self.seeds),
            budget=Budget(frames=frames),
            evaluation=self.suite.evaluation.model_copy(update={"every": max(frames.values())}),
            training_reward=self.suite.training_reward,
            seed_group=self.suite.seed_group,
        )


def find_tuning(
    suite: Suite,
    method: str,
    *,
    tasks: Sequence[str] | None = None,
    frames: int | None = None,
    seeds: int = LEAST_SEEDS,
    trials: int = 1,
    trust_code: bool = False,
) -> Tuning:
    """What is to be tuned, or why it cannot be.

    Args:
        suite: it names the development tasks, the budget and the evaluation.
        method: the label of one of its methods, or any id, network, or ``file.py:Class``.
        tasks: some of its development tasks; the first of every family that the method can run on by default.
        frames: per seed and trial, on every task; the suite's budget by default.
        seeds: per trial.
        trials: how many will be asked for.
        trust_code: whoever calls this trusts what the suite and its networks name.

    Raises:
        BadInput, UnknownName, ImpossibleCell, Untrusted: in a sentence.
    """
    where = f"{suite.name}-v{suite.version}"
    refuse_reserved(suite.seeds, where)
    if not LEAST_SEEDS <= seeds <= len(TUNING_SEEDS):
        raise BadInput(f"--seeds: expected {LEAST_SEEDS} to {len(TUNING_SEEDS)} for every trial, found {seeds}.")
    trust.ask(map(Wanted, suite.names()), asked_by=where, trust_code=trust_code)
    entry = _entry(suite, method)
    made = resolve_method(suite, entry, None, trust_code)[0]
    space = space_of(made.Config)
    if space is None or not made.capabilities.trains:
        families = ", ".join(s.family for s in SPACES)
        raise BadInput(f"{method}: there is no search space for it; those declared are of the families {families}.")
    if not 1 <= trials <= space.size:
        raise BadInput(f"--trials: expected 1 to {space.size}, the size of the space, found {trials}.")
    chosen = _tasks(suite, entry, made, tasks)
    ids = [f.id for facts in chosen.values() for f in facts]
    budget = {task: frames or suite.budget.of(task) for task in ids}
    return Tuning(suite, entry, space, chosen, budget, tuple(TUNING_SEEDS[:seeds]), made)


def _entry(suite: Suite, method: str) -> MethodEntry:
    """The suite's entry of that label, without a record that it adopts, or a new one."""
    for entry in suite.methods:
        if entry.name == method:
            return entry.model_copy(update={"tuned": None})
    if method.startswith("zoo/") or method.endswith((".yaml", ".yml")):
        return MethodEntry(network=method)
    if not is_file(method) and method not in method_ids():
        labels = [m.name for m in suite.methods]
        hint = f"Expected a label of the suite ({', '.join(labels)}), an id, file.py:Class or a network."
        raise UnknownName("method", method, [*method_ids(), *labels], hint)
    return MethodEntry(id=method)


def _tasks(
    suite: Suite, entry: MethodEntry, method: Any, asked: Sequence[str] | None
) -> dict[str, tuple[TaskFacts, ...]]:
    """The tasks to tune on, by family."""
    where = f"{suite.name}-v{suite.version}"
    if not suite.development:
        raise BadInput(
            f"{where}: expected tasks to tune on, found only test tasks; name some under `tasks: development:`."
        )
    for task in asked or ():
        if task in suite.test:
            raise BadInput(
                f"{task} is a test task of {where}: nothing is tuned on it. Development tasks: "
                f"{', '.join(suite.development)}."
            )
        if task not in suite.development:
            raise UnknownName("task", task, suite.development, f"Those of {where}: {', '.join(suite.development)}.")
    found: dict[str, list[TaskFacts]] = {}
    reasons = []
    for task in asked or suite.development:
        card = task_card(task)
        if not asked and task_family(task) in found:
            continue
        if entry.only and task not in entry.only:
            reasons.append(f"`only` leaves out {task}.")
            continue
        if reason := method.impossible(card, method.configure(entry.settings(task))):
            reasons.append(reason)
            continue
        found.setdefault(task_family(task), []).append(facts_of(card))
    if not found:
        raise ImpossibleCell(f"{entry.name}: no task of {where} to tune on: {' '.join(reasons)}")
    for facts in found.values():
        for f in facts if len(facts) > 1 else ():
            if f.bounds is None:
                raise BadInput(f"{f.id} cannot be added up with others of its family: {f.reason}. Tune on one task.")
    return {family: tuple(facts) for family, facts in found.items()}


def require_optuna() -> None:
    """Raise MissingExtra where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("optuna", "tune", "rlnet-bench tune")


def sampler_name() -> str:
    """What proposes, for records."""
    import optuna

    return f"optuna {optuna.__version__} TPESampler"


def propose(space: Space, history: Sequence[tuple[Settings, float]]) -> dict[str, Any]:
    """The next combination of a space, none that was tried already.

    A pure function: Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), started afresh on the history
    with a seed of its own for every trial, random in the first :data:`RANDOM_TRIALS`. Where it repeats itself, one of
    the untried that share most with it is drawn.

    Args:
        space: what may be proposed.
        history: settings and scores so far; settings outside the space are no evidence.

    Raises:
        BadInput: when everything was tried.
    """
    require_optuna()
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    tried = [dict(settings) for settings, _ in history]
    inside = [all(x[n] in values for n, values in space.choices.items()) for x in tried]
    if sum(inside) >= space.size:
        raise BadInput(f"all {space.size} settings of {space.describe()} were tried; ask for fewer trials.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds: dict[str, BaseDistribution] = {n: CategoricalDistribution(list(v)) for n, v in space.choices.items()}
    known = [
        optuna.trial.create_trial(params=x, distributions=kinds, value=score)
        for x, (_, score), fits in zip(tried, history, inside)
        if fits
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        sampler = optuna.samplers.TPESampler(seed=len(history), n_startup_trials=RANDOM_TRIALS)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(known)
        wanted = study.ask(kinds).params
    every = [dict(zip(space.choices, x)) for x in itertools.product(*space.choices.values())]
    equal = [sum(x[n] == wanted[n] for n in x) if x not in tried else -1 for x in every]
    return random.Random(len(history)).choice([x for x, n in zip(every, equal) if n == max(equal)])


def recorded(store: Store, tuning: Tuning) -> list[dict[str, Settings]]:
    """The trials that a store knows already, as settings by family.

    Raises:
        StoreError: when they are of another tuning of that name.
    """
    known = store.plans().get(f"{tuning.name}-v{tuning.suite.version}")
    if known is None:
        return []
    names = list(tuning.space.choices)
    found = []
    for entry in known.suite.methods:
        by_family: dict[str, Settings] = {}
        for task, settings in entry.per_task.items():
            by_family[task_family(task)] = {k: v for k, v in settings.items() if k in names}
        found.append(by_family)
    if known.suite != tuning.trials(found) or found[0] != first_trial(tuning):
        of = f"{tuning.entry.name} for {tuning.suite.name}-v{tuning.suite.version}"
        raise StoreError(
            f"{store.root}: holds another tuning of {of} (other seeds, frames, tasks, or settings of the method or of "
            "the suite). Only equal trials are compared: ask for the same, or use another --store."
        )
    return found


def first_trial(tuning: Tuning) -> dict[str, Settings]:
    """The entry's own settings."""
    return {family: tuning.own(facts[0].id) for family, facts in tuning.tasks.items()}


def tune(
    store: Store,
    tuning: Tuning,
    trials: int,
    planner: Callable[[Suite], Plan],
    drive: Callable[[Store, Plan], None],
    on_trial: Callable[[int, Mapping[str, Trial]], None] = lambda number, scored: None,
) -> TuningRecord:
    """Run trials until there are as many; the same call goes on with those that a store has begun.

    Args:
        store: the trials' run store.
        tuning: what :func:`find_tuning` found.
        trials: on every family of tasks; the first is the entry's own settings.
        planner: makes the plan of a suite of trials (``make_plan`` with ``tuning=True``).
        drive: runs what is left of a plan; raises when that fails.
        on_trial: told the number of every trial and its scores by family.

    Raises:
        StoreError: when the store holds another tuning of that name.
    """
    settings = recorded(store, tuning)[:trials]
    scored: list[dict[str, Trial]] = []
    while len(scored) < trials:
        if len(settings) == len(scored):
            settings.append(_next(tuning, scored))
        planned = planner(tuning.trials(settings))
        store.add_plan(planned)
        drive(store, planned)
        for number in range(len(scored), len(settings)):
            scored.append(_score(store, tuning, number, settings[number]))
            on_trial(number, scored[-1])
    return _record(tuning, scored)


def _next(tuning: Tuning, scored: Sequence[Mapping[str, Trial]]) -> dict[str, Settings]:
    """What to try after these trials."""
    if not scored:
        return first_trial(tuning)
    return {
        family: propose(tuning.space, [(x[family].settings, x[family].score) for x in scored])
        for family in tuning.tasks
    }


def _score(store: Store, tuning: Tuning, number: int, settings: Mapping[str, Settings]) -> dict[str, Trial]:
    """The scores of a trial by family: final weights, normalised by the card where it has reference points."""
    results = load_results(store, f"{tuning.name}-v{tuning.suite.version}")
    out = {}
    for family, facts in tuning.tasks.items():
        runs = next(s for s in results.scores("final", tuning.mode(family)) if s.method == f"trial {number}").runs
        lost = [f.id for f in facts if runs[f.id].n < len(tuning.seeds)]
        if lost:
            raise WorkFailed(f"trial {number} of {tuning.entry.name} on {lost[0]}: {runs[lost[0]].describe()}.")
        scores = {f.id: [_scaled(f, x) for x in runs[f.id].scores.tolist()] for f in facts}
        out[family] = Trial(settings=dict(settings[family]), scores=scores)
    return out


def _scaled(facts: TaskFacts, score: float) -> float:
    found = facts.normalised(score)
    return score if found is None else found


def _record(tuning: Tuning, scored: Sequence[Mapping[str, Trial]]) -> TuningRecord:
    families = {}
    for family, facts in tuning.tasks.items():
        trials = [x[family] for x in scored]
        best = max(trials, key=lambda t: t.score)
        unit = NORMALISED if facts[0].bounds else f"in units of {facts[0].id}"
        families[family] = FamilyTuning(
            frames={f.id: tuning.frames[f.id] for f in facts},
            mode=tuning.mode(family),
            unit=unit,
            set={f.id: tuning.kept(f.id) for f in facts},
            trials=trials,
            chosen=best.settings,
        ).model_dump(mode="json")
    return TuningRecord.made(
        method=tuning.entry.id or str(tuning.entry.network),
        suite=f"{tuning.suite.name}-v{tuning.suite.version}",
        algorithms=tuning.space.family,
        space={name: list(values) for name, values in tuning.space.choices.items()},
        size=tuning.space.size,
        sampler=sampler_name(),
        seeds=list(tuning.seeds),
        hand=tried_by_hand(tuning.method.Config),
        families=families,
    )


def chosen_text(record: TuningRecord) -> Iterable[str]:
    """What was chosen, in lines."""
    for family, found in record.families.items():
        best = max(t.score for t in found.trials)
        settings = ", ".join(f"{k} {v}" for k, v in found.chosen.items())
        yield f"{family}: {best:.3g} ({found.mode}, {found.unit}) with {settings}"
