"""Results: a suite's declared grid and its records, ready for statistics. All that statistics see of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rlnet_bench.analysis.references import with_points
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.stats.scores import RunScores, TaskRuns
from rlnet_bench.vocabulary import EndKind, Kind, Mode

if TYPE_CHECKING:
    import pandas


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
    tuning: str = ""  # how settings were found: ``4 trials × 2 seeds``, ``untuned``; empty: not stated
    by_hand: str = ""  # and what was tried by hand before
    only: tuple[str, ...] = ()  # the tasks that the suite has it for; all when empty

    @property
    def tried(self) -> str:
        """How its settings were found, in a line."""
        return f"{self.tuning or 'not stated'} {self.by_hand}".rstrip() if self.trains else "–"


@dataclass(frozen=True)
class Origin:
    """What is known of how scores were made, in the words of captions. Of imports often less than of our own runs."""

    scale: str = "sum over agents"
    is_mode_said: bool = True
    absolute: str = "best checkpoint of each run, re-scored on fresh episodes"
    final: str = "weights at the end of training, scored on fresh episodes"
    episodes: str = ""  # behind each score

    def mode(self, mode: Mode) -> str:
        """How actions were chosen."""
        return f"{mode} actions" if self.is_mode_said else "mode of actions not stated"

    def end(self, kind: EndKind) -> str:
        """Which weights a kind of scores is of, on which episodes."""
        text = self.absolute if kind == "absolute" else self.final
        return f"{text} ({self.episodes})" if self.episodes else text


@dataclass(frozen=True, repr=False)
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
    cards: dict[str, TaskCard] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: what was compared, and how much of it has ended."""
        ended = [s for r in self.records for s in r.seed_status.values() if s in ("ok", "diverged")]
        known = sum(len(r.seed_status) for r in self.records)
        total = max(known, len(self.declared) * len(self.seeds))
        sizes = ", ".join(
            f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(self.methods), "method"), (len(self.tasks), "task"))
        )
        return f"<{type(self).__name__} {self.name}-v{self.version}: {sizes}, {len(ended)} of {total} runs ended>"

    def _repr_html_(self) -> str:
        """For notebooks: that line, and the mean over runs of every method on every task."""
        kind: EndKind = "absolute" if any(r.runs[t].n for r in self.scores() for t in self.tasks) else "final"
        by_method = {s.method: s.runs for s in self.scores(kind)}
        rows = []
        for method in self.methods:
            cells = [by_method[method.label][t] for t in self.tasks]
            texts = [f"{c.scores.mean():.4g}<br><small>{escape(c.describe())}</small>" if c.n else "–" for c in cells]
            rows.append(f"<tr><th>{escape(method.label)}</th>{''.join(f'<td>{x}</td>' for x in texts)}</tr>")
        head = "".join(f"<th>{escape(task)}</th>" for task in self.tasks)
        caption = f"{escape(repr(self))}<br>Mean team return over runs; {escape(self.origin.end(kind))}."
        return f"<table><caption>{caption}</caption><tr><th></th>{head}</tr>{''.join(rows)}</table>"

    @property
    def origin(self) -> Origin:
        """How the scores were made."""
        rules = [r.config.get("evaluation") for r in self.records]
        counts = sorted({r["absolute_episodes"] for r in rules if isinstance(r, dict) and "absolute_episodes" in r})
        return Origin(episodes=f"{' or '.join(map(str, counts))} episodes" if counts else "")

    def card(self, task: str) -> TaskCard:
        """The card of a task: the catalogue's, or the one that the records describe."""
        return self.cards[task]

    def with_references(self, points: Mapping[str, tuple[float, float]]) -> Self:
        """The same with other reference points: task -> what scores 0 (random play) and what scores 1 (the best known).

        Raises:
            BadInput: for a task that is not there, or a pair that is not ascending.
        """
        unknown = [t for t in points if t not in self.tasks]
        if unknown:
            raise BadInput(f"--reference: expected a task out of {', '.join(self.tasks)}, found {', '.join(unknown)}.")
        return replace(self, cards={**self.cards, **{t: with_points(self.cards[t], *p) for t, p in points.items()}})

    @cached_property
    def declared(self) -> tuple[tuple[str, str], ...]:
        """Every (method, task) that the suite declares; the rest does not apply (kinds of actions)."""
        return tuple((m.label, t) for m in self.methods for t in self.tasks if not m.only or t in m.only)

    def find(self, method: str, task: str) -> list[RunRecord]:
        """The records of a cell (several when the seeds were split into groups)."""
        return self._cells.get((method, task), [])

    @cached_property
    def _cells(self) -> dict[tuple[str, str], list[RunRecord]]:
        out: dict[tuple[str, str], list[RunRecord]] = {}
        for record in self.records:
            out.setdefault((record.method, record.task), []).append(record)
        return out

    @property
    def damage(self) -> tuple[str, ...]:
        """A sentence for every group whose record is damaged or was changed: it counts as failed."""
        return tuple(f"{r.method} on {r.task}: {r.reason}" for r in self.records if r.damaged)

    @property
    def is_complete(self) -> bool:
        """Every declared (method, task, seed), and every other that was begun, has ended as ok or diverged."""
        states = {(r.method, r.task, s): status for r in self.records for s, status in r.seed_status.items()}
        declared = {(*cell, s) for cell in self.declared for s in self.seeds}
        return all(states.get(run) in ("ok", "diverged") for run in declared | states.keys())

    def scores(self, kind: Kind = "absolute", mode: Mode | None = None, metric: str = "return") -> list[RunScores]:
        """One score per run: mean over its evaluation episodes.

        Args:
            kind: ``absolute`` or ``final``.
            mode: ``deterministic`` or ``sampled``; the suite's primary mode by default.
            metric: ``return`` (team sum) or ``success``.

        Returns:
            One RunScores per method with any run, tasks in suite order. Diverged runs carry the task's
            floor; failed and incomplete runs are counted as such, absent ones as missing.
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
        lost = {"failed": 0, "incomplete": 0}
        known: set[int] = set()
        for record in self.find(method, task):
            for seed, status in record.seed_status.items():
                known.add(seed)
                if status == "diverged":
                    scores.append(self._floor(method, task) if metric == "return" else 0.0)
                elif status in lost:
                    lost[status] += 1
                    continue
                else:
                    found = record.score(kind, mode, seed)
                    if found is None:
                        known.discard(seed)  # still running
                        continue
                    scores.append(found[0] if metric == "return" else found[1])
                seeds.append(seed)
                statuses.append("diverged" if status == "diverged" else "ok")
        missing = len(set(self.seeds) - known) if (method, task) in self.declared else 0
        return TaskRuns(
            np.asarray(scores), tuple(seeds), tuple(statuses), lost["failed"], missing, lost["incomplete"]  # type: ignore[arg-type]
        )  # fmt: skip

    def _floor(self, method: str, task: str) -> float:
        """The score of a diverged run of a method."""
        floor = self.card(task).floor
        if math.isnan(floor):
            raise StoreError(f"{method} on {task}: a seed diverged, and nothing is known of the task's floor.")
        return floor

    def curve(self, method: str, task: str, mode: Mode | None = None) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """Learning curves: (frames [P], team return [n, P], seeds [n]) over the points that all runs have.

        A diverged run is at the task's floor from the first point that it did not reach.
        """
        rows: dict[int, dict[int, float]] = {}
        diverged: list[int] = []
        for record in self.find(method, task):
            diverged += [s for s, status in record.seed_status.items() if status == "diverged"]
            for line in record.lines("curve", mode or self.primary):
                if record.seed_status.get(line.seed) not in ("failed", "incomplete"):
                    rows.setdefault(line.seed, {})[line.frames] = float(line.team.mean())
        if not rows:
            return np.zeros(0, dtype=np.int64), np.zeros((0, 0)), ()
        reached = {frames for points in rows.values() for frames in points}
        for record in self.find(method, task):
            if diverged and (frames := record.config.get("frames")):
                every = record.config["evaluation"]["every"]
                reached |= {*range(0, frames + 1, every), frames}
        for seed in diverged:
            rows[seed] = {**dict.fromkeys(reached, self._floor(method, task)), **rows.get(seed, {})}
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
