"""``store check``: verify everything that a store holds. Reads only, and imports without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import RlnetError, StoreError
from rlnet_bench.runs.files import read_json
from rlnet_bench.runs.lease import Clock
from rlnet_bench.runs.plan import Group, run_id
from rlnet_bench.runs.records import EvalLine, check_chain, read_lines
from rlnet_bench.runs.segments import ROWS, digest, verify
from rlnet_bench.runs.store import ENDED, Store
from rlnet_bench.vocabulary import MODES

STATUSES = ("running", *ENDED)


@dataclass(frozen=True)
class StoreReport:
    """What :func:`check_store` found."""

    runs: int
    lines: int
    problems: tuple[str, ...]  # something was lost or changed
    notes: tuple[str, ...]  # left over by killed workers; the next worker deals with it

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"runs": self.runs, "lines": self.lines, "problems": list(self.problems), "notes": list(self.notes)}


def check_store(store: Store, clock: Clock | None = None) -> StoreReport:
    """Verify ids, statuses, digest chains, saved weights, leases and checkpoints of every run."""
    problems: list[str] = []
    notes: list[str] = []
    lines = 0
    folders = store.run_folders()
    for folder in folders:
        checker = _Run(store, folder, clock)
        for kind, sentence in checker.findings():
            (problems if kind == "problem" else notes).append(f"{folder.name}: {sentence}")
        lines += checker.lines
    problems += _plans(store)
    return StoreReport(len(folders), lines, tuple(problems), tuple(notes))


def _plans(store: Store) -> Iterator[str]:
    for file in sorted((store.root / "suites").glob("*.json")):
        try:
            groups = read_json(file)["groups"]
            yield from (
                f"{file.name}: group {g['run_id']} is not the sha256 of its configuration, {run_id(g['config'])}"
                for g in groups
                if run_id(g["config"]) != g["run_id"]
            )
        except (StoreError, KeyError, TypeError) as error:
            yield f"{file.name}: not a readable plan ({error})"


Finding = tuple[str, str]


class _Run:
    """One run directory under test."""

    def __init__(self, store: Store, folder: Path, clock: Clock | None) -> None:
        self.store, self.folder, self.clock = store, folder, clock
        self.lines = 0

    def findings(self) -> Iterator[Finding]:
        """("problem" or "note", sentence) for everything that is not as it should be."""
        try:
            config = read_json(self.folder / "config.json")
            status = read_json(self.folder / "status.json")
        except StoreError as error:
            yield "problem", str(error)
            return
        if not config:
            yield "problem", "config.json is missing"
            return
        if run_id(config) != self.folder.name:
            yield "problem", f"config.json was changed: its sha256 is {run_id(config)}"
        state = status.get("status")
        if state not in STATUSES:
            yield "problem", f"status {state!r}, expected one of {', '.join(STATUSES)}"
            return
        group = Group(self.folder.name, config)
        held = self.store.holder(group, self.clock) if self.clock else self.store.holder(group)
        yield from self._lease(state, held)
        if held is not None:
            return  # files are being written this very moment
        yield from self._evals(config, status)
        yield from self._torn("timings.jsonl", "note")
        yield from self._checkpoints(state)
        leftovers = [p.name for p in self.folder.glob(".*") if p.is_file()]
        if leftovers:
            yield "note", f"{len(leftovers)} temporary files of a killed process; `store compact` removes them"

    def _lease(self, state: str, held: str | None) -> Iterator[Finding]:
        path = self.folder / "lease.json"
        if not path.exists():
            return
        try:
            owner = read_json(path).get("owner", "nobody")
        except StoreError as error:
            yield "note", f"{error} The group counts as free."
            return
        if state in ENDED:
            yield "note", f"it has ended, and a lease of {owner} is left over"
        elif held is None:
            yield "note", f"its worker {owner} is dead; `rlnet-bench resume` goes on with it"

    def _torn(self, name: str, kind: str) -> Iterator[Finding]:
        path = self.folder / name
        try:
            _, good = read_lines(path)
        except StoreError as error:
            yield "problem", str(error)
            return
        if path.exists() and path.stat().st_size != good:
            yield kind, f"{name}: the last line is torn after byte {good}"

    def _evals(self, config: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Finding]:
        path, ended = self.folder / "evals.jsonl", status["status"] in ("ok", "diverged")
        try:
            raw, _ = read_lines(path)
            broken = check_chain(raw)
            lines = [EvalLine.from_json(x) for x in raw]
        except RlnetError as error:
            yield "problem", str(error)
            return
        except (KeyError, ValueError, TypeError) as error:
            yield "problem", f"evals.jsonl: a line is malformed ({type(error).__name__}: {error})"
            return
        self.lines = len(lines)
        # While a group goes on, a torn line is cut and made again; in one that has ended it is a loss.
        yield from self._torn("evals.jsonl", "problem" if ended else "note")
        if broken:
            yield "problem", f"evals.jsonl: {broken}; it was changed after it was written"
        if not ended:
            return
        healthy = [s for s in config["seeds"] if status["seeds"].get(str(s)) == "ok"]
        have = {(x.seed, x.kind, x.mode) for x in lines}
        missing = [(s, k, m) for s in healthy for k in ("final", "absolute") for m in MODES if (s, k, m) not in have]
        if missing:
            yield (
                "problem",
                f"evals.jsonl: {len(missing)} lines are missing, the first of (seed, kind, mode) {missing[0]}",
            )
        yield from self._weights(config, [x for x in lines if x.seed in healthy])

    def _weights(self, config: Mapping[str, Any], lines: list[EvalLine]) -> Iterator[Finding]:
        for which, kind in (("final", "final"), ("best", "absolute")):
            wanted = {x.seed: x.weights for x in lines if x.kind == kind and x.weights != "-"}
            if not wanted:
                continue
            try:
                found = weights_digests(self.folder / "policies" / f"{which}.safetensors", len(config["seeds"]))
            except Exception as error:  # whatever is wrong with the file
                yield "problem", f"policies/{which}.safetensors: missing or damaged ({error})"
                continue
            for k, seed in enumerate(config["seeds"]):
                if seed in wanted and wanted[seed] != found[k]:
                    yield "problem", f"policies/{which}.safetensors: seed {seed} is not what was evaluated"

    def _checkpoints(self, state: str) -> Iterator[Finding]:
        whole = damaged = 0
        for path in sorted(self.folder.glob("checkpoints/[0-9]*")):
            try:
                body = json.loads((path / "state.json").read_text())
                good = body["sha256"] == digest(path / "state.safetensors")
                verify(path.parent / ROWS, body.get("rows", []))
            except (OSError, ValueError, KeyError):
                good = False
            whole, damaged = whole + good, damaged + (not good)
            if not good:
                yield "note", f"checkpoint {path.name} is damaged; the one before is used"
        if damaged and not whole and state not in ENDED:
            yield "note", "no checkpoint is whole: the group starts again, and its lines must come out the same"


def weights_digests(file: Path, replicas: int) -> list[str]:
    """The digest of every replica's slice of stacked weights, as the run loop makes it."""
    from safetensors.numpy import load_file

    weights = load_file(file)
    digests = []
    for k in range(replicas):
        total = hashlib.sha256()
        for name in sorted(weights):
            rows = len(weights[name]) // replicas
            total.update(name.encode() + weights[name][k * rows : (k + 1) * rows].tobytes())
        digests.append(total.hexdigest()[:16])
    return digests
