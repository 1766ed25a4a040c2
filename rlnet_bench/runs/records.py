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
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rlnet_bench.errors import Malformed, StoreError, shown
from rlnet_bench.reading.plain import parse_json, read_lines
from rlnet_bench.reading.shapes import check
from rlnet_bench.vocabulary import KINDS, MODES, Kind, Mode, Status

STATUSES: tuple[Status, ...] = ("running", "ok", "diverged", "failed", "missing")

CHAIN_START = "0" * 16


TIMING = dict.fromkeys(("frames?", "trained_frames?", "updates?"), int) | dict.fromkeys(
    ("train_seconds?", "eval_seconds?", "frames_per_second?"), float
)


def run_id(config: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of a resolved configuration, without its label; 16 hex digits."""
    content = {k: v for k, v in config.items() if k != "label"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class DamagedRecord(Malformed):
    """Raised when a stored line is unreadable or was changed: one run is spoilt, the store is not."""

    def __init__(self, sentence: str) -> None:
        StoreError.__init__(self, sentence)


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
    def shape(self) -> tuple[int, int]:
        """(episodes, agents)."""
        return self.returns.shape[0], self.returns.shape[1]

    @property
    def played(self) -> bytes:
        """The returns as text: what was played, whoever played it."""
        return json.dumps(self.to_json()["returns"]).encode()[2:-2]

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

    def digest(self, previous: str) -> str:
        """The line's chain digest: sha256 over the digest before it and the line itself."""
        return _digest(previous, json.dumps(self.to_json()).encode())


class StoredLine(EvalLine):
    """A line as it was read: ``text`` are its own bytes, and arrays are made of them when somebody asks.

    Made by :func:`parse_line`. Raises DamagedRecord where an array is asked for whose numbers are none.
    """

    text: bytes
    where: str
    places: dict[str, slice]
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(episodes, agents), without a look at the numbers."""
        return self.size

    @property
    def played(self) -> bytes:
        """As of any line, but from its own bytes."""
        place = self.places["returns"]
        return self.text[place.start + 2 : place.stop - 2]

    def __getattr__(self, name: str) -> np.ndarray:
        """``returns``, ``success`` and ``length``."""
        if name not in ("returns", "success", "length") or "places" not in self.__dict__:
            raise AttributeError(name)
        try:
            values = json.loads(self.text[self.places[name]])
            array = np.asarray(values, dtype=np.int64 if name == "length" else np.float64)
            if array.shape != (self.size if name == "returns" else self.size[:1]) or not np.isfinite(array).all():
                raise ValueError(f"shape {array.shape}, or a number that is not finite")
        except (ValueError, OverflowError, RecursionError) as error:
            raise DamagedRecord(f"{self.where}: {name}: expected finite numbers, found others ({error}).") from None
        self.__dict__[name] = array
        return array

    def digest(self, previous: str) -> str:
        """As of any line, but from its own bytes."""
        text = self.__dict__.get("text")
        return _digest(previous, text[:-_CHAIN_BYTES] + b"}") if text else super().digest(previous)


_CHAIN = re.compile(rb', "chain": "([0-9a-f]{16})"\}')
_CHAIN_BYTES = len(', "chain": "0123456789abcdef"}')
_WEIGHTS = re.compile(r"-|[0-9a-f]{1,64}")
_SCALARS = ("kind", "mode", "seed", "point", "frames", "trained_frames", "updates", "weights")
_OPEN = (b'"returns": [[', b'"success": [', b'"length": [')
_CLOSE = (b"]], ", b"], ", b"], ")
_NUMBERS = (b"0123456789+-.eE, []", b"0123456789+-.eE, []", b"0123456789, []")


def _weights(value: Any, where: str) -> None:
    if not isinstance(value, str) or not _WEIGHTS.fullmatch(value):
        raise Malformed(where, "a digest of hex digits, or - for none", value)


_LINE = {
    "kind": KINDS, "mode": MODES, "seed": int, "point": int, "frames": int, "trained_frames": int, "updates": int,
    "weights": _weights,
}  # fmt: skip


def _digest(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()[:16]


def parse_line(text: bytes, where: str) -> StoredLine:
    """A line of ``evals.jsonl`` from its own bytes, exactly as :func:`chained` writes it.

    Every field is checked here, and that the arrays hold nothing but numbers, as many as there must be; their chain
    is for :func:`check_chain`, and the numbers themselves are read when somebody asks for them.

    Raises:
        DamagedRecord: naming ``where``, what was expected and what was found.
    """
    places: dict[str, slice] = {}
    start, at = text.find(_OPEN[0]), 0
    at = start
    for name, opening, closing, allowed in zip(("returns", "success", "length"), _OPEN, _CLOSE, _NUMBERS):
        end = text.find(closing, at)
        if start < 0 or end < 0 or not text.startswith(opening, at):
            _refuse(text, where, name)
        end += len(closing) - 2
        places[name] = slice(at + len(name) + 4, end)
        if text[places[name]].translate(None, allowed):
            raise DamagedRecord(f"{where}: {name}: expected numbers alone, found other characters.")
        at = end + 2
    chain = _CHAIN.fullmatch(text, len(text) - _CHAIN_BYTES)
    if chain is None:
        raise DamagedRecord(f"{where}: expected a line that ends with its chain digest, found none.")
    scalars = parse_json(text[:start] + text[at:-_CHAIN_BYTES] + b"}", where)
    if tuple(scalars) != _SCALARS:
        raise DamagedRecord(f"{where}: expected the fields {', '.join(_SCALARS)}, found {', '.join(scalars)[:200]}.")
    check(scalars, _LINE, where)
    episodes = text.count(b"], [", places["returns"].start, places["returns"].stop) + 1
    agents = text.count(b",", places["returns"].start, text.index(b"]", start)) + 1
    counts = [text.count(b",", p.start, p.stop) + 1 for p in places.values()]
    if counts != [episodes * agents, episodes, episodes]:
        raise DamagedRecord(
            f"{where}: expected {episodes} episodes of {agents} agents, found {counts[0]} returns, {counts[1]} "
            f"successes and {counts[2]} lengths."
        )
    line = StoredLine.__new__(StoredLine)
    line.__dict__.update(scalars, chain=chain[1].decode())
    line.__dict__.update(text=text, where=where, places=places, size=(episodes, agents))
    return line


def _refuse(text: bytes, where: str, name: str) -> NoReturn:
    """Say why a text is no line at all: no JSON, or JSON of another kind or form."""
    try:
        found = parse_json(text, where)
    except Malformed as error:
        raise DamagedRecord(f"{where} is not JSON ({error})") from None
    raise DamagedRecord(f"{where}: expected an evaluation line as it was written, with {name}, found {shown(found)}.")


def _short(x: float) -> float:
    """The shortest decimal that reads back as the same float32."""
    return float(str(np.float32(x)))


def chained(line: EvalLine, previous: str) -> str:
    """The line as JSON text with its chain digest: sha256 over the previous digest and the line."""
    body = json.dumps(line.to_json())
    return f'{body[:-1]}, "chain": "{_digest(previous, body.encode())}"}}'


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
    damaged: bool = False  # it could not be read as it was written; ``reason`` says why

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


def read_evals(path: Path) -> tuple[list[StoredLine], int]:
    """The lines of an ``evals.jsonl`` and the length in bytes of its complete part; none where it is absent.

    A torn last line is left out: a process was killed while writing it.

    Raises:
        DamagedRecord: for a broken line that is not the last.
        Malformed: when it is not a regular file.
    """
    return read_lines(path, parse_line)


def read_timings(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of a ``timings.jsonl``; as :func:`read_evals`."""
    return read_lines(path, parse_timing)


def parse_timing(text: bytes, where: str) -> dict[str, Any]:
    """A line of ``timings.jsonl``; raises Malformed."""
    return checked_timing(parse_json(text, where), where)


def checked_timing(found: Any, where: str) -> dict[str, Any]:
    """Plain data as a line of ``timings.jsonl``; raises Malformed."""
    check(found, TIMING, where)
    return dict(found)


def check_chain(lines: Iterable[EvalLine]) -> str | None:
    """None when every seed's digest chain holds, else a sentence naming the first broken line."""
    last: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        expected = line.digest(last.get(line.seed, CHAIN_START))
        if line.chain != expected:
            return f"line {number} (seed {line.seed}): chain digest {line.chain!r}, expected {expected!r}"
        last[line.seed] = expected
    return None
