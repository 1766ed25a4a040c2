"""The record of a run, as data. Imports without torch.

A run is one *cell group*: method x task x seed group, trained together; records stay per seed. On disk
(``STORE/runs/<run id>/``):

``config.json``       resolved configuration; its sha256 is the run id
``provenance.json``   versions, commit, host: where the run was made, not what it is
``status.json``       running | ok | diverged | failed, per seed and for the group (atomic replace)
``evals.jsonl``       one line per (evaluation, seed): deterministic fields only, chained digests
``timings.jsonl``     seconds and rates per evaluation
``checkpoints/``      the newest states of the learner (while running)
``policies/``         final and best weights of every seed (safetensors) and their architecture (JSON)

Axes: **E** episodes, **N** agents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlnet_bench.errors import StoreError
from rlnet_bench.vocabulary import Kind, Mode, Status

CHAIN_START = "0" * 16


class DamagedRecord(StoreError):
    """Raised when a stored line is unreadable or was changed: one run is spoilt, the store is not."""


@dataclass(frozen=True)
class EvalLine:
    """One evaluation of one seed.

    ``kind``: ``curve`` points are played on the episodes that choose the checkpoint; ``final`` (the last
    weights) and ``absolute`` (the best curve point's weights) on fresh ones; ``reference`` (those
    weights) on the original package; a ``ChannelKind`` (those weights, primary mode) with what crosses between
    agents cut, late or coarse, where anything does. ``frames`` is the point of the curve: these weights were acting
    when frame ``frames`` was sampled, and were trained on ``trained_frames`` <= ``frames``.
    """

    kind: Kind
    mode: Mode
    seed: int
    point: int
    frames: int
    trained_frames: int
    updates: int
    returns: np.ndarray  # [E, N] float64 undiscounted return of every agent in every episode
    success: np.ndarray  # [E] float64
    length: np.ndarray  # [E] int64
    weights: str  # digest of the evaluated weights
    chain: str = ""  # digest of this line and everything before it for this seed

    @property
    def team(self) -> np.ndarray:
        """[E] team returns (sum over agents)."""
        return self.returns.sum(axis=1)

    @property
    def key(self) -> tuple[int, str, str, int]:
        """Identity of the line within its run."""
        return self.seed, self.kind, self.mode, self.point

    def to_json(self) -> dict[str, Any]:
        """Plain data; numbers in the shortest form that reads back as the same float32."""
        return {
            "kind": self.kind, "mode": self.mode, "seed": self.seed, "point": self.point,
            "frames": self.frames, "trained_frames": self.trained_frames, "updates": self.updates,
            "returns": [[_short(x) for x in row] for row in self.returns],
            "success": [_short(x) for x in self.success], "length": [int(x) for x in self.length],
            "weights": self.weights,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvalLine:
        """Inverse of :meth:`to_json`; raises KeyError or ValueError on a malformed line."""
        arrays = {
            "returns": np.asarray(data["returns"], dtype=np.float64),
            "success": np.asarray(data["success"], dtype=np.float64),
            "length": np.asarray(data["length"], dtype=np.int64),
        }
        if arrays["returns"].ndim != 2:
            raise ValueError(f"returns: expected [episodes, agents], found shape {arrays['returns'].shape}")
        return cls(**{**data, **arrays})


def _short(x: float) -> float:
    """The shortest decimal that reads back as the same float32."""
    return float(str(np.float32(x)))


def chained(line: EvalLine, previous: str) -> str:
    """The line as JSON text with its chain digest: sha256 over the previous digest and the line."""
    body = line.to_json()
    body["chain"] = hashlib.sha256((previous + json.dumps(body)).encode()).hexdigest()[:16]
    return json.dumps(body)


@dataclass(frozen=True)
class RunRecord:
    """Everything stored about one cell group."""

    run_id: str
    config: dict[str, Any]
    status: Status
    seed_status: dict[int, Status]
    evals: Sequence[EvalLine] = ()
    timings: Sequence[dict[str, Any]] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    divergences: tuple[dict[str, Any], ...] = ()
    reason: str = ""

    @property
    def method(self) -> str:
        """The label shown in tables."""
        return self.config["label"]

    @property
    def task(self) -> str:
        """The task id."""
        return self.config["task"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed group."""
        return tuple(self.config["seeds"])

    def lines(self, kind: Kind, mode: Mode, seed: int | None = None) -> list[EvalLine]:
        """Lines of a kind and mode, in order of frames."""
        return sorted(
            (e for e in self.evals if e.kind == kind and e.mode == mode and seed in (None, e.seed)),
            key=lambda e: (e.seed, e.frames),
        )

    def score(self, kind: Kind, mode: Mode, seed: int) -> tuple[float, float] | None:
        """Mean team return and success over the episodes of the last such line; None without one."""
        known = getattr(self.evals, "means", None)  # of an ended group, from the store's index
        if known is not None and kind != "curve":
            return known(seed, kind, mode)
        lines = self.lines(kind, mode, seed)
        return (float(lines[-1].team.mean()), float(lines[-1].success.mean())) if lines else None


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Complete JSON lines of a file and the length in bytes of that complete part.

    A torn last line (no newline, or not JSON) is left out: a process was killed while writing it.

    Raises:
        DamagedRecord: for a broken line that is not the last.
    """
    if not path.exists():
        return [], 0
    data = path.read_bytes()
    lines: list[dict[str, Any]] = []
    good = 0
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces[:-1]):
        try:
            lines.append(json.loads(piece))
        except ValueError as error:
            if number == len(pieces) - 2 and not pieces[-1]:
                break
            raise DamagedRecord(f"{path}: line {number + 1} is not JSON ({error}); `store check` shows more.") from None
        good += len(piece) + 1
    return lines, good


def check_chain(lines: Iterable[Mapping[str, Any]]) -> str | None:
    """None when every seed's digest chain holds, else a sentence naming the first broken line."""
    last: dict[int, str] = {}
    for number, raw in enumerate(lines, 1):
        body = {k: v for k, v in raw.items() if k != "chain"}
        previous = last.get(raw["seed"], CHAIN_START)
        expected = hashlib.sha256((previous + json.dumps(body)).encode()).hexdigest()[:16]
        if raw.get("chain") != expected:
            return f"line {number} (seed {raw['seed']}): chain digest {raw.get('chain')!r}, expected {expected!r}"
        last[raw["seed"]] = expected
    return None


def read_run(path: Path) -> RunRecord:
    """Read one run directory.

    Raises:
        StoreError: naming the file that is missing or damaged.
    """
    try:
        config = json.loads((path / "config.json").read_text())
        status = json.loads((path / "status.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not a readable run directory ({error}).") from None
    provenance = path / "provenance.json"
    lines, _ = read_lines(path / "evals.jsonl")
    timings, _ = read_lines(path / "timings.jsonl")
    return RunRecord(
        run_id=path.name,
        config=config,
        status=status["status"],
        seed_status={int(k): v for k, v in status["seeds"].items()},
        evals=tuple(EvalLine.from_json(x) for x in lines),
        timings=tuple(timings),
        provenance=json.loads(provenance.read_text()) if provenance.exists() else {},
        divergences=tuple(status.get("divergences", ())),
        reason=status.get("reason", ""),
    )
