"""``submit pack``: a submission's folder from a run store. What can be read from the store nobody has to write."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rlnet_bench.envs.registry import is_catalogued, task_card, task_ids
from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.leaderboard.folder import seeds_in, write_sums
from rlnet_bench.leaderboard.submission import (
    ALGORITHM,
    MANIFEST,
    NETWORK,
    POLICIES,
    README,
    RECORDS,
    SCHEMA,
    Claim,
    Launch,
    Submission,
    SubmissionKind,
    TaskEntry,
    parse_manifest,
    policy_folder,
    weights_file,
)
from rlnet_bench.methods import catalogued
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.reading.files import listing, read_bytes, read_text
from rlnet_bench.reading.yaml import MAX_BYTES, load
from rlnet_bench.runs.described import facts_of
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.record_files import read_policy
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.trust import is_file, target
from rlnet_bench.vocabulary import Mode, TrainingClass

FROM_STORE = ("schema_version", "kind", "training", "mode", "seeds", "tasks", "launches", "claims")
"""Keys of the manifest that packing writes; the others are the submitter's words."""


def pack(
    store: Store, folder: Path, *, method: str | None = None, suite: str | None = None,
    kind: SubmissionKind | None = None,
) -> Submission:  # fmt: skip
    """Fill a scaffolded folder (``rlnet-bench new submission``) from a store.

    Args:
        store: with the runs of one suite, all of them ended.
        folder: with the words in ``submission.yaml``; what an earlier packing wrote there is replaced.
        method: which method of the suite, by its label; needed when it has several that train.
        suite: which suite of the store.
        kind: of the submission; a network or a frozen policy by default.

    Raises:
        UnknownName, BadInput: when the method is not there, or not of this kind.
        StoreError: when runs have not ended, or were changed.
    """
    words = _words(folder)
    plan = _of_one(store.plan(suite), method)
    groups = sorted(plan.groups, key=lambda g: plan.suite.tasks.index(g.config["task"]))
    config = groups[0].config
    kind = kind or ("network" if config.get("network") is not None else "frozen-policy")
    if (kind == "network") != (config.get("network") is not None) and kind in ("network", "frozen-policy"):
        raise BadInput(f"{plan.suite.methods[0].name} is {'a' if kind != 'network' else 'no'} network: "
                       f"expected another kind than {kind!r}.")  # fmt: skip
    states = {g.run_id: store.status(g) for g in groups}
    open_ = [g.describe() for g in groups if states[g.run_id]["status"] not in ("ok", "diverged", "failed")]
    if open_:
        raise StoreError(f"not ended: {'; '.join(open_)}. `rlnet-bench resume` goes on.")
    records = {g.run_id: record for g in groups if (record := store.record(g)) is not None}
    mode: Mode = plan.suite.evaluation.primary
    manifest = parse_manifest(
        {
            **words,
            "schema_version": SCHEMA,
            "kind": kind,
            "training": _training(words, groups[0]),
            "mode": mode,
            "seeds": list(plan.suite.seeds),
            "tasks": [_plain(TaskEntry(id=t, hash=c["task_hash"], frames=c["frames"])) for t, c in _tasks(groups)],
            "launches": [_plain(x) for x in _launches(groups, records)],
            "claims": [_plain(x) for r in records.values() for x in _claims(r, mode)],
        },
        str(folder / MANIFEST),
    )
    for name in (POLICIES, RECORDS, ALGORITHM):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / NETWORK).unlink(missing_ok=True)
    _records(store, plan, folder)
    if kind in ("network", "frozen-policy"):
        for group in groups:
            _policies(store, group, records[group.run_id], folder, mode)
    if kind == "network":
        (folder / NETWORK).write_text(NetworkSpec.from_json(config["network"]).to_yaml(), encoding="utf-8")
    if kind == "algorithm":
        _algorithm(groups[0], folder)
    return _finished(folder, manifest)


def fill(
    folder: Path, training: TrainingClass, *, frames: int | None = None, mode: Mode = "deterministic"
) -> Submission:
    """Complete the manifest of a folder whose policies came without a run store (:mod:`.convert`).

    Args:
        folder: with the words in ``submission.yaml`` and policies of tasks of the catalogue.
        training: whose knowledge flowed where while they learned.
        frames: of training per seed, where that is known.
        mode: how they act when they are scored.

    Raises:
        BadInput: when there are no policies, or words are missing.
    """
    tasks = {file_stem(t): t for t in task_ids()}
    found = {tasks[p.name]: seeds_in(p) for p in listing(folder / POLICIES) if p.name in tasks}
    if not any(found.values()):
        raise BadInput(f"{folder}: expected policies/<task>/<seed>.safetensors of a task of the catalogue, found none; "
                       "`rlnet-bench convert` writes them.")  # fmt: skip
    runs = [(task, seed) for task, seeds in found.items() for seed in seeds]
    said = {"schema_version": SCHEMA, "kind": "frozen-policy", "training": training, "mode": mode}
    manifest = parse_manifest(
        {
            **_words(folder),
            **said,
            "seeds": sorted({seed for _, seed in runs}),
            "tasks": [_plain(TaskEntry(id=t, hash=task_card(t).hash(), frames=frames)) for t in found],
            "launches": [_plain(Launch(task=task, seed=seed, status="ok")) for task, seed in runs],
        },
        str(folder / MANIFEST),
    )
    return _finished(folder, manifest)


def _finished(folder: Path, manifest: Submission) -> Submission:
    """Write what closes a folder: its manifest, a page where there is none, all digests."""
    write_atomic(folder / MANIFEST, manifest_text(manifest))
    if not (folder / README).exists():
        write_atomic(folder / README, f"{manifest.title}\n\n{manifest.description}\n")
    write_sums(folder)
    return manifest


def manifest_text(manifest: Submission) -> str:
    """A manifest as YAML, long lists one item a line."""
    lists = ("tasks", "launches", "claims")
    data = manifest.model_dump(mode="json", exclude_none=True)
    head = yaml.safe_dump({k: v for k, v in data.items() if k not in lists}, sort_keys=False, allow_unicode=True)
    lines = [head.rstrip("\n")]
    for name in lists:
        if data.get(name):
            lines.append(f"{name}:")
            lines += [f"  - {_flow(item)}" for item in data[name]]
    return "\n".join(lines) + "\n"


def _flow(item: Any) -> str:
    text = yaml.safe_dump(item, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.strip()


def _plain(item: Any) -> dict[str, Any]:
    return dict(item.model_dump(mode="json", exclude_none=True))


def _words(folder: Path) -> dict[str, Any]:
    found = load(read_text(folder / MANIFEST, MAX_BYTES), str(folder / MANIFEST)).data
    if not isinstance(found, dict):
        raise BadInput(f"{folder / MANIFEST}: expected a mapping; `rlnet-bench new submission NAME` writes one.")
    return {k: v for k, v in found.items() if k not in FROM_STORE}


def _of_one(plan: Plan, label: str | None) -> Plan:
    """The plan of one method of a suite."""
    trained = [m.name for m in plan.suite.methods
               if any(g.config["frames"] for g in plan.groups if g.label == m.name)]  # fmt: skip
    names = [m.name for m in plan.suite.methods]
    if label is None:
        if len(trained) != 1:
            raise BadInput(f"{plan.suite.name}: which method? It has {', '.join(trained) or 'none that trains'}; "
                           "say --method NAME.")  # fmt: skip
        label = trained[0]
    if label not in names:
        raise UnknownName("method", label, names, f"{plan.suite.name} has {', '.join(names)}.")
    suite = plan.suite.model_copy(update={"methods": [m for m in plan.suite.methods if m.name == label]})
    groups = tuple(g for g in plan.groups if g.label == label)
    if strange := [g.config["task"] for g in groups if not is_catalogued(g.config["task"])]:
        raise BadInput(f"{strange[0]}: the board lists tasks of the catalogue only; a suite without it can be packed.")
    return Plan(suite, groups)


def _training(words: dict[str, Any], group: Group) -> str:
    found = facts_of(group.config, group.described).training
    return found if found != "unknown" else str(words.get("training", "independent"))


def _tasks(groups: list[Group]) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: dict[str, dict[str, Any]] = {}
    for group in groups:
        seen.setdefault(group.config["task"], group.config)
    yield from seen.items()


def _launches(groups: list[Group], records: dict[str, RunRecord]) -> list[Launch]:
    """Every run, in the order in which they were started."""
    found = []
    for group in groups:
        record = records[group.run_id]
        for seed, status in sorted(record.seed_status.items()):
            lost = status not in ("ok", "diverged")
            data: dict[str, Any] = {
                "run": group.run_id, "task": record.task, "seed": seed, "started": record.provenance.get("started"),
                "status": "failed" if lost else status,
                "reason": " ".join((record.reason or "it failed").split())[:120] if lost else None,
            }  # fmt: skip
            found.append(Launch(**data))
    return sorted(found, key=lambda x: x.started or "")


def _claims(record: RunRecord, mode: Mode) -> Iterator[Claim]:
    for line in record.lines("absolute", mode):
        team = line.team
        yield Claim(task=record.task, seed=line.seed, mean=float(team.mean()), sd=float(team.std(ddof=1)),
                    episodes=len(team))  # fmt: skip


def _records(store: Store, plan: Plan, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".packing-") as made:
        publish(store, plan, Path(made), weights=False, finished=True)
        shutil.move(Path(made) / f"{plan.suite.name}-v{plan.suite.version}", folder / RECORDS)


def _policies(store: Store, group: Group, record: RunRecord, folder: Path, mode: Mode) -> None:
    from safetensors.torch import save_file

    from rlnet_bench.runs.policies import load_weights

    run, task = store.folder(group), group.config["task"]
    described = read_policy(run / "policies" / "policy.json")
    kept: dict[str, Any] = {"format": described.get("format", 1), "policy": described.get("policy", described)}
    if group.config.get("network") is None and catalogued(group.config["method"]) is not None:
        kept["method"] = group.config["method"]
    target_folder = policy_folder(folder, task)
    target_folder.mkdir(parents=True, exist_ok=True)
    for seed, status in record.seed_status.items():
        if status == "ok":
            weights = load_weights(run, seed, "best", mode=mode)
            if not weights:
                raise BadInput(f"{group.describe()}: it has no weights, so that there is no policy to submit.")
            save_file({k: v.contiguous() for k, v in weights.items()}, weights_file(folder, task, seed))
    write_atomic(target_folder / "policy.json", json.dumps(kept, indent=1) + "\n")


def _algorithm(group: Group, folder: Path) -> None:
    """The file of a method of one's own."""
    name = group.config["method"]
    if not is_file(name):
        raise BadInput(f"{name}: an algorithm is submitted as a file of code; a method of the catalogue is submitted "
                       "as `results`, or as its policies.")  # fmt: skip
    said = {item["name"]: item["file"] for item in group.described.get("code", ())}
    source = Path(said.get(name, str(target(name))))
    (folder / ALGORITHM).mkdir()
    (folder / ALGORITHM / source.name).write_bytes(read_bytes(source, links=True))
