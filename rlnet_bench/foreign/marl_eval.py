"""marl-eval's JSON: environment / task / algorithm / run / step_k, and ``absolute_metrics``; read and written.

Loggers of this format often keep one mean per point instead of the episodes; such points are read as means,
with a warning. An ``absolute_metrics`` that equals the best single episode of the whole run is not an absolute
score and is kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign.files import found_files, load_json, mapping, numbers, seed_of, whole
from rlnet_bench.foreign.gathered import gathered
from rlnet_bench.foreign.shares import as_shares
from rlnet_bench.foreign.table import (
    CellFacts,
    Evaluation,
    ForeignTable,
    Kind,
    Run,
    RunStatus,
    Scale,
    checked_name,
)
from rlnet_bench.vocabulary import Mode

RETURNS = ("return", "episode_return", "mean_episode_return", "team_return", "episode_reward", "mean_return")
SUCCESSES = ("success", "success_rate", "win_rate", "won", "battle_won")
ABSOLUTE = "absolute_metrics"


@dataclass(frozen=True)
class JsonOptions:
    """How a file of this layout is to be read."""

    metric: str | None = None  # the return; the first known name by default
    mode: Mode | None = None  # not stated; read as deterministic
    scale: Scale = "unknown"
    best_episode: bool = False  # the writer is known to store the best episode as absolute


def read_marl_eval(path: Path, options: JsonOptions | None = None) -> ForeignTable:
    """Read a marl-eval JSON file, or every ``*.json`` below a directory.

    Raises:
        BadInput: with file, key path, what was expected and what was found; of a directory when nothing is left.
    """
    table = read_layout(path, options or JsonOptions())
    return replace(table, warnings=(*table.warnings, *_remarks(table)))


def read_layout(path: Path, options: JsonOptions) -> ForeignTable:
    """The files of this layout as one table, without remarks on it."""
    files = found_files(path, "*.json")

    def read(file: Path) -> ForeignTable:
        return _parsed(load_json(file, finite=False), str(file), options)

    return as_shares(gathered(files, read, str(path)))


def _parsed(data: Any, name: str, options: JsonOptions) -> ForeignTable:
    reader = _Reader(name, options)
    for env, task, method, runs in _levels(data, name):
        where = f"{name}: {env}/{task}/{method}"
        checked_name(method, f"{name}: {env}/{task}", "algorithm")
        full = checked_name(f"{env}/{task}", name, "environment and task")
        seeds = _seeds(runs, where)
        for key, run in runs.items():
            reader.run(method, full, seeds[key], mapping(run, f"{where}/{key}", "an object of steps"), f"{where}/{key}")
    return reader.table()


def _remarks(table: ForeignTable) -> list[str]:
    """What a reader of the numbers must know, once for all files."""
    points = [e for e in table.evaluations if e.kind == "curve"]
    means = sum(e.episodes != 1 for e in points)
    best = sum(e.kind == "best-episode" for e in table.evaluations)
    remarks = []
    if means:
        remarks.append(
            f"{table.name}: {means} of {len(points)} points are one number each, a mean over an unknown number of "
            "episodes: noise of the evaluation cannot be told from differences between runs."
        )
    if best:
        remarks.append(
            f"{table.name}: the `absolute_metrics` of {best} runs are the best single episode ever played, not the "
            "best policy scored again on fresh episodes; they are kept as best-episode and never used as absolute "
            "scores."
        )
    return remarks


def _levels(data: Any, name: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for env, tasks in mapping(data, name, "an object of environments").items():
        if env == "extra":  # what marl-eval itself keeps beside the environments
            continue
        for task, methods in mapping(tasks, f"{name}: {env}", "an object of tasks").items():
            for method, runs in mapping(methods, f"{name}: {env}/{task}", "an object of algorithms").items():
                yield env, task, method, mapping(runs, f"{name}: {env}/{task}/{method}", "an object of runs")


def _seeds(runs: dict[str, Any], where: str) -> dict[str, int]:
    """A seed for every run key: the number at its end, or its place where keys have none."""
    found = {key: seed_of(key) for key in runs}
    if any(seed is None for seed in found.values()):
        return {key: i for i, key in enumerate(runs)}
    seeds = {key: seed for key, seed in found.items() if seed is not None}
    if len(set(seeds.values())) < len(seeds):
        raise Malformed(where, "runs with different numbers at the end of their keys", list(runs))
    return seeds


class _Reader:
    """Collects the evaluations of all runs of a file."""

    def __init__(self, name: str, options: JsonOptions) -> None:
        self.name, self.options = name, options
        self.evaluations: list[Evaluation] = []
        self.facts: dict[tuple[str, str], CellFacts] = {}
        self.statuses: dict[Run, RunStatus] = {}
        self.reasons: dict[Run, str] = {}
        self.warnings: list[str] = []

    def run(self, method: str, task: str, seed: int, run: dict[str, Any], where: str) -> None:
        """Read one run."""
        self.facts[method, task] = CellFacts(self.options.scale, "frames")
        steps = [key for key in run if key != ABSOLUTE]
        if not steps:
            raise Malformed(where, "at least one step_k beside absolute_metrics", list(run))
        metric = self._metric(mapping(run[steps[0]], f"{where}/{steps[0]}", "an object of metrics"), where)
        curve: dict[int, Evaluation] = {}
        broken: list[int] = []
        for key in steps:
            at = f"{where}/{key}"
            point = mapping(run[key], at, "an object of metrics")
            if "step_count" not in point:
                raise Malformed(at, "a key 'step_count'", list(point))
            frames = whole(point["step_count"], f"{at}/step_count")
            if frames in curve:
                raise Malformed(f"{at}/step_count", "every step_count once in a run", frames)
            if any(isinstance(x, float) and not isfinite(x) for x in _listed(point.get(metric))):
                broken.append(frames)
            else:
                curve[frames] = self._evaluation(method, task, seed, "curve", frames, metric, point, at)
        if broken and max(broken) >= max(curve, default=0):
            self.statuses[method, task, seed] = "diverged"
            self.reasons[method, task, seed] = f"no finite return at {max(broken):,} steps"
        elif broken:
            lost = ", ".join(f"{x:,}" for x in broken)
            self.warnings.append(f"{where}: no finite return at {lost} steps.")
        self.evaluations += [curve[f] for f in sorted(curve)]
        absolute = run.get(ABSOLUTE)
        if not absolute or not curve:
            return
        at = f"{where}/{ABSOLUTE}"
        point = mapping(absolute, at, "an object of metrics")
        if metric not in point or any(x != x for x in _listed(point[metric])):
            return
        found = self._evaluation(method, task, seed, "absolute", max(curve), metric, point, at)
        if self._is_best_episode(found, list(curve.values())):
            found = self._evaluation(method, task, seed, "best-episode", max(curve), metric, point, at)
        self.evaluations.append(found)

    def _metric(self, point: dict[str, Any], where: str) -> str:
        names = [k for k in point if k not in ("step_count", "elapsed_time")]
        if self.options.metric is not None:
            if self.options.metric not in names:
                raise Malformed(where, f"the metric {self.options.metric!r}", names)
            return self.options.metric
        for known in RETURNS:
            if known in names:
                return known
        raise Malformed(where, f"a return under one of the names {', '.join(RETURNS)}", names, "Name it with --metric.")

    def _evaluation(
        self, method: str, task: str, seed: int, kind: Kind, frames: int, metric: str, point: dict[str, Any], at: str
    ) -> Evaluation:
        if metric not in point:
            raise Malformed(at, f"the metric {metric!r}", list(point))
        values = np.array(numbers(point[metric], f"{at}/{metric}"))
        is_mean = len(values) == 1
        success = None
        rate = next((s for s in SUCCESSES if s in point), None)
        if rate is not None:
            rates = np.array(numbers(point[rate], f"{at}/{rate}"))
            success = rates if len(rates) == len(values) else np.full(len(values), rates.mean())
        return Evaluation(
            method,
            task,
            seed,
            kind,
            self.options.mode or "deterministic",
            frames,
            values[:, None],
            success,
            None if is_mean else 1,
        )

    def _is_best_episode(self, absolute: Evaluation, curve: list[Evaluation]) -> bool:
        """One number that is the maximum over all single episodes of the run (or said to be by its writer)."""
        if self.options.best_episode:
            return True
        episodes = [e.returns for e in curve if len(e.returns) > 1]
        return bool(episodes) and len(absolute.returns) == 1 and absolute.value >= max(float(r.max()) for r in episodes)

    def table(self) -> ForeignTable:
        """What was read."""
        unsaid = frozenset() if self.options.mode else frozenset(self.facts)
        return ForeignTable(
            self.name, tuple(self.evaluations), self.facts, self.statuses, warnings=tuple(self.warnings),
            unsaid_modes=unsaid, reasons=self.reasons,
        )  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
