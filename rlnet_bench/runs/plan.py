"""From a suite to cell groups. Pure, and imports without torch.

A group is method x task x seed group, the unit of work: trained, checkpointed and resumed whole. Its id
is the sha256 of everything that moves its numbers; the label and the git commit are not part of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rlnet_bench import trust
from rlnet_bench.envs.card import TaskCard, has_original
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, ImpossibleCell, Malformed, RlnetError, shown
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.methods import Method, check_possible, find_method
from rlnet_bench.reading import shapes
from rlnet_bench.reading.files import Absent, found_at
from rlnet_bench.reading.plain import read_json
from rlnet_bench.runs.described import check_described, code_of, describe, other_task, read_description
from rlnet_bench.runs.record_files import CONFIG, read_config
from rlnet_bench.runs.records import run_id
from rlnet_bench.runs.suite import MethodEntry, Suite
from rlnet_bench.runs.tuned import refuse_reserved
from rlnet_bench.trust import Wanted

FORMAT = 2  # of a configuration; see `best_weights` for what 1 was
DEFAULT_POINTS = 10


@dataclass(frozen=True)
class Group:
    """One unit of work."""

    run_id: str
    config: dict[str, Any]
    described: dict[str, Any] = field(default_factory=dict)
    """What readers need of a task or method without their code (:mod:`rlnet_bench.runs.described`)."""

    @property
    def label(self) -> str:
        """The method's label in tables."""
        return self.config["label"]

    @property
    def frames(self) -> int:
        """Training frames of the group, all seeds together."""
        return self.config["frames"] * len(self.config["seeds"])

    def describe(self) -> str:
        """``method on task, seeds 0-4``."""
        seeds = self.config["seeds"]
        text = f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
        return f"{self.label} on {self.config['task']}, seed{'s' * (len(seeds) > 1)} {text}"


@dataclass(frozen=True)
class Plan:
    """The grid of a suite, longest groups first."""

    suite: Suite
    groups: tuple[Group, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; see :func:`plan_from_json`."""
        groups = [
            {"run_id": g.run_id, "config": g.config, **({"described": g.described} if g.described else {})}
            for g in self.groups
        ]
        return {"suite": self.suite.model_dump(), "groups": groups}


PLAN = {"suite": dict, "groups": [{"run_id": str, "config": CONFIG}]}


def plan_from_json(data: Any, where: str = "plan") -> Plan:
    """Inverse of :meth:`Plan.to_json`; every run id is recomputed, and every group is one of the suite's.

    Raises:
        Malformed: naming ``where`` and the first thing that is wrong.
    """
    shapes.check(data, PLAN, where)
    try:
        suite = Suite.model_validate(data["suite"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = "/".join(map(str, ("suite", *first["loc"])))[:200]
        raise Malformed(f"{where}: {path}", f"a suite ({first['msg'][:200]})", first["input"]) from None
    methods = {m.name: m for m in suite.methods}
    taken: set[tuple[str, str, int]] = set()
    for i, group in enumerate(data["groups"]):
        config, at = group["config"], f"{where}: groups/{i}"
        if run_id(config) != group["run_id"]:
            raise Malformed(f"{at}/run_id", f"{run_id(config)}, the sha256 of its config", group["run_id"])
        if not set(group) <= {"run_id", "config", "described"}:
            raise Malformed(at, "the keys run_id, config and described", sorted(group))
        check_described(group.get("described", {}), config, f"{at}/described")
        entry, task = methods.get(config["label"]), config["task"]
        if entry is None or task not in (entry.only or suite.tasks):
            raise Malformed(at, "a method and a task of the suite", f"{config['label']!r} on {task!r}")
        for key, expected in _declared(suite, entry, task):
            if key in config and config[key] not in expected:
                raise Malformed(f"{at}/config/{key}", f"{shown(expected[0])}, as in the suite", config[key])
        cells = {(entry.name, task, seed) for seed in config["seeds"]}
        if cells & taken:
            raise Malformed(f"{at}/config/seeds", "every seed of a cell in one group", sorted(cells & taken)[0][2])
        taken |= cells
    for entry, task in suite.cells():
        if not any((entry.name, task, seed) in taken for seed in suite.seeds):
            raise Malformed(f"{where}: groups", f"a group for {entry.name!r} on {task!r}", "nothing")
    return Plan(suite, tuple(Group(g["run_id"], g["config"], g.get("described", {})) for g in data["groups"]))


def _declared(suite: Suite, entry: MethodEntry, task: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What a suite says of the groups of a cell: keys of their configuration, and the values they may have."""
    yield "training_reward", (suite.training_reward,)
    yield "frames", (suite.budget.of(task), 0)  # controls are not trained


def read_plan(path: Path) -> Plan:
    """A plan from its file.

    Raises:
        Absent: when there is none.
        Malformed: as :func:`plan_from_json`.
    """
    return plan_from_json(read_json(path), str(path))


def read_group(run_dir: Path) -> Group:
    """The group of a run directory; raises Absent or Malformed."""
    config = read_config(checked_run(run_dir) / "config.json")
    return Group(run_id(config), config, read_description(run_dir, config))


def checked_run(run_dir: Path) -> Path:
    """The path, if a run directory may be there; raises Absent."""
    if not os.path.lexists(run_dir / "config.json"):
        raise Absent(str(run_dir), "a run directory, STORE/runs/<id>", found_at(run_dir, "config.json"))
    return run_dir


def wanted(groups: Iterable[Group], *, tasks: bool = True) -> list[Wanted]:
    """The code that groups name, with or without that of their tasks."""
    found = ((g, w) for g in groups for w in code_of(g.config, g.described))
    return list(dict.fromkeys(w for g, w in found if tasks or w.name != g.config["task"]))


def trust_groups(
    groups: Iterable[Group],
    asked_by: str | Path,
    trust_code: bool = False,
    given: Iterable[str] = (),
    *,
    tasks: bool = True,
) -> None:
    """Decide about the code that recorded groups name, before any of it is imported.

    Args:
        groups: of a store, or of a run directory.
        asked_by: that store or directory.
        trust_code: the caller trusts what they name.
        given: names that the caller typed for recorded files that are elsewhere now; trusted by that.
        tasks: whether environments are made, or cards that the records describe are enough.

    Raises:
        Untrusted: see :func:`rlnet_bench.trust.ask`.
    """
    given = tuple(given)
    trust.typed(*given)
    trust.ask(wanted(groups, tasks=tasks), asked_by=str(asked_by), trust_code=trust_code, given=given)


def make_plan(
    suite: Suite,
    *,
    device: str = "cpu",
    threads: int = 1,
    trust_code: bool = False,
    asked_by: str = "",
    tuning: bool = False,
) -> Plan:
    """Resolve every cell of a suite, or refuse.

    Args:
        suite: its names of code must be trusted (:mod:`rlnet_bench.trust`).
        device: of every run.
        threads: of every run.
        trust_code: whoever calls this trusts what the suite and its networks name.
        asked_by: the file that the suite comes from, for sentences.
        tuning: the groups are trials of ``tune``, which alone may have the seeds reserved for them.

    Raises:
        Untrusted: before anything is imported, naming the code that nobody trusted.
        UnknownName, BadInput, ImpossibleCell: one message listing every problem found.
    """
    by = asked_by or f"suite {suite.name}"
    if not tuning:
        refuse_reserved(suite.seeds, by)
    trust.ask(map(Wanted, suite.names()), asked_by=by, trust_code=trust_code)
    problems: list[str] = []
    groups: list[Group] = []
    checks: list[Callable[[], object]] = [
        partial(resolve_method, suite, entry, None, trust_code) for entry in suite.methods
    ]
    checks += [partial(task_card, task) for task in suite.tasks]
    for check in checks:
        try:
            check()
        except trust.Untrusted:
            raise
        except RlnetError as error:
            problems.append(str(error))
    if not problems:
        suite = _named(suite, trust_code)
    for entry, task in suite.cells() if not problems else ():
        try:
            groups += _cell_groups(suite, entry, task, device, threads)
        except RlnetError as error:
            problems.append(str(error))
    if problems:
        raise BadInput("\n".join(dict.fromkeys(problems)))
    # Longest first, so that the grid does not end waiting for one straggler; ties keep the suite's order.
    return Plan(suite, tuple(sorted(groups, key=lambda g: -g.frames)))


def _named(suite: Suite, trust_code: bool) -> Suite:
    """The suite with the declared name as label wherever an entry gives a path and no label of its own.

    A name that another entry has is left alone.
    """
    names = [_declared_name(suite, entry, trust_code) for entry in suite.methods]
    taken = [*names, *(m.name for m in suite.methods)]
    entries = [
        entry if name is None or taken.count(name) > 1
        else MethodEntry.model_validate({**entry.model_dump(), "label": name})
        for entry, name in zip(suite.methods, names)
    ]  # fmt: skip
    return suite.model_copy(update={"methods": entries})


def _declared_name(suite: Suite, entry: MethodEntry, trust_code: bool) -> str | None:
    """The name that a method's or network's file declares, for an entry that gives a path and no label."""
    is_path = trust.target(entry.id) is not None if entry.id else not str(entry.network).startswith("zoo/")
    if not is_path or entry.label is not None:
        return None
    # A file of a network is no zoo network, whatever it was copied from.
    return resolve_method(suite, entry, None, trust_code)[0].id.removeprefix("zoo/")


def resolve_method(
    suite: Suite, entry: MethodEntry, task: str | None = None, trust_code: bool = False
) -> tuple[type[Method], MethodConfig, dict[str, Any] | None]:
    """(method, its configuration, its network as plain data) of a suite's entry."""
    if entry.network is not None:
        from rlnet_bench.networks.method import network_method

        method, network = network_method(entry.network)
        trust.ask(map(Wanted, trust.at_vertices(network)), asked_by=entry.network, trust_code=trust_code)
    else:
        method, network = find_method(str(entry.id)), None
    return method, method.configure(entry.settings(task), f"{suite.name}: method "), network


def _cell_groups(suite: Suite, entry: MethodEntry, task: str, device: str, threads: int) -> list[Group]:
    card = task_card(task)
    method, config, network = resolve_method(suite, entry, task)
    check_possible(method, card, config)
    trains = method.capabilities.trains
    frames = suite.budget.of(task) if trains else 0
    each, warmup = config.iteration_frames, method.warmup_frames(card, config)
    if trains and each is not None and frames < each + warmup:
        after = f"a warm-up of {warmup:,} and one iteration" if warmup else "one iteration"
        raise BadInput(
            f"{entry.name} on {task}: expected a budget of at least {after} ({each + warmup:,} frames per seed), found "
            f"{frames:,}: nothing would be trained. Raise budget.frames, or make the method's iterations smaller."
        )
    every = suite.evaluation.every or max(1, frames // DEFAULT_POINTS)
    evaluation = {**suite.evaluation.model_dump(), "every": min(every, frames) if trains else 0}
    if suite.evaluation.referee == "batched":
        del evaluation["referee"]  # the default is not part of a run's identity
    elif not has_original(card):
        raise ImpossibleCell(f"{task}: `referee: reference` plays mpe and lbf tasks; {card.family} is its own.")
    group_size = suite.seed_group or (5 if card.batch_invariant else 1)
    base: dict[str, Any] = {
        "format": FORMAT,
        "label": entry.name,
        "task": task,
        "task_hash": card.hash(),
        "method": trust.without_folder(str(entry.id)) if method.source_hash else method.id,
        "method_version": method.version,
        "method_source": method.source_hash,
        "settings": config.model_dump(mode="json"),
        "network": network,
        **({"uses": used} if (used := method.uses(config)) else {}),
        "seeds": [],
        "frames": frames,
        "evaluation": evaluation,
        "training_reward": suite.training_reward,
        "device": device,
        "dtype": "float32",
        "threads": threads,
        "compile": False,
    }
    described = describe(base, card, method, str(entry.id))
    groups = []
    for i in range(0, len(suite.seeds), group_size):
        resolved = {**base, "seeds": suite.seeds[i : i + group_size]}
        groups.append(Group(run_id(resolved), resolved, described))
    return groups


def method_of(config: Mapping[str, Any]) -> type[Method]:
    """The method of a resolved group configuration, baseline or network."""
    if config.get("network") is None:
        return find_method(config["method"], config["method_source"])
    from rlnet_bench.networks.method import method_from_json

    return method_from_json(config["network"])


def task_of(config: Mapping[str, Any]) -> TaskCard:
    """The card of a resolved group configuration's task.

    Raises:
        BadInput: when it is code that makes another task than the recorded one.
    """
    card = task_card(config["task"])
    if trust.target(config["task"]) is not None and (sentence := other_task(config, card)):
        raise BadInput(f"{config['task']}: {sentence}")
    return card
