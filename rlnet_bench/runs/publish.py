"""Write the published form of a suite (:mod:`rlnet_bench.runs.published` says what that is)."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.files import read_bytes
from rlnet_bench.runs.described import code_of
from rlnet_bench.runs.files import put_in_place, read_mapping, sweep, write_atomic, writing
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.process import signature
from rlnet_bench.runs.published import (
    FORMAT,
    SEED_PLAN,
    SUITE,
    TRIAL,
    cells,
    episode_file,
    is_published,
    median_seed,
    read_published,
    records_file,
    weights_file,
)
from rlnet_bench.runs.record_checks import ENDS, copies, weights_problems
from rlnet_bench.runs.record_files import adopted_episode, adopted_weights, read_policy, read_provenance
from rlnet_bench.runs.records import RunRecord, read_evals, read_timings
from rlnet_bench.runs.store import Store


def publish(store: Store, plan: Plan, out: Path, *, weights: bool = True, finished: bool = False) -> list[Path]:
    """Write the published form of a suite; returns the files.

    It is written beside the place where it belongs and read back before it takes that place: what is published
    already survives whatever goes wrong, and what is published can be read.

    Args:
        store: where its runs are.
        plan: the suite's.
        out: the folder of published results.
        weights: also the best ones of every seed; without them only their digests.
        finished: also a suite of which only some groups have ended; ``suite.json`` declares the others as open.

    Raises:
        StoreError: naming the groups that have not ended, or what was damaged or changed.
    """
    states = {g.run_id: store.status(g)["status"] for g in plan.groups}
    missing = {run: status for run, status in states.items() if status not in ENDS}
    if missing and (not finished or len(missing) == len(states)):
        names = "; ".join(g.describe() for g in plan.groups if g.run_id in missing)
        some = "" if len(missing) == len(states) else "; --finished publishes the others"
        raise StoreError(f"{plan.suite.name}: not finished: {names}. `rlnet-bench resume` goes on{some}.")
    records = _verified(store, [g for g in plan.groups if g.run_id not in missing], plan)
    name = f"{plan.suite.name}-v{plan.suite.version}"
    target, made = out / name, out / f".{name}{signature()}"
    if missing and is_published(target):
        _refuse_loss(target, missing)
    with writing(made):
        made.mkdir(parents=True)
    sweep(out)
    try:
        files = _write(store, plan, records, missing, made, weights)
        read_published(made)
        put_in_place(made, target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return [target / f.relative_to(made) for f in files]


def _refuse_loss(target: Path, missing: Mapping[str, str]) -> None:
    """Raises StoreError when an earlier publication has groups that are open here."""
    lost = [r.run_id for r in read_published(target).finished if r.run_id in missing]
    if lost:
        raise StoreError(
            f"{target}: holds {len(lost)} groups that have not ended here ({lost[0]}, ...), which would be lost; "
            f"`rlnet-bench store adopt {target}` takes them over first."
        )


def _verified(store: Store, groups: Iterable[Group], plan: Plan) -> dict[str, RunRecord]:
    """The record of every group by run id, if all of them are whole and what was evaluated."""
    records: dict[str, RunRecord] = {}
    found: list[str] = []
    for group in groups:
        try:
            record = store.record(group)
            assert record is not None  # it has ended
            found += [f"{group.describe()}: {x}" for x in weights_problems(record, store.folder(group))]
            records[group.run_id] = record
        except StoreError as error:
            found.append(f"{group.describe()}: {error}")
    for label, task, cell in cells(plan) if not found else ():
        twins = copies(records[g.run_id] for g in cell if g.run_id in records)
        if twins:
            found.append(f"{label} on {task}: {twins}.")
    if found:
        raise StoreError(
            "\n".join([f"{plan.suite.name}: nothing is published of what was damaged or changed:", *found])
        )
    return records


def _write(
    store: Store, plan: Plan, records: Mapping[str, RunRecord], missing: Mapping[str, str], made: Path, weights: bool
) -> list[Path]:
    files = [made / SUITE]
    declaration = plan.to_json() | ({"open": dict(missing)} if missing else {})
    write_atomic(files[0], json.dumps(declaration, indent=1) + "\n")
    declared = read_mapping(store.root / "seed-plans" / f"{plan.suite.name}-v{plan.suite.version}.json")
    if declared:
        files.append(made / SEED_PLAN)
        write_atomic(files[-1], json.dumps(declared, indent=1) + "\n")
    if first := store.declared(plan.suite):
        files.append(made / TRIAL)
        write_atomic(files[-1], first.model_dump_json(indent=1) + "\n")
    for label, task, groups in cells(plan):
        cell = [records[g.run_id] for g in groups if g.run_id in records]
        if not cell:
            continue
        path = records_file(made, label, task)
        path.parent.mkdir(exist_ok=True)
        _write_gzip(path, [line for g in groups if g.run_id in records for line in _lines(store, g)])
        files += [path, *(_weights(store, label, cell, made) if weights else ())]
        files += _episode(store, plan, label, cell, made)
    return files


def _lines(store: Store, group: Group) -> Iterator[str]:
    folder = store.folder(group)
    status = store.status(group)
    header = {
        "header": FORMAT,
        "run_id": group.run_id,
        "config": group.config,
        "status": status["status"],
        "seeds": status["seeds"],
        "divergences": status.get("divergences", []),
        "provenance": {k: v for k, v in read_provenance(folder / "provenance.json").items() if k != "host"},
        "policy": read_policy(folder / "policies" / "policy.json"),
    }
    yield json.dumps(header)
    yield from (line.text.decode() for line in read_evals(folder / "evals.jsonl")[0])
    for timing in read_timings(folder / "timings.jsonl")[0]:
        yield json.dumps({"timing": {k: v for k, v in timing.items() if k != "host"}})


def _write_gzip(path: Path, lines: Iterable[str]) -> None:
    """Deterministic gzip: no name, no time."""
    text = "".join(line + "\n" for line in lines)
    with writing(path), path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        packed.write(text.encode())


def _weights(store: Store, label: str, cell: Sequence[RunRecord], made: Path) -> Iterator[Path]:
    """The best weights of every seed that was scored, as far as the policy has any."""
    for record in cell:
        folder, primary = store.folder(record.run_id), record.config["evaluation"]["primary"]
        for seed in record.seeds:
            file = weights_file(made, label, record.task, seed)
            if "adopted" in record.provenance:  # what was published then; a run has no more
                kept = adopted_weights(folder, seed)
                if kept.exists():
                    with writing(file):
                        file.write_bytes(read_bytes(kept))
                    yield file
            elif record.lines("absolute", primary, seed):
                from rlnet_bench.runs.policies import load_weights, save_weights

                weights = load_weights(folder, seed)
                if weights:
                    save_weights(file, weights)
                    yield file


def _episode(store: Store, plan: Plan, label: str, cell: Sequence[RunRecord], made: Path) -> Iterator[Path]:
    """One recorded episode of the median seed."""
    mode = plan.suite.evaluation.primary
    median = median_seed(cell, mode)
    if median is None:
        return
    seed, record = median
    folder, file = store.folder(record.run_id), episode_file(made, label, record.task)
    if "adopted" in record.provenance:
        kept = adopted_episode(folder, seed)
        if kept.exists():
            with writing(file):
                file.write_bytes(read_bytes(kept))
            yield file
        return
    if code_of(record.config):
        return  # publishing reads: no code is run for a picture
    import torch

    from rlnet_bench.envs.registry import task_card
    from rlnet_bench.learning.play import record_episode
    from rlnet_bench.runs.policies import load_policy

    torch.set_num_threads(1)
    scenes, _ = record_episode(load_policy(folder, seed), task_card(record.task), seed, mode)
    _write_gzip(file, (json.dumps(_scene_json(scene)) for scene in scenes))
    yield file


def _scene_json(scene: Any) -> dict[str, Any]:
    shapes = [
        [s.kind, round(s.x, 4), round(s.y, 4), round(s.size, 4), round(s.angle, 4), list(s.colour), s.extra]
        for s in scene.shapes
    ]
    return {"bounds": list(scene.bounds), "caption": scene.caption, "shapes": shapes}
