"""``store compact``: one index file per store, so that 100,000 records list and aggregate in seconds.

``STORE/index.jsonl`` has a line per ended group with the mean return and success of every seed. It is a
cache: it can be deleted, it is made again from the records, and a line counts only while the group's
``status.json`` and ``evals.jsonl`` are those from which it was made. Imports without torch.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.files import read_bytes
from rlnet_bench.reading.names import checked_name, plain_part
from rlnet_bench.reading.plain import parse_json, parse_signed, signed
from rlnet_bench.reading.shapes import Each, check
from rlnet_bench.runs.files import remove, write_atomic
from rlnet_bench.runs.indexed import score_key
from rlnet_bench.runs.record_checks import read_run
from rlnet_bench.runs.record_files import DIVERGENCE, PROVENANCE, SEALED, STATUS, read_status
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.store import ENDED, Store

if TYPE_CHECKING:
    import pandas

FORMAT = 4
INDEX = "index.jsonl"
LINE = {
    "run_id": str, "stamp": [int], "status": ENDED, "method": checked_name, "task": checked_name, "frames": int,
    "seeds": STATUS["seeds"], "reason": str, "divergences": [DIVERGENCE], "provenance": PROVENANCE,
    "scores": Each([float]),
}  # fmt: skip


@dataclass(frozen=True)
class Compacted:
    """What :func:`compact` did."""

    groups: int
    records: int  # one per seed
    made: int  # groups that were read anew
    bytes: int  # of the index
    freed: int  # bytes of abandoned files that were removed


def stamp(folder: Path) -> list[int]:
    """What changes whenever something is written of which a line of the index is made; OSError without a status."""
    found: list[int] = []
    for name in ("status.json", "config.json", "evals.jsonl", *SEALED):
        try:
            now = (folder / name).stat()
        except FileNotFoundError:
            if name == "status.json":
                raise
            found += [0, 0]  # it failed before its first evaluation, say
            continue
        found += [now.st_mtime_ns, now.st_size]
    return found


def compact(store: Store) -> Compacted:
    """Write the index and remove what killed processes left behind. Lines that are still true are kept.

    Raises:
        StoreError: when the disk refuses; the old index is untouched.
    """
    old = {line["run_id"]: line for line in fresh_lines(store)}
    texts, made, records, freed = [], 0, 0, store.sweep()
    for folder in store.run_folders():
        try:
            now = stamp(folder)
            line = old.get(folder.name)
            if line is None:
                line = _line(folder, now)
                made += 1
        except (OSError, StoreError):
            continue  # damaged: `store check` says how; it is read from its own files, as without an index
        if line is None:
            continue
        freed += _sweep(store, folder)
        records += len(line["seeds"])
        texts.append(signed(line))
    body = "\n".join([json.dumps({"format": FORMAT}), *texts]) + "\n"
    write_atomic(store.root / INDEX, body)
    return Compacted(len(texts), records, made, len(body), freed)


def _line(folder: Path, now: list[int]) -> dict[str, Any] | None:
    """The line of a group, whose record is verified; None while it goes on."""
    status = read_status(folder / "status.json")
    if status["status"] not in ENDED:
        return None
    record = read_run(folder, folder.name)
    return {
        "run_id": folder.name, "stamp": now, "status": status["status"], "method": record.method,
        "task": record.task, "frames": record.config["frames"], "seeds": status["seeds"],
        "reason": record.reason, "divergences": list(record.divergences), "provenance": record.provenance,
        "scores": end_scores(record),
    }  # fmt: skip


def end_scores(record: RunRecord) -> dict[str, list[float]]:
    """Mean return and success of every end (not of the curve), by :func:`~rlnet_bench.runs.indexed.score_key`."""
    ends = [e for e in record.evals if e.kind != "curve"]
    scores = {score_key(e.seed, e.kind, e.mode): record.score(e.kind, e.mode, e.seed) for e in ends}
    return {key: list(score) for key, score in scores.items() if score is not None}


def _parse(text: bytes, where: str) -> dict[str, Any]:
    """A line of the index as it was written; raises Malformed."""
    line = parse_signed(text, where)
    check(line, LINE, where)
    return dict(line)


def _sweep(store: Store, folder: Path) -> int:
    """Remove temporary files of an ended group, and checkpoints where nothing goes on from them; returns bytes.

    A failed group keeps its checkpoints: `resume --retry-failed` goes on from the newest.
    """
    if not any(folder.glob(".*")) and not any(folder.glob("checkpoints/*")):
        return 0  # without the lock, which workers share
    freed = 0
    with store.locked(), contextlib.suppress(OSError, StoreError):
        status = read_status(folder / "status.json")["status"]  # again: meanwhile, somebody may have retried it
        if status not in ENDED:
            return 0
        over = "checkpoints/.*" if status == "failed" else "checkpoints/*"  # a dot: its writer was killed
        for path in [*folder.glob(".*"), *folder.glob(over)]:
            freed += remove(path)
        if status != "failed":
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return freed


def _lines(store: Store) -> Iterator[dict[str, Any]]:
    """Lines of the index that are as they were written; none without an index of this version."""
    try:
        head, *texts = read_bytes(store.root / INDEX).splitlines()
        if parse_json(head, INDEX) != {"format": FORMAT}:
            return
    except (StoreError, ValueError):
        return
    for text in texts:
        with contextlib.suppress(StoreError):  # the group is read from its own files instead
            line = _parse(text, INDEX)
            plain_part(line["run_id"], INDEX)
            yield line


def fresh_lines(store: Store) -> Iterator[dict[str, Any]]:
    """Lines of the index that are as they were written and still true."""
    for line in _lines(store):
        with contextlib.suppress(OSError):
            if stamp(store.folder(line["run_id"])) == line["stamp"]:
                yield line


def lost_runs(store: Store, among: Iterable[str] | None = None) -> dict[str, str]:
    """A sentence by run id for every run of the index (among these, where given) of which nothing is left."""
    absent = {run for run in among if not store.folder(run).exists()} if among is not None else None
    if absent is not None and not absent:
        return {}
    return {
        line["run_id"]: f"runs/{line['run_id']}: gone, though index.jsonl has it; `rlnet-bench run` makes it again."
        for line in _lines(store)
        if (line["run_id"] in absent if absent is not None else not store.folder(line["run_id"]).exists())
    }


def read_index(store: Store) -> dict[str, dict[str, Any]]:
    """Fresh lines of the index by run id: a stale line (its group was tried again) is left out."""
    return {line["run_id"]: line for line in fresh_lines(store)}


def index_frame(store: Store) -> pandas.DataFrame:
    """Tidy DataFrame of an index: a row per group, seed, kind and mode (diverged seeds have no scores)."""
    import pandas as pd

    rows = [
        (x["method"], x["task"], int(seed), kind, mode, x["frames"], score[0], score[1], x["status"], x["run_id"])
        for x in read_index(store).values()
        for key, score in x["scores"].items()
        for seed, kind, mode in (key.split("/"),)
    ]
    columns = ["method", "task", "seed", "kind", "mode", "frames", "return", "success", "status", "run_id"]
    return pd.DataFrame(rows, columns=columns)
