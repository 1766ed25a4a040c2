"""The run store: a directory that is the only truth about what was planned, claimed and done.

Several workers and several ``run`` processes may share one store. Claims are serialised by an advisory
lock on ``STORE/lock`` (flock; works on local file systems and on NFS version 4) and held by lease files
with a heartbeat (:mod:`rlnet_bench.runs.lease`), so that a dead worker's group is taken over. Imports without torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rlnet_bench.errors import BadInput, Malformed, StoreError, UnknownName
from rlnet_bench.reading.files import Absent, found_at, listing, read_bytes
from rlnet_bench.reading.names import plain_part
from rlnet_bench.runs.described import FILE as DESCRIPTION
from rlnet_bench.runs.files import DiskRefused, read_mapping, sweep, write_atomic, writing
from rlnet_bench.runs.lease import Clock, Lease, holder, take
from rlnet_bench.runs.plan import Group, Plan, read_plan
from rlnet_bench.runs.record_checks import read_run
from rlnet_bench.runs.record_files import read_status
from rlnet_bench.runs.records import DamagedRecord, RunRecord, run_id
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.trial import TIME, Declared, Trial, read_declared
from rlnet_bench.vocabulary import Status

FORMAT = 1
MAX_ATTEMPTS = 4  # without progress: the first and three retries
ENDED = ("ok", "diverged", "failed")


class Store:
    """A run store on disk. Reading never writes."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    # -- plans ---------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, root: str | Path) -> Store:
        """Open a store, making it where there is none.

        Raises:
            StoreError: when the path is a file, another kind of directory, or cannot be written.
        """
        store = cls(root)
        marker = store.root / "store.json"
        if not marker.exists():
            if store.root.exists() and (not store.root.is_dir() or not store._is_bare()):
                raise StoreError(f"{store.root}: expected a run store or an empty directory; choose another --store.")
            try:
                store.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{store.root}: cannot be made ({error.strerror}).") from None
            # First of all: whoever is killed in here, or comes at the same time, finds a store and no mystery.
            write_atomic(marker, json.dumps({"format": FORMAT}) + "\n")
        for name in ("runs", "suites"):
            with writing(store.root / name):
                (store.root / name).mkdir(exist_ok=True)
        return store.checked()

    def _is_bare(self) -> bool:
        """Nothing is here but, perhaps, what a killed :meth:`create` left; or what another one is making just now."""
        names = {path.name for path in self.root.iterdir()}
        return "store.json" in names or all(name.startswith(".store.json.") for name in names)

    def checked(self) -> Store:
        """This store, if it is one.

        Raises:
            StoreError: when it is not, or was written by a newer version.
        """
        marker = self.root / "store.json"
        if not marker.is_file():
            there = found_at(self.root, marker.name)
            raise Malformed(str(self.root), "a run store", there, "`rlnet-bench run SUITE` makes one.")
        found = read_mapping(marker).get("format")
        if found != FORMAT:
            raise StoreError(f"{self.root}: store format {found}, this version reads {FORMAT}.")
        return self

    def add_plan(self, plan: Plan) -> None:
        """Record a plan under its suite's name and version (replacing an older wording of it).

        Raises:
            BadInput: when runs of that name and version were begun under another trial.
        """
        self._refuse_other_trial(plan.suite)
        path = self.root / "suites" / f"{plan.suite.name}-v{plan.suite.version}.json"
        if plan.suite.trial and self.declared(plan.suite) is None:
            self.declare(plan.suite, _declared_now(self, plan, read_mapping(path).get("suite", {})))
        write_atomic(path, json.dumps(plan.to_json(), indent=1) + "\n")

    def _refuse_other_trial(self, suite: Suite) -> None:
        """A part of a suite has no trial of its own; every kept plan that has one must have this one."""
        for path in listing(self.root / "plans", ".json") if suite.trial else ():
            try:
                begun = read_mapping(path).get("suite", {})
                other = Trial.model_validate(begun["trial"]) if begun.get("trial") else None
            except (StoreError, ValidationError):
                continue  # a damaged plan says nothing
            is_same_suite = (begun.get("name"), begun.get("version")) == (suite.name, suite.version)
            if is_same_suite and other and (other, begun.get("test")) != (suite.trial, suite.test):
                raise BadInput(
                    f"{suite.name}-v{suite.version}: expected the trial and the test tasks under which its runs were "
                    f"begun, as in {path}, found others. A trial is written down before it is run: put the old one "
                    "back, or give the suite another `version` (runs are shared)."
                )

    def declared(self, suite: Suite) -> Declared | None:
        """When the trial of a suite entered this store; None where it did not."""
        found = read_declared(self._declared_file(suite))
        return found if found and found.is_of(suite.trial, suite.test) else None

    def declare(self, suite: Suite, declared: Declared) -> None:
        """Write down when the trial of a suite was declared."""
        path = self._declared_file(suite)
        with writing(path):
            path.parent.mkdir(exist_ok=True)
        write_atomic(path, declared.model_dump_json(indent=1) + "\n")

    def _declared_file(self, suite: Suite) -> Path:
        return self.root / "trials" / f"{suite.name}-v{suite.version}.json"

    def keep_plan(self, plan: Plan) -> str:
        """Record exactly this plan and return its digest: workers must not get a later wording of its name."""
        text = json.dumps(plan.to_json(), indent=1) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = self.root / "plans" / f"{digest}.json"
        if not path.exists():
            with writing(path):
                path.parent.mkdir(exist_ok=True)  # stores of older versions have none
            write_atomic(path, text)
        return digest

    def kept_plan(self, digest: str) -> Plan:
        """The plan of a digest that :meth:`keep_plan` returned; raises StoreError when it is not here."""
        path = self.root / "plans" / plain_part(f"{digest}.json", str(self.root / "plans"))
        try:
            return read_plan(path)
        except Absent:
            raise StoreError(f"{path}: no such plan; the same `rlnet-bench run` writes it again.") from None

    def plans(self) -> dict[str, Plan]:
        """Every recorded plan, by ``name-vN``; raises StoreError for one that is damaged."""
        return {f.stem: self._plan(f) for f in self._plan_files()}

    def _plan_files(self) -> list[Path]:
        return listing(self.root / "suites", ".json")

    def _plan(self, file: Path) -> Plan:
        found = read_plan(file)
        name = f"{found.suite.name}-v{found.suite.version}"
        if name != file.stem:
            raise Malformed(str(file), f"the plan of {file.stem}, as it is called", name)
        return found

    def suites(self) -> list[str]:
        """The recorded plans as ``name-vN``, the one that was planned last first."""
        files = self._plan_files()
        return [f.stem for f in sorted(files, key=lambda f: (f.stat().st_mtime_ns, f.stem), reverse=True)]

    def plan(self, suite: str | None = None) -> Plan:
        """The plan of a suite (``name`` or ``name-vN``); the newest (:meth:`suites`) by default.

        Raises:
            UnknownName, StoreError: when it is not there.
        """
        files = {f.stem: f for f in self._plan_files()}
        known = ", ".join(files) or "none"
        if suite is None:
            if not files:
                raise StoreError(f"{self.root}: expected a suite, found none: {self._unplanned()}")
            return self._plan(files[self.suites()[0]])
        matches = [f for name, f in files.items() if suite in (name, name.rpartition("-v")[0])]
        if not matches:
            raise UnknownName("suite", suite, files, hint=f"Suites in {self.root}: {known}.")
        return max(map(self._plan, matches), key=lambda p: p.suite.version)

    def _unplanned(self) -> str:
        """What there is in a store without plans."""
        runs = self.run_folders()
        if not runs:
            return "nothing was planned here."
        origins = (_read_or_empty(run / "provenance.json").get("adopted") for run in runs)
        adopted = Counter(str(o.get("from")) for o in origins if isinstance(o, dict))
        words = "".join(f", {n} of them adopted from {name}" for name, n in sorted(adopted.items()))
        return (
            f"it holds {len(runs)} runs of none{words}. `rlnet-bench store list` shows them; `rlnet-bench run SUITE` "
            "counts those of its suite as done."
        )

    def sweep(self) -> int:
        """Remove what processes that are gone left unfinished beside the plans; returns bytes."""
        return sum(sweep(self.root / name) for name in (".", "suites", "plans", "seed-plans", "trials", "runs"))

    # -- groups --------------------------------------------------------------------------------------------

    def folder(self, group: Group | str) -> Path:
        """The directory of a run."""
        return self.root / "runs" / (group if isinstance(group, str) else group.run_id)

    def status(self, group: Group) -> dict[str, Any]:
        """The stored status; ``missing`` when the group was never claimed, ``failed`` when it is damaged."""
        path = self.folder(group) / "status.json"
        absent = {"status": "missing", "seeds": {}, "attempts": 0, "reached": 0}
        try:
            found = read_status(path)
        except Absent:
            return absent
        except StoreError as error:
            reason = f"{error} Delete that file and run again: the records are kept."
            return {**absent, "status": "failed", "reason": reason}
        return {**absent, **found}

    def set_status(
        self,
        group: Group,
        status: Status,
        seeds: dict[int, Status] | None = None,
        **extra: Any,
    ) -> None:
        """Write status.json; keeps the count of attempts, and how far they came, unless told otherwise."""
        old = self.status(group)
        per_seed = seeds if seeds is not None else dict.fromkeys(group.config["seeds"], status)
        body = {
            "status": status,
            "seeds": {str(k): v for k, v in per_seed.items()},
            "attempts": old["attempts"],
            "reached": old["reached"],
        }
        write_atomic(self.folder(group) / "status.json", json.dumps({**body, **extra}, indent=1) + "\n")

    def claim(self, group: Group, clock: Clock = time.time) -> Lease | None:
        """Take a group, or None when it has ended or somebody alive holds it.

        A group whose workers died more often than the allowed retries becomes ``failed``. Only deaths without progress
        count: a checkpoint beyond that of the last claim starts the count again.
        """
        folder = self.folder(group)
        if self.status(group)["status"] in ENDED or self.holder(group, clock) is not None:
            return None  # without the lock, which many workers share
        with self.locked():
            status = self.status(group)
            if status["status"] in ENDED or self.holder(group, clock) is not None:
                return None
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            if group.described and _read_or_empty(folder / DESCRIPTION) != group.described:  # absent, or damaged
                write_atomic(folder / DESCRIPTION, json.dumps(group.described, indent=1) + "\n")
            if run_id(_read_or_empty(folder / "config.json")) != group.run_id:
                write_atomic(folder / "config.json", json.dumps(group.config, indent=1) + "\n")
            sweep(folder)
            lost = _read_or_empty(folder / "lease.json").get("owner")
            if lost:
                note = (
                    f"{time.strftime('%Y-%m-%d %H:%M:%S')} lost: worker {lost} died in attempt {status['attempts']}\n"
                )
                with contextlib.suppress(OSError), (folder / "log.txt").open("a", encoding="utf-8") as log:
                    log.write(note)
            reached = _reached(folder)
            attempts = 1 if reached > status["reached"] else status["attempts"] + 1
            if attempts > MAX_ATTEMPTS:
                reason = (
                    f"its worker died {status['attempts']} times without a new checkpoint; see "
                    f"`rlnet-bench logs {group.run_id}`"
                )
                self.set_status(group, "failed", reason=reason)
                with writing(folder):
                    (folder / "lease.json").unlink(missing_ok=True)
                return None
            lease = take(folder / "lease.json", clock)
            try:
                self.set_status(group, "running", attempts=attempts, reached=reached)
            except StoreError:  # a full disk: nobody works on the group
                lease.release()
                raise
        return lease

    def holder(self, group: Group, clock: Clock = time.time) -> str | None:
        """Who holds a live lease on a group, or None."""
        return holder(self.folder(group) / "lease.json", clock)

    def forgive(self, group: Group) -> None:
        """Leaving cleanly is no failed attempt: take it off the count of a group that is not over."""
        status = self.status(group)
        if status["status"] == "running":
            self.set_status(group, "running", attempts=max(0, status["attempts"] - 1))

    def retry(self, group: Group) -> bool:
        """Give a failed group its attempts back; False when it has not failed. Its records and log are kept."""
        with self.locked():
            if self.status(group)["status"] != "failed":
                return False
            write_atomic(
                self.folder(group) / "status.json",
                json.dumps({"status": "running", "seeds": {}, "attempts": 0, "reached": 0}, indent=1) + "\n",
            )
        return True

    def last_lines(self, group: Group, count: int = 6) -> list[str]:
        """The end of a group's log."""
        try:
            data = read_bytes(self.folder(group) / "log.txt")
        except StoreError:
            return []
        return data.decode(errors="replace").splitlines()[-count:]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock: while it is held, nobody claims a group or tries one again."""
        try:
            handle = (self.root / "lock").open("a")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise DiskRefused(
                f"{self.root}: cannot be written ({error.strerror}); a store needs write access."
            ) from None
        with handle:
            yield

    def run_folders(self) -> list[Path]:
        """The directories of all runs, whatever plan they belong to, by name."""
        try:
            with os.scandir(self.root / "runs") as entries:
                return [Path(e.path) for e in sorted(entries, key=lambda e: e.name) if e.is_dir() and e.name[0] != "."]
        except FileNotFoundError:  # whoever made the store was killed at once
            return []

    # -- reading -------------------------------------------------------------------------------------------

    def record(self, group: Group) -> RunRecord | None:
        """The record of a group under the label of its plan, verified, or None when it never started.

        Raises:
            StoreError: when it is damaged or its parts do not agree.
        """
        folder = self.folder(group)
        if not os.path.lexists(folder / "status.json"):
            if os.path.lexists(folder / "evals.jsonl"):
                lost = folder / "status.json"
                raise DamagedRecord(f"{lost}: gone, though there are records; `rlnet-bench run` makes it again.")
            return None
        record = read_run(folder, group.run_id)
        return replace(record, config={**record.config, "label": group.label})


def _declared_now(store: Store, plan: Plan, before: dict[str, Any]) -> Declared:
    """The declaration of a trial that was not written down yet; of an older plan with it nobody knows when it came."""
    suite = plan.suite
    assert suite.trial is not None
    if before.get("trial") == suite.trial.model_dump() and before.get("test") == suite.test:
        return Declared(trial=suite.trial, test=suite.test)
    states = [(store.status(g)["status"], len(g.config["seeds"])) for g in plan.groups]
    return Declared(
        trial=suite.trial, test=suite.test, at=time.strftime(TIME),
        begun=sum(n for status, n in states if status != "missing"),
        ended=sum(n for status, n in states if status in ENDED),
    )  # fmt: skip


def _reached(folder: Path) -> int:
    """Frames of the newest checkpoint of a run; 0 without any."""
    return max((int(p.name) for p in folder.glob("checkpoints/[0-9]*") if p.name.isdecimal()), default=0)


def _read_or_empty(path: Path) -> dict[str, Any]:
    try:
        return read_mapping(path)
    except StoreError:
        return {}
