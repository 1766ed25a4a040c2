"""``store adopt``: what was published counts as done wherever the run id is the same. Imports without torch.

A publication is read and verified as always (chains, run ids, ``suite.json``); each of its groups becomes a run
directory of the store, whose provenance says from where. So work outlives a session: ``publish --finished``, and later,
on any machine, ``store adopt`` and ``run``. The records of one suite serve another in which the same run occurs.

A publication holds the best weights of every seed at most. An adopted run has those
(``policies/best.seed<n>.safetensors``) and the median seed's recorded episode, under the names that ``publish`` looks
for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.reading.files import read_bytes
from rlnet_bench.runs.described import FILE as DESCRIPTION
from rlnet_bench.runs.files import put_in_place, remove, writing
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.process import signature
from rlnet_bench.runs.published import Publication, episode_file, median_seed, published_weights, read_published
from rlnet_bench.runs.record_files import SEALED, adopted_episode, adopted_weights, seal
from rlnet_bench.runs.records import RunRecord, StoredLine
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.trial import Declared, when


@dataclass(frozen=True)
class Adopted:
    """What :func:`adopt` did: groups by run id."""

    taken: tuple[str, ...]
    here: tuple[str, ...]  # had ended in this store already
    held: tuple[str, ...]  # somebody works on them just now
    open: tuple[str, ...]  # not finished there, either


def adopt(store: Store, source: Path) -> Adopted:
    """Make run directories of a publication's finished groups. One that was begun here and has not ended is replaced.

    Raises:
        StoreError: naming what is damaged or was changed; then nothing is adopted.
    """
    found = read_published(source)
    kept = {run: files for cell in found.cells() for run, files in _kept(source, found, cell)}
    taken, here, held = [], [], []
    for record in found.finished:
        group = Group(record.run_id, record.config)
        with store.locked():
            if store.status(group)["status"] in ("ok", "diverged"):
                here.append(group.run_id)
            elif store.holder(group) is not None:
                held.append(group.run_id)
            else:
                _write(store.folder(group), {**_texts(record, found, source), **kept.get(record.run_id, {})})
                taken.append(group.run_id)
    _adopt_trial(store, found)
    return Adopted(tuple(taken), tuple(here), tuple(held), tuple(found.open))


def _adopt_trial(store: Store, found: Publication) -> None:
    """When its trial was declared: what is not recorded stays so, else the earlier of two times counts."""
    suite = found.plan.suite
    if suite.trial is None:
        return
    theirs, ours = found.declared or Declared(trial=suite.trial, test=suite.test), store.declared(suite)
    first, second = when(theirs.at), when(ours.at) if ours else None
    if ours is None or first is None or (second is not None and first < second):
        store.declare(suite, theirs)


def _kept(source: Path, found: Publication, cell: Sequence[RunRecord]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(run id, files by name) of a cell's runs, as far as they were published; verified."""
    median = median_seed(cell, found.plan.suite.evaluation.primary)
    for record in cell:
        files = {}
        for seed in record.seeds:
            weights = published_weights(source, record, seed)
            if weights is not None:
                files[str(adopted_weights(Path(), seed))] = read_bytes(weights)
        episode = episode_file(source, record.method, record.task)
        if median is not None and record is median[1] and episode.exists():
            files[str(adopted_episode(Path(), median[0]))] = read_bytes(episode)
        yield record.run_id, files


def _texts(record: RunRecord, found: Publication, source: Path) -> dict[str, bytes]:
    """The files of a run directory by name."""
    suite = found.plan.suite
    origin = {"suite": f"{suite.name}-v{suite.version}", "from": source.name, "sha256": found.digests[record.run_id]}
    status = {
        "status": record.status, "seeds": {str(k): v for k, v in record.seed_status.items()}, "attempts": 0,
        "reached": 0, "divergences": list(record.divergences),
    }  # fmt: skip
    policy = found.policies[record.run_id]
    described = next(g.described for g in found.plan.groups if g.run_id == record.run_id)
    files = {
        "config.json": _json(record.config),
        "provenance.json": _json({**record.provenance, "adopted": origin}),
        "evals.jsonl": b"".join(e.text + b"\n" for e in record.evals if isinstance(e, StoredLine)),
        "timings.jsonl": b"".join(json.dumps(timing).encode() + b"\n" for timing in record.timings),
        **({"policies/policy.json": _json(policy)} if policy else {}),
        **({DESCRIPTION: _json(described)} if described else {}),
    }
    sealed = {name: seal(files[name]) for name in SEALED if name in files}
    return {**files, "status.json": _json({**status, "sealed": sealed})}


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """A run directory, made aside and put in place whole."""
    made = folder.with_name(f".{folder.name}{signature()}")
    try:
        for name, data in files.items():
            file = made / name
            with writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as handle:
                    handle.write(data)
                    handle.flush()
                    os.fsync(handle.fileno())
        put_in_place(made, folder)
    finally:
        if made.exists():
            remove(made)
