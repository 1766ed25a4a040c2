"""``store compact``: one index file per store, so that 100,000 records list and aggregate in seconds.

``STORE/index.jsonl`` has a line per ended group with the mean return and success of every seed. It is a
cache: it can be deleted, it is made again from the records, and a line counts only while the group's
``status.json`` and ``evals.jsonl`` are those from which it was made. Imports without torch.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.files import read_json, remove, write_atomic
from rlnet_bench.runs.indexed import score_key
from rlnet_bench.runs.records import EvalLine, RunRecord, read_lines
from rlnet_bench.runs.store import ENDED, Store

if TYPE_CHECKING:
    import pandas

FORMAT = 2
INDEX = "index.jsonl"


@dataclass(frozen=True)
class Compacted:
    """What :func:`compact` did."""

    groups: int
    records: int  # one per seed
    made: int  # groups that were read anew
    bytes: int  # of the index
    freed: int  # bytes of abandoned files that were removed


def stamp(folder: Path) -> list[int]:
    """What changes whenever a group's status or its evaluations are written; raises OSError without a status."""
    found = (folder / "status.json").stat()
    try:
        evals = (folder / "evals.jsonl").stat()
    except FileNotFoundError:  # it failed before its first evaluation
        return [found.st_mtime_ns, found.st_size]
    return [found.st_mtime_ns, found.st_size, evals.st_mtime_ns, evals.st_size]


def compact(store: Store) -> Compacted:
    """Write the index and remove what killed processes left behind. Lines that are still true are kept.

    Raises:
        StoreError: when the disk refuses; the old index is untouched.
    """
    old = {line["run_id"]: line for line in _lines(store)}
    texts, made, records, freed = [], 0, 0, store.sweep()
    for folder in store.run_folders():
        try:
            now = stamp(folder)
            line = old.get(folder.name)
            if line is None or line["stamp"] != now:
                line = _line(folder, now)
                made += 1
        except (OSError, StoreError, KeyError, TypeError, ValueError):
            continue  # damaged: `store check` says how; it is read from its own files, as without an index
        if line is None:
            continue
        freed += _sweep(store, folder)
        records += len(line["seeds"])
        texts.append(json.dumps(line, separators=(",", ":")))
    body = "\n".join([json.dumps({"format": FORMAT}), *texts]) + "\n"
    write_atomic(store.root / INDEX, body)
    return Compacted(len(texts), records, made, len(body), freed)


def _line(folder: Path, now: list[int]) -> dict[str, Any] | None:
    """The line of a group; None while it goes on."""
    status, config = read_json(folder / "status.json"), read_json(folder / "config.json")
    if status.get("status") not in ENDED:
        return None
    raw, _ = read_lines(folder / "evals.jsonl")
    ends = tuple(EvalLine.from_json(x) for x in raw if x["kind"] != "curve")
    record = RunRecord(folder.name, config, status["status"], {}, ends)
    return {
        "run_id": folder.name, "stamp": now, "status": status["status"], "method": config["label"],
        "task": config["task"], "frames": config["frames"], "seeds": status["seeds"],
        "reason": status.get("reason", ""), "divergences": status.get("divergences", []),
        "provenance": read_json(folder / "provenance.json"),
        "scores": {score_key(e.seed, e.kind, e.mode): record.score(e.kind, e.mode, e.seed) for e in ends},
    }  # fmt: skip


def _sweep(store: Store, folder: Path) -> int:
    """Remove temporary files of an ended group, and checkpoints where nothing goes on from them; returns bytes.

    A failed group keeps its checkpoints: `resume --retry-failed` goes on from the newest.
    """
    if not any(folder.glob(".*")) and not any(folder.glob("checkpoints/*")):
        return 0  # without the lock, which workers share
    freed = 0
    with store.locked(), contextlib.suppress(OSError, StoreError):
        status = read_json(folder / "status.json").get("status")  # again: meanwhile, somebody may have retried it
        if status not in ENDED:
            return 0
        over = "checkpoints/.*" if status == "failed" else "checkpoints/*"  # a dot: its writer was killed
        for path in [*folder.glob(".*"), *folder.glob(over)]:
            freed += remove(path)
        if status != "failed":
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return freed


def _lines(store: Store) -> Iterator[dict[str, Any]]:
    """The lines of the index; none when there is no index, or one of another version."""
    try:
        lines, _ = read_lines(store.root / INDEX)
    except StoreError:
        return
    if lines and lines[0].get("format") == FORMAT:
        yield from lines[1:]


def read_index(store: Store) -> dict[str, dict[str, Any]]:
    """Fresh lines of the index by run id: a stale line (its group was tried again) is left out."""
    fresh = {}
    for line in _lines(store):
        try:
            if stamp(store.folder(line["run_id"])) == line["stamp"]:
                fresh[line["run_id"]] = line
        except OSError:
            continue
    return fresh


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
