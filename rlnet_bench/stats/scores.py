"""What every statistic starts from: the scores of one method's runs, ragged over tasks.

Axes, named by suffix letters in the whole package: **N** runs of one method pooled over its tasks (task
by task), **M** tasks, **n** runs of one task, **B** resamples, **T** points of a curve or profile,
**P** pairs of methods, **K** methods.

Three kinds of trouble never share a code path. A *diverged* run is a result: it carries the task's floor
and counts. A *failed* run (lost machine, full disk) and a *missing* one are counted, never scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.vocabulary import ScoredStatus

if TYPE_CHECKING:
    from rlnet_bench.stats.normalise import Bounds

Tasks = Literal["all", "common"] | Sequence[str]


@dataclass(frozen=True, eq=False)
class TaskRuns:
    """The scored runs of one method on one task.

    ``scores`` [n] is read-only, in the units of the task (or normalised), with a seed and a status each; a
    diverged run's score is already the task's floor. ``n_failed``, ``n_missing`` and ``n_incomplete``
    count runs that were planned but have no score.
    """

    scores: Array
    seeds: tuple[int, ...]
    statuses: tuple[ScoredStatus, ...]
    n_failed: int = 0
    n_missing: int = 0
    n_incomplete: int = 0

    def __post_init__(self) -> None:
        scores = np.array(self.scores, dtype=np.float64)
        if scores.ndim != 1 or not len(scores) == len(self.seeds) == len(self.statuses):
            raise BadInput(
                f"expected one score, seed and status per run, found scores of shape {scores.shape}, "
                f"{len(self.seeds)} seeds and {len(self.statuses)} statuses."
            )
        scores.flags.writeable = False
        object.__setattr__(self, "scores", scores)

    @property
    def n(self) -> int:
        """Number of scored runs, diverged ones included."""
        return len(self.seeds)

    @property
    def n_diverged(self) -> int:
        """Number of scored runs that diverged."""
        return self.statuses.count("diverged")

    @property
    def lost(self) -> tuple[tuple[int, str], ...]:
        """How many runs have no score, by what became of them; only what there is."""
        counts = (self.n_failed, "failed"), (self.n_incomplete, "incomplete"), (self.n_missing, "missing")
        return tuple((n, word) for n, word in counts if n)

    def describe(self) -> str:
        """Say what happened to the runs, e.g. ``8 ok + 2 diverged (1 failed, 1 missing)``."""
        text = f"{self.n - self.n_diverged} ok"
        if self.n_diverged:
            text += f" + {self.n_diverged} diverged"
        return text + (f" ({', '.join(f'{n} {word}' for n, word in self.lost)})" if self.lost else "")

    def without_diverged(self) -> TaskRuns:
        """Return the runs that did not diverge (for the sensitivity check only)."""
        keep = [s == "ok" for s in self.statuses]
        return replace(
            self,
            scores=self.scores[keep],
            seeds=tuple(s for s, k in zip(self.seeds, keep) if k),
            statuses=tuple(s for s in self.statuses if s == "ok"),
        )


@dataclass(frozen=True, eq=False)
class RunScores:
    """One method's scores: task -> runs. Immutable; one number per training run.

    ``bounds`` is filled by :func:`~rlnet_bench.stats.normalise.normalise`, so that the standard errors of
    the reference points can enter the intervals. Raises :class:`BadInput` naming method, task and seed
    for NaN or infinite scores and for a seed that appears twice.

    >>> runs = RunScores.from_arrays("ippo", {"spread": [0.5, 0.7], "tag": [0.1, 0.3, 0.2]})
    >>> runs.n_per_task
    {'spread': 2, 'tag': 3}
    """

    method: str
    runs: Mapping[str, TaskRuns]
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.runs:
            raise BadInput(f"method {self.method!r} has no tasks: expected at least one task with runs.")
        for task, runs in self.runs.items():
            for score, seed in zip(runs.scores, runs.seeds):
                if not np.isfinite(score):
                    raise BadInput(
                        f"score {score} of method {self.method!r} on task {task!r}, seed {seed}, is not "
                        "finite: give a diverged run the task's floor, leave a failed run out."
                    )
            twice = sorted({s for s in runs.seeds if runs.seeds.count(s) > 1})
            if twice:
                raise BadInput(
                    f"method {self.method!r} on task {task!r} has more than one score for seed(s) {twice}: "
                    "expected one score per training run."
                )
        object.__setattr__(self, "runs", MappingProxyType(dict(self.runs)))
        object.__setattr__(self, "bounds", MappingProxyType(dict(self.bounds)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names in the order given."""
        return tuple(self.runs)

    @property
    def n_per_task(self) -> dict[str, int]:
        """Number of scored runs by task, diverged ones included."""
        return {task: runs.n for task, runs in self.runs.items()}

    @property
    def n_diverged(self) -> int:
        """Number of diverged runs over all tasks."""
        return sum(runs.n_diverged for runs in self.runs.values())

    def select(self, tasks: Iterable[str]) -> RunScores:
        """Return the same method on some of its tasks, in the order asked for."""
        wanted = tuple(tasks)
        _refuse_absent({self.method: [t for t in wanted if t not in self.runs]})
        return replace(
            self,
            runs={t: self.runs[t] for t in wanted},
            bounds={t: self.bounds[t] for t in wanted if t in self.bounds},
        )

    def without_diverged(self) -> RunScores:
        """Return the runs that did not diverge; tasks may end up empty."""
        return replace(self, runs={t: r.without_diverged() for t, r in self.runs.items()})

    def pooled(self, tasks: Sequence[str] | None = None) -> Pooled:
        """Put the runs of some tasks (default: all) side by side; raises if one of them has no run."""
        names = self.tasks if tasks is None else tuple(tasks)
        _refuse_absent({self.method: [t for t in names if t not in self.runs or self.runs[t].n == 0]})
        return Pooled(
            names,
            np.concatenate([self.runs[t].scores for t in names]),
            np.array([self.runs[t].n for t in names], dtype=np.int64),
            {t: self.bounds[t] for t in names if t in self.bounds},
        )

    @classmethod
    def from_arrays(cls, method: str, scores: Mapping[str, npt.ArrayLike]) -> RunScores:
        """Build from task -> scores [n]; the seeds are 0, 1, ... and every run is ok."""
        return cls(method, {t: _task_runs(np.asarray(x, dtype=np.float64)) for t, x in scores.items()})

    @classmethod
    def from_rliable(
        cls, scores: Mapping[str, npt.ArrayLike], task_names: Sequence[str] | None = None
    ) -> dict[str, RunScores]:
        """Build from rliable's layout, method -> scores [runs, tasks]; returns one object per method."""
        result = {}
        for method, matrix in scores.items():
            x = np.asarray(matrix, dtype=np.float64)
            if x.ndim != 2:
                raise BadInput(f"expected scores [runs, tasks] for method {method!r}, found shape {x.shape}.")
            names = [f"task{i}" for i in range(x.shape[1])] if task_names is None else list(task_names)
            if len(names) != x.shape[1]:
                raise BadInput(f"method {method!r} has {x.shape[1]} task columns, but {len(names)} task names.")
            result[method] = cls.from_arrays(method, {t: x[:, i] for i, t in enumerate(names)})
        return result


def select_tasks(methods: Sequence[RunScores], tasks: Tasks = "all") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decide which tasks several methods are judged on; returns the tasks and the flags to print.

    ``"all"``: every task that any of the methods names must have runs for all of them, else
    :class:`BadInput` names the gaps. ``"common"``: the tasks where all methods have runs, flagged when
    that is fewer. A sequence of names is a declared set and must be complete.
    """
    if not methods:
        raise BadInput("expected at least one method, found none.")
    every = tuple(dict.fromkeys(t for m in methods for t in m.tasks))
    if tasks == "common":
        common = tuple(t for t in every if all(t in m.runs and m.runs[t].n > 0 for m in methods))
        if not common:
            raise BadInput(f"the methods {[m.method for m in methods]} have no task in common.")
        left_out = [t for t in every if t not in common]
        _refuse_mixed_scales(methods, common)
        flag = f"tasks in common only: {len(common)} of {len(every)}, without {', '.join(left_out)}"
        return common, (flag,) if left_out else ()
    wanted = every if isinstance(tasks, str) else tuple(tasks)
    if isinstance(tasks, str) and tasks != "all":
        raise BadInput(f"tasks must be 'all', 'common' or a list of names, found {tasks!r}.")
    if not wanted:
        raise BadInput("expected at least one task, found none.")
    _refuse_absent({m.method: [t for t in wanted if t not in m.runs or m.runs[t].n == 0] for m in methods})
    _refuse_mixed_scales(methods, wanted)
    return wanted, ()


def _refuse_mixed_scales(methods: Sequence[RunScores], tasks: Sequence[str]) -> None:
    for other in methods[1:]:
        odd = [t for t in tasks if methods[0].bounds.get(t) != other.bounds.get(t)]
        if odd:
            raise BadInput(
                f"{methods[0].method!r} and {other.method!r} are normalised by different reference points "
                f"on {odd}: normalise all methods with the same version."
            )


def _refuse_absent(absent: Mapping[str, Sequence[str]]) -> None:
    gaps = [f"{method!r} lacks {', '.join(map(repr, tasks))}" for method, tasks in absent.items() if tasks]
    if gaps:
        raise BadInput(
            f"a suite aggregate needs runs on every task, but {'; '.join(gaps)}. "
            'Run what is missing, or pass tasks="common" (the reduced set is then printed with the result).'
        )


def _task_runs(scores: Array) -> TaskRuns:
    ok: ScoredStatus = "ok"
    return TaskRuns(scores, tuple(range(scores.size)), (ok,) * scores.size)
