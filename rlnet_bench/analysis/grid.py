"""How far the declared grid has come: what ended, what diverged, what failed, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlnet_bench.analysis.results import Results
from rlnet_bench.runs.records import RunRecord


@dataclass(frozen=True)
class CellState:
    """One (method, task): the seeds by state, and how far running ones have come (a share, or None)."""

    method: str
    task: str
    seeds: dict[int, str]
    progress: float | None = None

    def count(self, *states: str) -> int:
        """Number of seeds in any of these states."""
        return sum(s in states for s in self.seeds.values())

    @property
    def done(self) -> int:
        """Seeds that ended with a result."""
        return self.count("ok", "diverged")

    def describe(self) -> str:
        """For instance ``3 of 5 done, 1 diverged, 2 missing``."""
        text = f"{self.done} of {len(self.seeds)} done"
        for state in ("diverged", "running", "failed", "incomplete", "missing"):
            if self.count(state):
                text += f", {self.count(state)} {state}"
        if self.progress is not None and self.count("running"):
            text += f" (at {self.progress:.0%})"
        return text


@dataclass(frozen=True)
class Trouble:
    """A run that diverged, failed or ended early, with what the record says about it."""

    method: str
    task: str
    seed: int | None
    kind: str
    detail: str
    run_id: str


@dataclass(frozen=True)
class GridState:
    """The whole grid: cells in suite order, and troubles."""

    cells: tuple[CellState, ...]
    troubles: tuple[Trouble, ...]

    @property
    def total(self) -> int:
        """Declared runs."""
        return sum(len(c.seeds) for c in self.cells)

    def count(self, *states: str) -> int:
        """Number of runs in any of these states."""
        return sum(c.count(*states) for c in self.cells)

    def reason(self, method: str, task: str) -> str:
        """Why runs of a cell failed, as their records say it; empty where none did."""
        found = [t.detail for t in self.troubles if (t.method, t.task, t.kind) == (method, task, "failed")]
        return "; ".join(dict.fromkeys(x for x in found if x))

    def cell(self, method: str, task: str) -> CellState:
        """One cell."""
        return next(c for c in self.cells if c.method == method and c.task == task)


def grid_state(results: Results) -> GridState:
    """Look at every declared (method, task, seed)."""
    cells, troubles = [], []
    for method in results.methods:
        for task in results.tasks:
            records = results.find(method.label, task)
            known = {s: status for r in records for s, status in r.seed_status.items()}
            seeds = {s: known.get(s, "missing") for s in results.seeds if (method.label, task) in results.declared}
            seeds |= {s: status for s, status in known.items() if s not in seeds}
            cells.append(CellState(method.label, task, dict(sorted(seeds.items())), _progress(records)))
            for record in records:
                troubles += _troubles(record)
    return GridState(tuple(cells), tuple(troubles))


def _progress(records: list[RunRecord]) -> float | None:
    shares = []
    for record in records:
        budget = record.config.get("frames") or 0
        if record.status == "running" and budget:
            shares.append(max((e.frames for e in record.evals), default=0) / budget)
    return min(shares) if shares else None


def _troubles(record: RunRecord) -> list[Trouble]:
    out = []
    explained: set[int] = set()
    for item in record.divergences:
        seed = item.get("seed")
        if isinstance(seed, int):
            explained.add(seed)
        out.append(Trouble(record.method, record.task, seed, "diverged", _sentence(item), record.run_id))
    for seed, status in record.seed_status.items():
        if status == "diverged" and seed not in explained:
            out.append(Trouble(record.method, record.task, seed, "diverged", record.reason, record.run_id))
        elif status in ("failed", "incomplete"):
            out.append(Trouble(record.method, record.task, seed, status, record.reason, record.run_id))
    return out


def _sentence(item: dict[str, Any]) -> str:
    for key in ("sentence", "reason", "message"):
        if item.get(key):
            return str(item[key])
    return ", ".join(f"{k} {v}" for k, v in item.items() if k != "seed")
