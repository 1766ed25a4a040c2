"""Tuning records: what was searched for a method's settings, what each trial scored, what was chosen. Without torch.

A suite's entry adopts a record by ``tuned: FILE`` (a path from the suite's file). The record then stands in the suite
itself, plans and publications included, and every table counts its trials. How settings were found is no part of a
run's identity: the same settings make the same run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from rlnet_bench.errors import BadInput
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.learning.spaces import space_of
from rlnet_bench.methods import explain
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.strict import Strict
from rlnet_bench.vocabulary import Mode

TUNING_SEEDS = range(1_000_000, 1_001_000)  # of trials only: no suite may have them
LEAST_SEEDS = 2
UNTUNED = "untuned"


def task_family(task: str) -> str:
    """``mpe`` of ``mpe/simple_spread-discrete-v1``, ``vmas`` of ``vmas:balance:n_agents=3``."""
    return re.split("[/:]", task, maxsplit=1)[0]


def refuse_reserved(seeds: Iterable[int], where: str) -> None:
    """Raise BadInput for seeds that only trials of ``tune`` may have: they would be judged on what chose them."""
    taken = sorted(set(seeds) & set(TUNING_SEEDS))
    if taken:
        raise BadInput(
            f"{where}: seeds: {taken[0]} is one of {TUNING_SEEDS.start} to {TUNING_SEEDS.stop - 1}, with which `tune` "
            "chooses settings: a method must not be judged on the seeds that chose it. Take others."
        )


class _Finite(Strict):
    model_config = ConfigDict(allow_inf_nan=False)


class Trial(_Finite):
    """One combination of the space, and its score by task and seed."""

    settings: dict[str, Any]
    scores: dict[str, list[float]]

    @property
    def score(self) -> float:
        """Mean over tasks of the mean over seeds."""
        return sum(sum(x) / len(x) for x in self.scores.values()) / len(self.scores)


class FamilyTuning(_Finite):
    """The trials on one family of tasks."""

    frames: dict[str, int]
    """Per seed, of every trial, by task."""
    mode: Mode
    """The trials' final weights were scored with such actions."""
    unit: str
    set: dict[str, dict[str, Any]]
    """By task: settings of the suite's entry that are not in the space, the same in every trial."""
    trials: Annotated[list[Trial], Field(min_length=1)]
    chosen: dict[str, Any]
    """The settings of the best trial, the first of equals."""

    @model_validator(mode="after")
    def _best(self) -> FamilyTuning:
        if any(set(t.scores) != set(self.frames) for t in self.trials):
            raise ValueError("expected a score of every trial on every task of `frames`")
        best = max(self.trials, key=lambda t: t.score)
        if self.chosen != best.settings:
            raise ValueError(f"chosen: expected the settings of the best trial, {best.settings}")
        return self


class TuningRecord(_Finite):
    """What ``tune`` did for one method of one suite."""

    format: Literal[1] = 1
    method: str
    """Id of the method, or name of the network, as the suite names it."""
    suite: str
    """``name-vN``."""
    algorithms: str
    """The family of algorithms, which decides the space."""
    space: dict[str, list[Any]]
    size: int
    """Combinations in the space."""
    sampler: str
    seeds: Annotated[list[int], Field(min_length=LEAST_SEEDS)]
    """Of every trial."""
    hand: Annotated[int, Field(ge=0)]
    """Settings that were tried by hand before, about."""
    families: Annotated[dict[str, FamilyTuning], Field(min_length=1)]
    """By family of tasks."""
    digest: str
    """Of all the rest, so that what was changed afterwards is noticed."""

    @model_validator(mode="after")
    def _as_written(self) -> TuningRecord:
        counts = {len(f.trials) for f in self.families.values()}
        if len(counts) > 1:
            raise ValueError(f"families: expected equally many trials in each, found {sorted(counts)}")
        if self.digest != _digest(self.model_dump(mode="json", exclude={"digest"})):
            raise ValueError("digest: the record was changed after it was written; tune again, or restore it")
        return self

    @classmethod
    def made(cls, **content: Any) -> TuningRecord:
        """A record with its digest, from plain values."""
        return cls(**content, digest=_digest({"format": 1, **content}))

    @property
    def trials(self) -> int:
        """Trials on each family of tasks."""
        return len(next(iter(self.families.values())).trials)

    def chosen(self, task: str | None) -> Mapping[str, Any]:
        """The chosen settings on a task; nothing where its family was not tuned."""
        found = self.families.get(task_family(task or ""))
        return found.chosen if found else {}

    def contradicts(self, method: str, base: dict[str, Any], per_task: dict[str, dict[str, Any]]) -> str | None:
        """Why a suite's entry is not what the record is about, as a sentence; None when it is.

        Args:
            method: id or network of the entry.
            base: the entry's ``set``.
            per_task: its settings per task.
        """
        if _plain(method) != _plain(self.method):
            return f"the record is about {self.method}, the entry is {method}"
        places = [("set", base, list(self.families))]
        places += [(f"per_task: {t}", own, [task_family(t)]) for t, own in per_task.items()]
        for place, own, families in places:
            for name in (n for n in own if n in self.space):
                for family in (f for f in families if f in self.families):
                    if own[name] != (chosen := self.families[family].chosen[name]):
                        return (
                            f"{place}: {name} is {own[name]!r}, and the record chose {chosen!r} on {family}; leave it "
                            "out, or leave the record out"
                        )
        for tuned in self.families.values():
            for task, kept in tuned.set.items():
                own = {k: v for k, v in {**base, **per_task.get(task, {})}.items() if k not in self.space}
                if own != kept:
                    return f"on {task} it was tuned with {kept or 'nothing'} set beside the space, the entry sets {own}"
        return None

    def describe(self, tasks: Iterable[str]) -> str:
        """``4 trials × 2 seeds``, and on which families of the tasks nothing was tuned."""
        lost = sorted({task_family(t) for t in tasks} - set(self.families))
        n, seeds = self.trials, len(self.seeds)
        return f"{n} trial{'s' * (n > 1)} × {seeds} seeds" + (f", not on {', '.join(lost)}" if lost else "")


def _plain(name: str) -> str:
    """A method's name without the folder of a file; catalogued names are as they are."""
    return name.rpartition("/")[2] if ".py:" in name or name.endswith((".yaml", ".yml")) else name


def read_record(path: Path) -> TuningRecord:
    """A record from its file.

    Raises:
        BadInput: when there is none, or it is not as ``tune`` wrote it.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such tuning record; `rlnet-bench tune METHOD --suite SUITE --out {path}` makes it.")
    document = load(path)
    try:
        record = TuningRecord.model_validate(document.data)
    except ValidationError as error:
        raise BadInput(f"{path}: not a tuning record: {explain(error, TuningRecord)}") from None
    return record


def write_record(path: Path, record: TuningRecord) -> None:
    """Write a record, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "# Written by `rlnet-bench tune`; not to be edited: a suite adopts it with `tuned: FILE`.\n"
    write_atomic(path, head + yaml.safe_dump(record.model_dump(mode="json"), sort_keys=False, width=120))


def _digest(content: Mapping[str, Any]) -> str:
    """16 hex digits of a sha256."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def tuning_words(record: TuningRecord | None, algorithms: str, tasks: Iterable[str]) -> tuple[str, str]:
    """What tables say of how a method's settings were found: by ``tune``, and by hand before.

    Args:
        record: what its entry adopts.
        algorithms: its family of algorithms; empty where it has none that is known.
        tasks: on which it runs.
    """
    hand = record.hand if record else hand_trials().get(algorithms, 0)
    return record.describe(tasks) if record else UNTUNED, f"+ about {hand} by hand" if hand else ""


@cache
def hand_trials() -> Mapping[str, int]:
    """Settings tried by hand before the defaults stood, about, by family of algorithms."""
    document = load((resources.files("rlnet_bench.suites") / "tuning" / "hand.yaml").read_text(), "hand.yaml")
    return {family: entry["about"] for family, entry in document.data.items()}


def tried_by_hand(config: type[MethodConfig] | None) -> int:
    """The same for methods with such a configuration; 0 where nothing is known of them."""
    space = space_of(config) if config is not None else None
    return hand_trials().get(space.family, 0) if space else 0
