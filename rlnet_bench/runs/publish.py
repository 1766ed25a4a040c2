"""Published records: the small, diffable form of a suite's results, and reading it back.

``results/<suite>-v<n>/``: ``suite.json`` (the plan), ``seed-plan.json`` where one was declared, and per method and
task ``<task>.jsonl.gz`` (a header, then the evaluation lines with their digest chains, then timings), the best
weights of whatever acts, of every seed, and one recorded episode, of the median seed. Critics and final weights are
there by digest, and come back by running the suite again. A suite may be published before it is finished: ``open`` in
``suite.json`` then has the status of every group that had not ended.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed, StoreError
from rlnet_bench.reading.files import inside, read_bytes, unpack
from rlnet_bench.reading.plain import parse_json
from rlnet_bench.reading.shapes import Each, check, seed_text
from rlnet_bench.runs.described import code_of
from rlnet_bench.runs.files import put_in_place, read_json, sweep, write_atomic, writing
from rlnet_bench.runs.plan import Group, Plan, read_plan
from rlnet_bench.runs.process import signature
from rlnet_bench.runs.records import (
    STATUSES,
    DamagedRecord,
    EvalLine,
    RunRecord,
    checked_timing,
    parse_line,
    read_evals,
    read_timings,
)
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.runs.verify import (
    CONFIG,
    DIVERGENCE,
    ENDS,
    POLICY,
    PROVENANCE,
    adopted_episode,
    adopted_weights,
    copies,
    problems,
    read_policy,
    read_provenance,
    weights_digests,
    weights_problems,
)
from rlnet_bench.vocabulary import Mode, Status

FORMAT = 1
SUITE, SEED_PLAN = "suite.json", "seed-plan.json"
OPEN = tuple(s for s in STATUSES if s not in ENDS)
HEADER = {
    "header": (FORMAT,), "run_id": str, "config": CONFIG, "status": ENDS, "seeds": Each(ENDS, seed_text),
    "divergences": [DIVERGENCE], "provenance": PROVENANCE, "policy": POLICY,
}  # fmt: skip


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
    declared = read_json(store.root / "seed-plans" / f"{plan.suite.name}-v{plan.suite.version}.json")
    if declared:
        files.append(made / SEED_PLAN)
        write_atomic(files[-1], json.dumps(declared, indent=1) + "\n")
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


def records_file(root: Path, label: str, task: str) -> Path:
    """The records of a cell in a publication."""
    return inside(root, file_stem(label), f"{file_stem(task)}.jsonl.gz")


def weights_file(root: Path, label: str, task: str, seed: int) -> Path:
    """The best weights of a seed in a publication."""
    return inside(root, file_stem(label), f"{file_stem(task)}.seed{seed}.safetensors")


def episode_file(root: Path, label: str, task: str) -> Path:
    """The recorded episode of a cell's median seed in a publication."""
    return inside(root, file_stem(label), f"{file_stem(task)}.episode.json.gz")


def published_weights(root: Path, record: RunRecord, seed: int) -> Path | None:
    """The best weights of a seed if they were published; raises Malformed when they are not those that were scored."""
    file = weights_file(root, record.method, record.task, seed)
    if not file.exists():
        return None
    lines = record.lines("absolute", record.config["evaluation"]["primary"], seed)
    expected = lines[-1].weights if lines else "none"
    if weights_digests(file, 1) != [expected]:
        raise Malformed(str(file), f"the weights of seed {seed} that were scored ({expected})", "others")
    return file


def median_seed(cell: Iterable[RunRecord], mode: Mode) -> tuple[int, RunRecord] | None:
    """The seed whose absolute score is the (lower) median of a cell, and its record; None without scores."""
    scores = [(float(e.team.mean()), e.seed, record) for record in cell for e in record.lines("absolute", mode)]
    if not scores:
        return None
    _, seed, record = sorted(scores, key=lambda s: s[:2])[(len(scores) - 1) // 2]
    return seed, record


def cells(plan: Plan) -> Iterator[tuple[str, str, list[Group]]]:
    """(label, task, groups) of every cell of the grid, in the suite's order."""
    of: dict[tuple[str, str], list[Group]] = {}
    for group in plan.groups:
        of.setdefault((group.label, group.config["task"]), []).append(group)
    for entry, task in plan.suite.cells():
        yield entry.name, task, of.get((entry.name, task), [])


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


def is_published(root: Path) -> bool:
    """Whether a directory holds published records."""
    return (root / SUITE).is_file()


@dataclass(frozen=True)
class Publication:
    """A published suite, everything verified."""

    plan: Plan
    records: tuple[RunRecord, ...]  # a group that was declared failed has a record without lines
    policies: dict[str, dict[str, Any]]  # description of the policy by run id
    digests: dict[str, str]  # sha256 of the file that holds a run, by run id
    open: dict[str, str]  # status of the groups that had not ended, by run id
    seed_plan: dict[str, Any]

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        """The records of the groups that had ended."""
        return tuple(r for r in self.records if r.run_id not in self.open)

    def cells(self) -> list[list[RunRecord]]:
        """What is finished, by method and task."""
        found: dict[tuple[str, str], list[RunRecord]] = {}
        for record in self.finished:
            found.setdefault((record.method, record.task), []).append(record)
        return list(found.values())


def read_published(root: Path) -> Publication:
    """Read a published suite and verify everything; see :mod:`rlnet_bench.runs.verify`.

    Raises:
        StoreError: naming the file that is damaged or was changed after it was written, or what does not agree.
    """
    return _read(root)


def read_cell(root: Path, label: str, task: str) -> Publication:
    """One cell of a published suite, verified; its plan is the whole suite's. Raises as :func:`read_published`."""
    return _read(root, (label, task))


def _read(root: Path, only: tuple[str, str] | None = None) -> Publication:
    plan, missing = read_plan(root / SUITE), _open_groups(root / SUITE)
    records: list[RunRecord] = []
    policies: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    for label, task, groups in cells(plan):
        if only not in (None, (label, task)):
            continue
        path = records_file(root, label, task)
        planned = {g.run_id for g in groups if g.run_id not in missing}
        found: list[RunRecord] = []
        data = read_bytes(path) if planned or path.exists() else b""
        for record, policy in _records(unpack(data, str(path)), path) if data else ():
            if record.run_id not in planned:
                raise Malformed(f"{path}: run_id", f"a run of {label!r} on {task!r} that suite.json has", record.run_id)
            planned.remove(record.run_id)
            for sentence in problems(record):
                raise DamagedRecord(f"{path}: run {record.run_id}: {sentence}; the record was changed later.")
            found.append(replace(record, config={**record.config, "label": label}))
            policies[record.run_id] = policy
            digests[record.run_id] = hashlib.sha256(data).hexdigest()
        if planned:
            raise Malformed(str(path), f"the runs {', '.join(sorted(planned))}, as in suite.json", "nothing of them")
        twins = copies(found)
        if twins:
            raise DamagedRecord(f"{path}: {twins}.")
        records += found + [_failed(g) for g in groups if missing.get(g.run_id) == "failed"]
    return Publication(plan, tuple(records), policies, digests, missing, read_json(root / SEED_PLAN))


def _open_groups(path: Path) -> dict[str, str]:
    """Run ids and statuses of the groups that a publication declares as open."""
    declared = read_json(path)
    check(declared, {"groups": [{"run_id": str}], "open?": Each(OPEN)}, str(path))
    missing: dict[str, str] = declared.get("open", {})
    strange = sorted(set(missing) - {g["run_id"] for g in declared["groups"]})
    if strange:
        raise Malformed(f"{path}: open", "run ids of its groups", strange[0])
    return missing


def _failed(group: Group) -> RunRecord:
    seeds: dict[int, Status] = dict.fromkeys(group.config["seeds"], "failed")
    return RunRecord(group.run_id, group.config, "failed", seeds, reason="it had failed when this was published")


def _records(data: bytes, path: Path) -> Iterator[tuple[RunRecord, dict[str, Any]]]:
    """(record, policy) of every run in a file: a header, its evaluation lines, its timings."""
    header: dict[str, Any] | None = None
    evals: list[EvalLine] = []
    timings: list[dict[str, Any]] = []
    lines = data.split(b"\n")
    if lines.pop():
        raise Malformed(str(path), "a last line that ends", "a line that was cut off")
    for number, text in enumerate(lines, 1):
        where = f"{path}: line {number}"
        if text.startswith(b'{"kind"') and header:
            evals.append(parse_line(text, where))
            continue
        line = parse_json(text, where)
        check(line, dict, where)
        if "timing" in line and header:
            timings.append(checked_timing(line["timing"], where))
            continue
        if header:
            yield _record(header, evals, timings)
        check(line, HEADER, where)
        header, evals, timings = line, [], []
    if header is None:
        raise Malformed(str(path), "a header and evaluation lines", "nothing")
    yield _record(header, evals, timings)


def _record(
    header: dict[str, Any], evals: list[EvalLine], timings: list[dict[str, Any]]
) -> tuple[RunRecord, dict[str, Any]]:
    record = RunRecord(
        run_id=header["run_id"],
        config=header["config"],
        status=header["status"],
        seed_status={int(k): v for k, v in header["seeds"].items()},
        evals=tuple(evals),
        timings=tuple(timings),
        provenance=header["provenance"],
        divergences=tuple(header["divergences"]),
    )
    return record, header["policy"]
