"""Published records: the small, diffable form of a suite's results, what its files are called, and reading it back.

``results/<suite>-v<n>/``: ``suite.json`` (the plan), ``seed-plan.json`` and ``trial.json`` where one was declared, and
per method and task ``<task>.jsonl.gz`` (a header, then the evaluation lines with their digest chains, then timings),
the best weights of whatever acts, of every seed, and one recorded episode, of the median seed. Critics and final
weights are there by digest, and come back by running the suite again. A suite may be published before it is finished:
``open`` in ``suite.json`` then has the status of every group that had not ended. :mod:`rlnet_bench.runs.publish`
writes all that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import found_at, inside, read_bytes, unpack
from rlnet_bench.reading.plain import parse_json
from rlnet_bench.reading.shapes import Each, check, seed_text
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.plan import Group, Plan, read_plan
from rlnet_bench.runs.record_checks import ENDS, copies, problems
from rlnet_bench.runs.record_files import CONFIG, DIVERGENCE, POLICY, PROVENANCE, weights_digests
from rlnet_bench.runs.records import STATUSES, DamagedRecord, EvalLine, RunRecord, checked_timing, parse_line
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.runs.trial import Declared, read_declared
from rlnet_bench.vocabulary import Mode, Status

FORMAT = 1
SUITE, SEED_PLAN, TRIAL = "suite.json", "seed-plan.json", "trial.json"
OPEN = tuple(s for s in STATUSES if s not in ENDS)
HEADER = {
    "header": (FORMAT,), "run_id": str, "config": CONFIG, "status": ENDS, "seeds": Each(ENDS, seed_text),
    "divergences": [DIVERGENCE], "provenance": PROVENANCE, "policy": POLICY,
}  # fmt: skip


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
    declared: Declared | None  # when the suite's trial was; not recorded by older versions

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
    """Read a published suite and verify everything; see :mod:`rlnet_bench.runs.record_checks`.

    Raises:
        StoreError: naming the file that is damaged or was changed after it was written, or what does not agree.
    """
    return _read(root)


def read_cell(root: Path, label: str, task: str) -> Publication:
    """One cell of a published suite, verified; its plan is the whole suite's. Raises as :func:`read_published`."""
    return _read(root, (label, task))


def _read(root: Path, only: tuple[str, str] | None = None) -> Publication:
    if not is_published(root):
        raise Malformed(
            str(root), "published results", found_at(root, SUITE), "`rlnet-bench publish STORE` makes them."
        )
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
    declared = read_declared(root / TRIAL)
    if declared and not declared.is_of(plan.suite.trial, plan.suite.test):
        raise Malformed(str(root / TRIAL), f"the trial and the test tasks of {SUITE}", "others")
    return Publication(plan, tuple(records), policies, digests, missing, read_mapping(root / SEED_PLAN), declared)


def finished_groups(root: Path) -> list[Group]:
    """The groups of a publication that are not declared as open; no record is read.

    Raises:
        StoreError: when its plan is damaged.
    """
    missing = _open_groups(root / SUITE)
    return [g for g in read_plan(root / SUITE).groups if g.run_id not in missing]


def _open_groups(path: Path) -> dict[str, str]:
    """Run ids and statuses of the groups that a publication declares as open."""
    declared = read_mapping(path)
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
