"""What the rules of :mod:`rlnet_bench.runs.check` share: the case under test, and comparing to the bit."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.check.rules import Skip
from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Method
from rlnet_bench.runs._check_faults import Bomb, Disk, ticking
from rlnet_bench.runs.checkpoint import flatten
from rlnet_bench.runs.loop import build_learner, run_group
from rlnet_bench.runs.plan import method_of
from rlnet_bench.runs.records import EvalLine, read_evals


@dataclass
class Case:
    """A method on a task under test, and the runs that its rules share."""

    config: dict[str, Any]
    root: Path
    iterations: int
    faults: int
    draw: random.Random
    story: list[str] = field(default_factory=list)

    @cached_property
    def card(self) -> TaskCard:
        """The task."""
        return task_card(self.config["task"])

    @cached_property
    def method(self) -> type[Method]:
        """The method."""
        return method_of(self.config)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per replica."""
        return tuple(self.config["seeds"])

    def fit_budget(self) -> None:
        """Make the budget ``iterations`` of the learner, scored after every second one."""
        if not self.method.capabilities.trains:
            return
        each = self.learner().frames_per_iteration
        evaluation = {**self.config["evaluation"], "every": 2 * each}
        self.config = {**self.config, "frames": self.iterations * each, "evaluation": evaluation}

    def learner(self, seeds: tuple[int, ...] | None = None) -> Learner:
        """A fresh learner."""
        return build_learner({**self.config, "seeds": list(seeds or self.seeds)})[1]

    def trained(self) -> None:
        """Skip a rule for methods that do not train."""
        if not self.method.capabilities.trains:
            raise Skip(f"{self.method.id} does not train")

    def run(self, folder: Path, **options: Any) -> Any:
        """One group into ``folder``."""
        return run_group(folder, self.config, **options)

    @cached_property
    def finished(self) -> tuple[Path, int, int]:
        """An uninterrupted run: its folder, how many events it had, how many writes it made."""
        folder, bomb, disk = self.root / "uninterrupted", Bomb(), Disk()
        shutil.rmtree(folder, ignore_errors=True)  # of a run that raised: it raises again, in its own words
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        with disk.watched():
            self.run(folder, callbacks=(bomb,), checkpoint_seconds=0.0, clock=ticking())
        return folder, bomb.seen, disk.seen

    def lines(self, folder: Path) -> list[EvalLine]:
        """The evaluation lines of a run."""
        return list(read_evals(folder / "evals.jsonl")[0])


RULES: list[Callable[[Case], str]] = []


def rule(function: Callable[[Case], str]) -> Callable[[Case], str]:
    """Register a rule; its function name is the check's name."""
    RULES.append(function)
    return function


def tensors_of(learner: Learner) -> dict[str, Tensor]:
    """All tensors of a learner's state, by path."""
    return flatten(learner.state_dict())[1]


def differing(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are not equal bit for bit."""
    names = sorted(a.keys() | b.keys())
    return [n for n in names if n not in a or n not in b or not same_bits(a[n], b[n])]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shape, type and bits (a NaN equals itself)."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.cpu().contiguous().numpy().tobytes() == b.cpu().contiguous().numpy().tobytes()


def replica_of(state: Mapping[str, Tensor], k: int, replicas: int) -> dict[str, Tensor]:
    """Replica k's slice of stacked weights."""
    return {n: w[k * len(w) // replicas : (k + 1) * len(w) // replicas].clone() for n, w in state.items()}
