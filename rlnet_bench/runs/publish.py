"""Published records: the small, diffable form of a suite's results, and reading it back.

``results/<suite>-v<n>/``: ``suite.json`` (the plan), ``seed-plan.json`` where one was declared, and per method
and task ``<task>.jsonl.gz`` (a header, then the evaluation lines with their digest chains, then timings), the
weights of the median seed and one recorded episode. Other seeds' weights are there by digest, and come back by
running the suite again.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed, StoreError
from rlnet_bench.reading.files import inside, read_bytes, unpack
from rlnet_bench.reading.plain import parse_json
from rlnet_bench.reading.shapes import Each, check, seed_text
from rlnet_bench.runs.files import put_in_place, read_json, write_atomic, writing
from rlnet_bench.runs.plan import Group, Plan, read_plan
from rlnet_bench.runs.records import (
    DamagedRecord,
    EvalLine,
    RunRecord,
    parse_line,
    parse_timing,
    read_evals,
    read_timings,
)
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.runs.verify import (
    CONFIG,
    DIVERGENCE,
    POLICY,
    PROVENANCE,
    copies,
    problems,
    read_policy,
    read_provenance,
    weights_problems,
)

FORMAT = 1
SUITE, SEED_PLAN = "suite.json", "seed-plan.json"
ENDS = ("ok", "diverged")
HEADER = {
    "header": (FORMAT,), "run_id": str, "config": CONFIG, "status": ENDS, "seeds": Each(ENDS, seed_text),
    "divergences": [DIVERGENCE], "provenance": PROVENANCE, "policy": POLICY,
}  # fmt: skip


def publish(store: Store, plan: Plan, out: Path, *, weights: bool = True) -> list[Path]:
    """Write the published form of a finished suite; returns the files.

    It is written beside the place where it belongs and read back before it takes that place: what is published
    already survives whatever goes wrong, and what is published can be read.

    Args:
        store: where its runs are.
        plan: the suite's.
        out: the folder of published results.
        weights: also those of each cell's median seed; without them only their digests.

    Raises:
        StoreError: naming the groups that have not ended, or what was damaged or changed.
    """
    open_groups = [g.describe() for g in plan.groups if store.status(g)["status"] not in ("ok", "diverged")]
    if open_groups:
        raise StoreError(f"{plan.suite.name}: not finished: {'; '.join(open_groups)}. `rlnet-bench resume` goes on.")
    records = _verified(store, plan)
    name = f"{plan.suite.name}-v{plan.suite.version}"
    target, made = out / name, out / f".{name}.new"
    shutil.rmtree(made, ignore_errors=True)
    with writing(made):
        made.mkdir(parents=True)
    try:
        files = _write(store, plan, records, made, weights)
        read_published(made)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    put_in_place(made, target)
    return [target / f.relative_to(made) for f in files]


def _verified(store: Store, plan: Plan) -> dict[str, RunRecord]:
    """The record of every group by run id, if all of them are whole and what was evaluated."""
    records: dict[str, RunRecord] = {}
    found: list[str] = []
    for group in plan.groups:
        try:
            record = store.record(group)
            assert record is not None  # it has ended
            found += [f"{group.describe()}: {x}" for x in weights_problems(record, store.folder(group))]
            records[group.run_id] = record
        except StoreError as error:
            found.append(f"{group.describe()}: {error}")
    for label, task, groups in cells(plan) if not found else ():
        twins = copies(records[g.run_id] for g in groups)
        if twins:
            found.append(f"{label} on {task}: {twins}.")
    if found:
        raise StoreError(
            "\n".join([f"{plan.suite.name}: nothing is published of what was damaged or changed:", *found])
        )
    return records


def _write(store: Store, plan: Plan, records: Mapping[str, RunRecord], made: Path, weights: bool) -> list[Path]:
    files = [made / SUITE]
    write_atomic(files[0], json.dumps(plan.to_json(), indent=1) + "\n")
    declared = read_json(store.root / "seed-plans" / f"{made.name.removeprefix('.').removesuffix('.new')}.json")
    if declared:
        files.append(made / SEED_PLAN)
        write_atomic(files[-1], json.dumps(declared, indent=1) + "\n")
    for label, task, groups in cells(plan):
        folder = inside(made, file_stem(label))
        folder.mkdir(exist_ok=True)
        path = inside(made, file_stem(label), f"{file_stem(task)}.jsonl.gz")
        _write_gzip(path, [line for g in groups for line in _lines(store, g)])
        files += [path, *_median_seed(store, plan, groups, records, path, weights)]
    return files


def cells(plan: Plan) -> Iterator[tuple[str, str, list[Group]]]:
    """(label, task, groups) of every cell of the grid, in the suite's order."""
    of: dict[tuple[str, str], list[Group]] = {}
    for group in plan.groups:
        of.setdefault((group.label, group.config["task"]), []).append(group)
    for entry in plan.suite.methods:
        for task in plan.suite.tasks:
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


def _median_seed(
    store: Store, plan: Plan, groups: list[Group], records: Mapping[str, RunRecord], path: Path, with_weights: bool
) -> list[Path]:
    """Weights, where asked for, and one recorded episode of the seed whose absolute score is the median."""
    scores: list[tuple[float, int, Group]] = []
    for group in groups:
        for line in records[group.run_id].lines("absolute", plan.suite.evaluation.primary):
            scores.append((float(line.team.mean()), line.seed, group))
    if not scores:
        return []
    _, seed, group = sorted(scores, key=lambda s: s[:2])[(len(scores) - 1) // 2]
    import torch
    from safetensors.torch import save_file

    from rlnet_bench.envs.registry import task_card
    from rlnet_bench.learning.play import record_scenes
    from rlnet_bench.runs.policies import load_policy

    torch.set_num_threads(1)
    policy = load_policy(store.folder(group), seed)
    stem = path.name.removesuffix(".jsonl.gz")
    written = []
    weights = {k: v.contiguous() for k, v in policy.state_dict().items()}
    if weights and with_weights:
        file = path.with_name(f"{stem}.seed{seed}.safetensors")
        save_file(weights, file)
        written.append(file)
    scenes = record_scenes(policy, task_card(group.config["task"]), seed, plan.suite.evaluation.primary)
    file = path.with_name(f"{stem}.episode.json.gz")
    _write_gzip(file, (json.dumps(_scene_json(scene)) for scene in scenes))
    return [*written, file]


def _scene_json(scene: Any) -> dict[str, Any]:
    shapes = [
        [s.kind, round(s.x, 4), round(s.y, 4), round(s.size, 4), round(s.angle, 4), list(s.colour), s.extra]
        for s in scene.shapes
    ]
    return {"bounds": list(scene.bounds), "caption": scene.caption, "shapes": shapes}


def is_published(root: Path) -> bool:
    """Whether a directory holds published records."""
    return (root / SUITE).is_file()


Policies = dict[tuple[str, str], dict[str, Any]]  # description of the policy by (method label, task)


def read_published(root: Path) -> tuple[Plan, tuple[RunRecord, ...], Policies]:
    """(plan, records, policies) of a published suite, everything verified; see :mod:`rlnet_bench.runs.verify`.

    Raises:
        StoreError: naming the file that is damaged or was changed after it was written, or what does not agree.
    """
    plan = read_plan(root / SUITE)
    records: list[RunRecord] = []
    policies: Policies = {}
    for label, task, groups in cells(plan):
        path = inside(root, file_stem(label), f"{file_stem(task)}.jsonl.gz")
        planned = {g.run_id for g in groups}
        found: list[RunRecord] = []
        for record, policy in _records(unpack(read_bytes(path), str(path)), path):
            if record.run_id not in planned:
                raise Malformed(
                    f"{path}: run_id", f"every run of {label!r} on {task!r} in suite.json once", record.run_id
                )
            planned.remove(record.run_id)
            for sentence in problems(record):
                raise DamagedRecord(
                    f"{path}: run {record.run_id}: {sentence}; the record was changed after it was written."
                )
            found.append(replace(record, config={**record.config, "label": label}))
            policies[label, task] = policy
        if planned:
            raise Malformed(str(path), f"the runs {', '.join(sorted(planned))}, as in suite.json", "nothing of them")
        twins = copies(found)
        if twins:
            raise DamagedRecord(f"{path}: {twins}.")
        records += found
    return plan, tuple(records), policies


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
            timings.append(parse_timing(line["timing"], where))
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
