"""Adding seeds until a comparison is decided, with the error controlled.

Testing after every batch and stopping at the first p < 0.05 finds differences that are not there in 16 % of
cases after six looks. A :class:`SeedPlan` declares batches, looks and pairs before the first run and spends
the error over the looks: a group-sequential permutation test in the manner of AdaStop (Mathieu et al. 2023,
arXiv:2306.10882), with labels shuffled within batch and task, and step-down over pairs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.intervals import check_level
from rlnet_bench.stats.pooled import Array
from rlnet_bench.stats.scores import RunScores

Pair = tuple[str, str]
_TIE = 1e-9


@dataclass(frozen=True)
class SeedPlan:
    """What is declared before the first run and stored with the results.

    Look k uses the seeds ``first_seed .. first_seed + k * batch - 1`` of every method still in question, on
    every task, and may have spent ``(1 - level) * k / max_looks`` of the error. ``pairs`` defaults to all
    pairs of ``methods``. ``seed`` fixes the labellings, so anyone can replay the decisions.
    """

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    batch: int = 5
    max_looks: int = 4
    level: float = 0.95
    pairs: tuple[Pair, ...] = ()
    first_seed: int = 0
    seed: int = 0
    n_labellings: int = 9_999

    def __post_init__(self) -> None:
        check_level(self.level)
        for name in ("methods", "tasks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        pairs = tuple((a, b) for a, b in self.pairs) or tuple(combinations(self.methods, 2))
        object.__setattr__(self, "pairs", pairs)
        unknown = sorted({m for pair in pairs for m in pair if m not in self.methods})
        if unknown or not pairs or not self.tasks or len(set(self.methods)) < len(self.methods):
            raise BadInput(
                f"a seed plan needs tasks and pairs of different methods out of {list(self.methods)}, "
                f"found pairs {list(pairs)} on tasks {list(self.tasks)}."
            )
        if self.batch < 2 or self.max_looks < 1 or self.n_labellings < 999:
            raise BadInput(
                "a seed plan needs batches of at least 2 seeds, at least 1 look and at least 999 labellings, "
                f"found batch={self.batch}, max_looks={self.max_looks}, n_labellings={self.n_labellings}."
            )

    def spent(self, look: int) -> float:
        """Return the error that may have been spent after ``look`` looks (1-based)."""
        return (1 - self.level) * look / self.max_looks

    def seeds(self, look: int) -> tuple[int, ...]:
        """Return all seeds that are in use at ``look`` (1-based)."""
        return tuple(range(self.first_seed, self.first_seed + self.batch * look))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for YAML or JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SeedPlan:
        """Build from :meth:`as_dict`; raises :class:`BadInput` for unknown keys."""
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise BadInput(f"unknown key(s) {unknown} in a seed plan, which has {list(cls.__dataclass_fields__)}.")
        fields = dict(data)
        fields["pairs"] = tuple((a, b) for a, b in fields.get("pairs", ()))
        return cls(**fields)

    def digest(self) -> str:
        """Return a hash of the plan, to be published before the first run."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Decision:
    """A pair told apart: ``better`` beats ``worse``, found at ``look``."""

    better: str
    worse: str
    look: int


@dataclass(frozen=True)
class PlanState:
    """What the data so far decide.

    ``needed`` maps each method still in question to the seeds it must have before the next look (on every
    task); it is empty when ``is_finished``. ``undecided`` pairs of a finished plan are "not distinguishable
    with this many seeds". ``runs_used`` counts runs that the looks so far used; ``runs_planned`` is the cap.
    """

    looks_done: int
    decisions: tuple[Decision, ...]
    undecided: tuple[Pair, ...]
    boundaries: tuple[float, ...]
    needed: Mapping[str, tuple[int, ...]]
    is_finished: bool
    runs_used: int
    runs_planned: int

    @property
    def saved(self) -> float:
        """Share of the planned runs that were not needed (so far, if not finished)."""
        return 1 - self.runs_used / self.runs_planned


def next_batch(plan: SeedPlan, methods: Sequence[RunScores]) -> PlanState:
    """Replay all looks that the data allow and say what to run next.

    Deterministic in plan and scores; seeds beyond what a look uses are ignored. Only methods that are in
    an undecided pair need more seeds; what the data lack (a seed, a task, a method) is ``needed``. Raises
    :class:`BadInput` for methods that the plan does not name.
    """
    scores = _by_seed(plan, methods)
    undecided = list(plan.pairs)
    decisions: list[Decision] = []
    boundaries: list[float] = []
    used = dict.fromkeys(plan.methods, 0)
    past: list[Array] = []  # |T| of each look so far, [L, P] over all planned pairs
    needed: dict[str, tuple[int, ...]] = {}
    cumulative = _Cumulative(plan)
    for look in range(1, plan.max_looks + 1):
        active = [m for m in plan.methods if any(m in pair for pair in undecided)]
        seeds = plan.seeds(look)
        lacking = [m for m in active if any(s not in scores[m][t] for t in plan.tasks for s in seeds)]
        if lacking:
            needed = dict.fromkeys(active, seeds)
            break
        used.update(dict.fromkeys(active, len(seeds)))
        signed_LP = cumulative.add(scores, undecided, look)
        past.append(np.abs(signed_LP))
        boundaries.append(np.inf)
        while undecided:
            columns = [plan.pairs.index(p) for p in undecided]
            boundaries[-1] = min(boundaries[-1], _boundary(plan, past, boundaries, columns))
            observed = past[-1][0, columns]
            best = int(np.argmax(observed))
            if not observed[best] > boundaries[-1] * (1 + _TIE):
                break
            a, b = undecided.pop(best)
            sign = signed_LP[0, columns[best]]
            decisions.append(Decision(a, b, look) if sign > 0 else Decision(b, a, look))
        if not undecided:
            break
    return PlanState(
        len(boundaries),
        tuple(decisions),
        tuple(undecided),
        tuple(boundaries),
        needed,
        not needed,
        sum(used.values()) * len(plan.tasks),
        len(plan.methods) * len(plan.tasks) * plan.batch * plan.max_looks,
    )


class _Cumulative:
    """Cumulative differences under the observed labelling (row 0) and L random ones."""

    def __init__(self, plan: SeedPlan) -> None:
        self.plan = plan
        shape = (plan.n_labellings + 1, len(plan.pairs))
        self.difference_LP = np.zeros(shape)
        self.variance_P = np.zeros(len(plan.pairs))

    def add(self, scores: dict[str, dict[str, dict[int, float]]], pairs: Sequence[Pair], look: int) -> Array:
        """Add the batch of ``look`` for ``pairs``; returns the scaled signed statistics [1 + L, P].

        One labelling of a batch serves all pairs. The scale is the spread of the pair's runs within batch
        and task, which no relabelling changes: pairs become comparable and the test stays exact.
        """
        plan = self.plan
        seeds = plan.seeds(look)[-plan.batch :]
        columns = [plan.pairs.index(p) for p in pairs]
        rng = np.random.default_rng([plan.seed, look])
        for task in plan.tasks:
            member = np.zeros((plan.n_labellings + 1, 2 * plan.batch))
            member[0, : plan.batch] = 1.0
            chosen = np.argpartition(rng.random((plan.n_labellings, 2 * plan.batch)), plan.batch - 1, axis=1)
            np.put_along_axis(member[1:], chosen[:, : plan.batch], 1.0, axis=1)
            x = np.array([[scores[m][task][s] for m in pair for s in seeds] for pair in pairs]).T
            x = x - x.min(axis=0)
            x = x - x.mean(axis=0)
            self.difference_LP[:, columns] += (2 * member - 1) @ x
            self.variance_P[columns] += np.sum(x * x, axis=0)
        scale = np.sqrt(self.variance_P)
        return self.difference_LP / np.where(scale > 0, scale, 1.0)


def _boundary(plan: SeedPlan, past: Sequence[Array], boundaries: Sequence[float], columns: Sequence[int]) -> float:
    """Return the smallest boundary of this look that keeps within the error allowed so far.

    A labelling counts as spent when any undecided pair exceeded the boundary of an earlier look. The
    observed labelling is one of the L + 1, which makes the bound exact for a finite number of labellings.
    """
    n_rows = len(past[-1])
    is_spent = np.zeros(n_rows, dtype=bool)
    for statistic_LP, bound in zip(past[:-1], boundaries[:-1]):
        is_spent |= statistic_LP[:, columns].max(axis=1) > bound * (1 + _TIE)
    allowed = int(np.floor(plan.spent(len(past)) * n_rows + _TIE)) - int(is_spent.sum())
    if allowed <= 0:
        return np.inf
    largest = np.sort(past[-1][:, columns].max(axis=1)[~is_spent])[::-1]
    return float(largest[allowed]) if allowed < largest.size else 0.0


def _by_seed(plan: SeedPlan, methods: Sequence[RunScores]) -> dict[str, dict[str, dict[int, float]]]:
    known = {m.method: m for m in methods}
    unplanned = sorted(set(known) - set(plan.methods))
    if unplanned:
        raise BadInput(f"method(s) {unplanned} are not in the seed plan, which names {list(plan.methods)}.")
    out: dict[str, dict[str, dict[int, float]]] = {}
    for name in plan.methods:
        runs = known[name].runs if name in known else {}
        out[name] = {t: dict(zip(runs[t].seeds, runs[t].scores.tolist())) if t in runs else {} for t in plan.tasks}
    return out
