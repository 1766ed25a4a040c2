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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.plan import Group, Plan, plan_from_json
from rlnet_bench.runs.records import EvalLine, RunRecord, check_chain, read_lines
from rlnet_bench.runs.store import Store, read_json, write_atomic
from rlnet_bench.runs.suite import file_stem

FORMAT = 1
SEED_PLAN = "seed-plan.json"


def publish(store: Store, plan: Plan, out: Path, *, weights: bool = True) -> list[Path]:
    """Write the published form of a finished suite; returns the files.

    Args:
        store: where its runs are.
        plan: the suite's.
        out: the folder of published results.
        weights: also those of each cell's median seed; without them only their digests.

    Raises:
        StoreError: naming the groups that have not ended.
    """
    open_groups = [g.describe() for g in plan.groups if store.status(g)["status"] not in ("ok", "diverged")]
    if open_groups:
        raise StoreError(f"{plan.suite.name}: not finished: {'; '.join(open_groups)}. `rlnet-bench resume` goes on.")
    name = f"{plan.suite.name}-v{plan.suite.version}"
    # Made aside and put in place whole: what is published already stays until its successor is complete.
    target, made = out / name, out / f".{name}.new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    files = [made / "suite.json"]
    write_atomic(files[0], json.dumps(plan.to_json(), indent=1) + "\n")
    declared = read_json(store.root / "seed-plans" / f"{name}.json")
    if declared:
        files.append(made / SEED_PLAN)
        write_atomic(files[-1], json.dumps(declared, indent=1) + "\n")
    for label, task, groups in _cells(plan):
        folder = made / file_stem(label)
        folder.mkdir(exist_ok=True)
        path = folder / f"{file_stem(task)}.jsonl.gz"
        lines = [line for g in groups for line in _lines(store, g)]
        _write_gzip(path, lines)
        files += [path, *_median_seed(store, plan, groups, path, weights)]
    shutil.rmtree(target, ignore_errors=True)
    made.replace(target)
    return [target / f.relative_to(made) for f in files]


def _cells(plan: Plan) -> Iterator[tuple[str, str, list[Group]]]:
    for entry in plan.suite.methods:
        for task in plan.suite.tasks:
            yield entry.name, task, [g for g in plan.groups if g.label == entry.name and g.config["task"] == task]


def _lines(store: Store, group: Group) -> Iterator[dict[str, Any]]:
    folder = store.folder(group)
    status = store.status(group)
    yield {
        "header": FORMAT,
        "run_id": group.run_id,
        "config": group.config,
        "status": status["status"],
        "seeds": status["seeds"],
        "divergences": status.get("divergences", []),
        "provenance": {k: v for k, v in read_json(folder / "provenance.json").items() if k != "host"},
        "policy": read_json(folder / "policies" / "policy.json"),
    }
    yield from read_lines(folder / "evals.jsonl")[0]
    for timing in read_lines(folder / "timings.jsonl")[0]:
        yield {"timing": {k: v for k, v in timing.items() if k != "host"}}


def _write_gzip(path: Path, lines: list[dict[str, Any]]) -> None:
    """Deterministic gzip: no name, no time."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        packed.write(text.encode())


def _median_seed(store: Store, plan: Plan, groups: list[Group], path: Path, with_weights: bool) -> list[Path]:
    """Weights, where asked for, and one recorded episode of the seed whose absolute score is the median."""
    scores: list[tuple[float, int, Group]] = []
    for group in groups:
        record = store.record(group)
        for line in record.lines("absolute", plan.suite.evaluation.primary) if record else []:
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
    _write_gzip(file, [_scene_json(scene) for scene in scenes])
    return [*written, file]


def _scene_json(scene: Any) -> dict[str, Any]:
    shapes = [
        [s.kind, round(s.x, 4), round(s.y, 4), round(s.size, 4), round(s.angle, 4), list(s.colour), s.extra]
        for s in scene.shapes
    ]
    return {"bounds": list(scene.bounds), "caption": scene.caption, "shapes": shapes}


def is_published(root: Path) -> bool:
    """Whether a directory holds published records."""
    return (root / "suite.json").is_file()


Policies = dict[tuple[str, str], dict[str, Any]]  # description of the policy by (method label, task)


def read_published(root: Path) -> tuple[Plan, tuple[RunRecord, ...], Policies]:
    """(plan, records, policies) of a published suite.

    Raises:
        StoreError: naming the file that is damaged or was changed after it was written.
    """
    plan = plan_from_json(read_json(root / "suite.json"))
    records: list[RunRecord] = []
    policies: Policies = {}
    for label, task, _ in _cells(plan):
        path = root / file_stem(label) / f"{file_stem(task)}.jsonl.gz"
        try:
            lines = [json.loads(text) for text in gzip.decompress(path.read_bytes()).decode().splitlines()]
            starts = [i for i, line in enumerate(lines) if "header" in line]
            for start, end in zip(starts, [*starts[1:], len(lines)]):
                record = _record(lines[start], lines[start + 1 : end], path)
                records.append(replace(record, config={**record.config, "label": label}))
                policies[label, task] = lines[start]["policy"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise StoreError(f"{path}: damaged or missing ({error}).") from None
    return plan, tuple(records), policies


def _record(header: dict[str, Any], lines: list[dict[str, Any]], path: Path) -> RunRecord:
    evals = [line for line in lines if "timing" not in line]
    broken = check_chain(evals)
    if broken:
        raise StoreError(f"{path}: {broken}; the record was changed after it was written.")
    return RunRecord(
        run_id=header["run_id"],
        config=header["config"],
        status=header["status"],
        seed_status={int(k): v for k, v in header["seeds"].items()},
        evals=tuple(EvalLine.from_json(line) for line in evals),
        timings=tuple(line["timing"] for line in lines if "timing" in line),
        provenance=header["provenance"],
        divergences=tuple(header["divergences"]),
    )
