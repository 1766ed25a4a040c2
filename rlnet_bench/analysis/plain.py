"""Estimates as plain data for ``--json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from rlnet_bench.analysis.curves import CurveEstimate
from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.verdict import sentences
from rlnet_bench.stats.result import BandEstimate


def estimates_json(e: Estimates) -> dict[str, Any]:
    """Every number of a report as lists and dictionaries of numbers and strings."""
    return {
        "suite": {"name": e.results.name, "version": e.results.version, "primary": e.results.primary},
        "is_partial": e.is_partial,
        "verdict": [s.text for s in sentences(e)],
        "level": e.level,
        "tasks": [_task(f) for f in e.facts],
        "methods": [_plain(asdict(m)) for m in e.results.methods],
        "kind": e.kind, "mode": e.mode, "metric": e.metric, "notes": list(e.notes),
        "pooled": {
            "tasks": list(e.pool.tasks), "methods": list(e.pool.methods), "unit": e.pool.unit,
            "lacking": {m: list(lost) for m, lost in e.pool.lacking.items()}, "notes": list(e.pool.notes),
        },
        "aggregates": {
            kind: {m: {s: x.as_dict() for s, x in row.items()} for m, row in table.items()}
            for kind, table in e.aggregates.items()
        },
        "controls": {m: {s: x.as_dict() for s, x in row.items()} for m, row in e.controls.items()},
        "sensitivity": {
            m: {
                "diverged": s.n_diverged, "is_material": s.is_material, "at_floor": s.at_floor.as_dict(),
                "dropped": None if s.dropped is None else s.dropped.as_dict(),
            }
            for m, s in e.sensitivities.items()
        },
        "ranks": {
            c: {
                "reason": r.reason, "family": r.family, "ranks": [asdict(x) for x in r.ranks],
                "tied_with_best": list(e.ties[c].tied), "bold": e.ties[c].bold,
                "tests": [_plain(asdict(t)) for t in r.tests],
            }
            for c, r in e.rankings.items()
        },
        "improvement": [{"a": a, "b": b, **x.as_dict()} for (a, b), x in e.improvement.items()],
        "profiles": {m: _band(b) for m, b in e.profiles.items()},
        "per_task": [
            {
                **c.estimate.as_dict(), "interval": c.estimate.method,
                "kind": b.kind, "mode": b.mode, "metric": b.metric, "method": m, "task": t, "mark": c.mark,
                "normalised": c.normalised, "scores": c.runs.scores.tolist(), "seeds": list(c.runs.seeds),
                "statuses": list(c.runs.statuses), "failed": c.runs.n_failed, "missing": c.runs.n_missing,
                "incomplete": c.runs.n_incomplete,
                "bold": b.is_bold(m, t), "tied": b.is_tied(m, t),
            }
            for b in e.boards for m, row in b.cells.items() for t, c in row.items()
        ],
        "curves": {"frames": _curves(e.by_frames), "seconds": _curves(e.by_seconds)},
        "compute": [asdict(c) for c in e.costs],
        "grid": [{**asdict(c), "seeds": {str(k): v for k, v in c.seeds.items()}} for c in e.grid.cells],
        "troubles": [asdict(t) for t in e.grid.troubles],
    }  # fmt: skip


def _task(f: Any) -> dict[str, Any]:
    return {
        "id": f.id, "card": f.card.hash(), "channel": f.card.channel, "floor": f.card.floor, "reason": f.reason,
        "references": {k: asdict(r) for k, r in f.card.references.items()},
    }  # fmt: skip


def _band(b: BandEstimate) -> dict[str, Any]:
    return {
        "x": b.x_T.tolist(), "value": b.value_T.tolist(), "low": None if b.low_T is None else b.low_T.tolist(),
        "high": None if b.high_T is None else b.high_T.tolist(), "method": b.method, "reason": b.reason,
        "simultaneous": b.simultaneous,
    }  # fmt: skip


def _curves(panels: dict[str, dict[str, CurveEstimate]]) -> dict[str, Any]:
    return {
        task: {m: {**_band(c.band), "seeds": list(c.runs.seeds)} for m, c in row.items()}
        for task, row in panels.items()
    }


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(x) for x in data]
    return data.item() if isinstance(data, np.generic) else data
