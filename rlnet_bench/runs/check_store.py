"""``store check``: verify everything that a store holds. Reads only, and imports without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.files import listing
from rlnet_bench.runs.ablations import read_ablations
from rlnet_bench.runs.compact import end_scores, fresh_lines, lost_runs
from rlnet_bench.runs.described import FILE as DESCRIPTION
from rlnet_bench.runs.lease import Clock, read_lease
from rlnet_bench.runs.plan import Group, read_plan
from rlnet_bench.runs.record_checks import (
    ENDS,
    Marks,
    hidden,
    marks,
    problems,
    read_record,
    twins,
    unsealed,
    weights_problems,
)
from rlnet_bench.runs.record_files import read_config, read_policy, read_saved, read_status, torn_after
from rlnet_bench.runs.records import RunRecord, read_timings
from rlnet_bench.runs.segments import ROWS, verify
from rlnet_bench.runs.store import ENDED, Store


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
    """Verify ids, statuses, digest chains, ablations, saved weights, leases, checkpoints, plans and the index."""
    problems: list[str] = []
    notes: list[str] = []
    lines = 0
    index = {line["run_id"]: line for line in fresh_lines(store)}
    folders = store.run_folders()
    cells: dict[str, list[Marks]] = {}
    for folder in folders:
        checker = _Run(store, folder, clock, index.get(folder.name))
        for kind, sentence in checker.findings():
            (problems if kind == "problem" else notes).append(f"{folder.name}: {sentence}")
        lines += checker.lines
        if checker.cell:
            cells.setdefault(checker.cell, []).append(checker.marks)
    for cell, found in cells.items():
        again = twins(found)
        if again and not any(twins([one]) for one in found):  # else the record has been named for it
            problems.append(f"{cell.partition(chr(10))[0]}: {again}")
    problems += lost_runs(store).values()
    known: set[str] = set()
    for file in [*listing(store.root / "suites"), *listing(store.root / "plans")]:
        try:
            known |= {g.run_id for g in read_plan(file).groups}
        except StoreError as error:
            problems.append(str(error))
    unknown = [f.name for f in folders if f.name not in known]
    if unknown:
        notes.append(f"{len(unknown)} runs belong to no suite of this store, the first of them {unknown[0]}")
    return StoreReport(len(folders), lines, tuple(problems), tuple(notes))


Finding = tuple[str, str]


def _cell(record: RunRecord) -> str:
    """What a group is a part of: method and task, then everything else of its configuration but the seeds."""
    shared = {k: v for k, v in record.config.items() if k not in ("seeds", "label")}
    return f"{record.method} on {record.task}\n{json.dumps(shared, sort_keys=True)}"


class _Run:
    """One run directory under test."""

    def __init__(self, store: Store, folder: Path, clock: Clock | None, indexed: Mapping[str, Any] | None) -> None:
        self.store, self.folder, self.clock, self.indexed = store, folder, clock, indexed
        self.lines = 0
        self.cell, self.marks = (
            "",
            Marks(),
        )  # of an ended group: everything that its runs share, and what tells them apart

    def findings(self) -> Iterator[Finding]:
        """("problem" or "note", sentence) for everything that is not as it should be."""
        if not any(os.path.lexists(self.folder / name) for name in ("status.json", "evals.jsonl")):
            if any(p.name not in ("config.json", "lease.json", DESCRIPTION) for p in self.folder.glob("[!.]*")):
                yield "problem", "status.json: gone, and these are no files of a run that was only begun"
            else:
                yield "note", "its worker ended before it began; the next one begins"
            return
        try:
            config, status = read_config(self.folder / "config.json"), read_status(self.folder / "status.json")
        except StoreError as error:
            yield "problem", str(error)
            return
        state, group = status["status"], Group(self.folder.name, config)
        held = self.store.holder(group, self.clock) if self.clock else self.store.holder(group)
        yield from self._lease(state, held)
        if held is not None:
            return  # files are being written this very moment
        yield from self._record(state)
        yield from self._checkpoints(state)
        leftovers = [p.name for p in self.folder.glob(".*") if p.is_file()]
        if leftovers:
            yield "note", f"{len(leftovers)} temporary files of a killed process; `store compact` removes them"

    def _lease(self, state: str, held: str | None) -> Iterator[Finding]:
        path = self.folder / "lease.json"
        if not path.exists():
            return
        try:
            owner = read_lease(path).get("owner", "nobody")
        except StoreError as error:
            yield "note", f"{error} The group counts as free."
            return
        if state in ENDED:
            yield "note", f"it has ended, and a lease of {owner} is left over"
        elif held is None:
            yield "note", f"its worker {owner} is dead; `rlnet-bench resume` goes on with it"

    def _record(self, state: str) -> Iterator[Finding]:
        try:
            record, torn = read_record(self.folder, self.folder.name)
            self.lines = len(record.evals)
            if torn:  # while a group goes on, a torn line is cut and made again; in one that has ended it is a loss
                yield ("problem" if state in ENDS else "note"), f"evals.jsonl: {torn}"
            torn = torn_after(self.folder / "timings.jsonl", read_timings(self.folder / "timings.jsonl")[1])
            if torn:
                yield "note", f"timings.jsonl: {torn}"
            for line in record.evals:  # every number is looked at
                assert len(line.team) == len(line.success) == len(line.length)
            found = list(dict.fromkeys([*problems(record), *hidden(record), *unsealed(self.folder)]))
            if not found:
                found += self._ended(record, state)
            if state in ENDS:
                self.cell, self.marks = _cell(record), marks(record)
        except StoreError as error:
            yield "problem", str(error)
            return
        yield from (("problem", sentence) for sentence in found)

    def _ended(self, record: RunRecord, state: str) -> Iterator[str]:
        if state in ENDS:
            read_policy(self.folder / "policies" / "policy.json")
            read_ablations(self.folder)
            yield from weights_problems(record, self.folder)
        if self.indexed is not None and self.indexed["scores"] != end_scores(record):
            yield "its scores in index.jsonl are not those of its lines; `store compact` makes the index again"

    def _checkpoints(self, state: str) -> Iterator[Finding]:
        whole = damaged = 0
        for path in [p for p in listing(self.folder / "checkpoints") if p.name.isdigit()]:
            try:
                verify(path.parent / ROWS, read_saved(path).rows)
                whole += 1
            except StoreError:
                damaged += 1
                yield "note", f"checkpoint {path.name} is damaged; the one before is used"
        if damaged and not whole and state not in ENDED:
            yield "note", "no checkpoint is whole: the group starts again, and its lines must come out the same"
