"""What the parts of a record must look like and say of each other. Imports without torch.

Whoever reads a record, from a store or a publication, reads it through here: shapes, the run id recomputed from the
configuration, seeds, statuses, lines and their chains. What this cannot show (a chain has no key: whoever rewrites
everything can chain it again) only scoring the weights again can.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed, StoreError
from rlnet_bench.reading.files import Absent, read_bytes
from rlnet_bench.reading.names import checked_name, plain_part
from rlnet_bench.reading.plain import parse_json, read_json
from rlnet_bench.reading.shapes import Each, Maybe, check, seed_text
from rlnet_bench.reading.tensors import MAX_SAVED, read_arrays
from rlnet_bench.runs.records import (
    STATUSES,
    DamagedRecord,
    EvalLine,
    RunRecord,
    check_chain,
    read_evals,
    read_timings,
)
from rlnet_bench.vocabulary import EXECUTION_CLASSES, MODES, Mode, Status

MAX_POINTS = 100_000  # of a curve
ENDS: tuple[Status, ...] = ("ok", "diverged")
SEALED = ("provenance.json", "description.json", "timings.jsonl", "policies/policy.json")
SAVED_FORMAT = 2  # of checkpoints
SAVED = {"format": (SAVED_FORMAT,), "frames": int, "sha256": str, "rows?": [plain_part], "check": str}


def _seeds(value: Any, where: str) -> None:
    check(value, [int], where)
    if not value or len(set(value)) != len(value):
        raise Malformed(where, "distinct seeds, at least one", value)


# Only what readers use; settings and networks are for whoever runs them. Old records have fewer keys.
CONFIG = {
    "format": (1, 2), "label": checked_name, "task": checked_name, "method": checked_name, "settings": dict,
    "network": Maybe(dict), "seeds": _seeds, "frames": int, "training_reward?": ("team_mean", "individual"),
    "method_version?": int, "method_source": str, "task_hash?": str,
    "evaluation": {"every": int, "episodes": int, "absolute_episodes": int, "primary": MODES},
}  # fmt: skip
DIVERGENCE = {"seed": int, "tensor?": str, "frames?": int}
STATUS = {
    "status": STATUSES, "seeds": Each(STATUSES, seed_text), "attempts?": int, "divergences?": [DIVERGENCE],
    "reason?": str, "sealed?": Each(str),
}  # fmt: skip
POLICY = {
    "format?": int, "execution?": tuple(EXECUTION_CLASSES), "actor_parameters?": Maybe(int), "kind?": str,
    "columns?": dict, "actor?": dict, "policy?": dict,
}  # fmt: skip
PROVENANCE = {"packages?": Each(str)} | dict.fromkeys(
    ("python?", "platform?", "processor?", "started?", "commit?", "host?"), Maybe(str)
)


def run_id(config: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of a resolved configuration, without its label; 16 hex digits."""
    content = {k: v for k, v in config.items() if k != "label"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def best_weights(config: Mapping[str, Any], mode: Mode | None = None) -> str:
    """The name under which a run keeps its best weights by a mode (the primary one by default).

    Since format 2 every mode has a best point of its own; format 1 kept one, chosen by the primary mode.
    """
    return "best" if config["format"] == 1 else f"best-{mode or config['evaluation']['primary']}"


def problems(record: RunRecord) -> Iterator[str]:
    """A sentence for everything in which a record's parts disagree: id, seeds, statuses, lines and their chains.

    What is still running may be incomplete; what has ended must be whole.
    """
    expected = run_id(record.config)
    if record.run_id != expected:
        yield f"its configuration was changed: the id is {record.run_id}, the configuration's sha256 is {expected}"
        return
    every, budget = record.config["evaluation"]["every"], record.config["frames"]
    if budget and not (every and budget // every <= MAX_POINTS):
        yield f"its curve has no point, or more than {MAX_POINTS}: {budget} frames, one every {every}"
        return
    over, seeds = record.status in ENDS, set(record.seeds)
    strange = sorted(set(record.seed_status) - seeds) or (sorted(seeds - set(record.seed_status)) if over else [])
    if strange:
        yield f"seed {strange[0]} is either in the configuration or in the status, and must be in both"
    if over and not (set(record.seed_status.values()) <= {"ok", "diverged"}):
        bad = next(f"seed {s} is {v}" for s, v in record.seed_status.items() if v not in ("ok", "diverged"))
        yield f"{bad}, though the group has ended as {record.status}"
    broken = check_chain(record.evals)
    if broken:
        yield f"evals.jsonl: {broken}; it was changed after it was written"
        return
    yield from _misfits(record)
    if again := copies([record]):
        yield f"evals.jsonl: {again}"
    ends = _ends(record)
    for seed, status in record.seed_status.items():
        missing = [pair for pair in _WANTED if pair not in ends.get(seed, ())]
        if over and status == "ok" and missing:
            yield f"evals.jsonl: seed {seed} is ok, but its {missing[0][0]} {missing[0][1]} line is missing"
        elif over and status != "ok" and not missing:
            yield _hidden(seed, status)


def hidden(record: RunRecord) -> Iterator[str]:
    """A sentence for every seed that is not ok and has all the lines of one that is: a bad run, hidden by hand?"""
    ends = _ends(record)
    for seed, status in record.seed_status.items():
        if status in ("failed", "diverged") and all(pair in ends.get(seed, ()) for pair in _WANTED):
            yield _hidden(seed, status)


def _hidden(seed: int, status: Status) -> str:
    return (
        f"seed {seed} is marked {status}, but its final and absolute lines are all there; "
        "`rlnet-bench resume --retry-failed` settles what failed after them"
    )


_WANTED = [(kind, mode) for kind in ("final", "absolute") for mode in MODES]


def _ends(record: RunRecord) -> dict[int, set[tuple[str, str]]]:
    found: dict[int, set[tuple[str, str]]] = {}
    for line in record.evals:
        found.setdefault(line.seed, set()).add((line.kind, line.mode))
    return found


def _misfits(record: RunRecord) -> Iterator[str]:
    """Lines that the configuration does not allow; the first of them is enough."""
    seeds, rules, budget = set(record.seeds), record.config["evaluation"], record.config["frames"]
    keys: set[tuple[int, str, str, int]] = set()
    for number, line in enumerate(record.evals, 1):
        episodes, agents = line.shape
        wanted = rules["episodes"] if line.kind == "curve" else rules["absolute_episodes"]
        first = record.evals[0].shape[1]
        complaint = (
            f"seed {line.seed}, expected one of {sorted(seeds)}" if line.seed not in seeds
            else f"frames {line.frames}, expected at most {budget}" if not line.trained_frames <= line.frames <= budget
            else f"{episodes} episodes, expected {wanted}" if episodes != wanted
            else f"{agents} agents, expected {first}" if agents != first
            else "a second line of its seed, kind, mode and point" if line.key in keys
            else ""
        )  # fmt: skip
        if complaint:
            yield f"evals.jsonl: line {number} ({line.kind}, seed {line.seed}): {complaint}"
            return
        keys.add(line.key)


def copies(records: Iterable[RunRecord]) -> str | None:
    """A sentence where two seeds of one cell are the same run under two numbers, else None.

    Equal weights after training, or equal episodes in every line (unless nothing ever happened in them), have no
    innocent cause: seeds begin with other weights and play other episodes.
    """
    return twins(map(marks, records))


Marks = dict[int, tuple[str, str]]  # seed -> digest of its final weights, digest of all that it played


def marks(record: RunRecord) -> Marks:
    """What tells the runs of a record apart."""
    out = {}
    for seed in record.seeds:
        lines = [e for e in record.evals if e.seed == seed]
        ends = [e for e in lines if e.kind == "final"]
        if ends:
            out[seed] = ends[-1].weights, _episodes(lines)
    return out


def twins(found: Iterable[Marks]) -> str | None:
    """The sentence of :func:`copies` about the records of one cell."""
    weights: dict[str, int] = {}
    played: dict[str, int] = {}
    for seed, keys in (pair for of_record in found for pair in of_record.items()):
        for table, key in zip((weights, played), keys):
            if key not in ("-", "") and table.setdefault(key, seed) != seed:
                what = "weights" if table is weights else "episodes"
                return f"seeds {table[key]} and {seed} are one run under two numbers: all their {what} are equal"
    return None


def _episodes(lines: Sequence[EvalLine]) -> str:
    """Digest of everything that a seed played; empty when every number of a kind is the same."""
    total, varied = hashlib.sha256(), False
    for line in lines:
        part = line.played
        varied = varied or len(set(part.strip(b"[]").replace(b"], [", b", ").split(b", "))) > 1
        total.update(f"{line.kind} {line.mode} {line.point} ".encode() + part)
    return total.hexdigest() if varied else ""


def read_status(path: Path) -> dict[str, Any]:
    """A status.json; raises Absent or Malformed."""
    found = read_json(path)
    check(found, STATUS, str(path))
    return found


def read_config(path: Path) -> dict[str, Any]:
    """A config.json; raises Absent or Malformed."""
    found = read_json(path)
    check(found, CONFIG, str(path))
    return found


def read_run(path: Path, expected: str | None = None) -> RunRecord:
    """Read one run directory and verify it.

    Args:
        path: the directory.
        expected: the run id that its configuration must have, where somebody knows it.

    Raises:
        StoreError: naming the file that is missing or damaged, or the first of :func:`problems`.
    """
    record, torn = read_record(path, expected)
    if torn and record.status in ENDS:
        raise DamagedRecord(f"{path / 'evals.jsonl'}: {torn}, in a run that has ended.")
    quiet = record.status == "failed" and not record.reason  # a worker that fails a group says why
    for sentence in (*problems(record), *(hidden(record) if quiet else ()), *unsealed(path)):
        raise DamagedRecord(f"{path}: {sentence}.")
    return record


def read_record(path: Path, expected: str | None = None) -> tuple[RunRecord, str]:
    """(record, what is torn) of a run directory: every file is what it must be; whether they agree is not asked.

    Raises:
        StoreError: naming the file that is missing or damaged.
    """
    config, status = read_config(path / "config.json"), read_status(path / "status.json")
    lines, good = read_evals(path / "evals.jsonl")
    read_policy(path / "policies" / "policy.json")
    record = RunRecord(
        run_id=expected or run_id(config),
        config=config,
        status=status["status"],
        seed_status={int(k): v for k, v in status["seeds"].items()},
        evals=tuple(lines),
        timings=tuple(read_timings(path / "timings.jsonl")[0]),
        provenance=read_provenance(path / "provenance.json"),
        divergences=tuple(status.get("divergences", ())),
        reason=status.get("reason", ""),
    )
    return record, torn_after(path / "evals.jsonl", good)


def seals(folder: Path) -> dict[str, str]:
    """Digests of the files of a run that no chain covers, for the status of one that has ended."""
    found = {}
    for name in SEALED:
        with contextlib.suppress(Absent):
            found[name] = seal(read_bytes(folder / name))
    return found


def seal(data: bytes) -> str:
    """The digest of one such file."""
    return hashlib.sha256(data).hexdigest()[:16]


def unsealed(folder: Path) -> Iterator[str]:
    """A sentence for every file that was changed since its run ended. Older runs have no seals."""
    sealed = read_status(folder / "status.json").get("sealed")
    if sealed is not None:
        now = seals(folder)
        yield from (
            f"{name}: it was changed after the run ended" for name in SEALED if now.get(name) != sealed.get(name)
        )


def torn_after(file: Path, good: int) -> str:
    """A sentence when a file is longer than its complete part, else nothing."""
    try:
        is_torn = file.stat().st_size != good
    except FileNotFoundError:
        return ""
    return f"the last line is torn after byte {good}" if is_torn else ""


@dataclass(frozen=True)
class Saved:
    """A checkpoint as plain data."""

    tree: Any
    data: bytes  # safetensors
    rows: list[str]  # the segments that it needs


def check_digest(body: Mapping[str, Any]) -> str:
    """Digest of what a checkpoint's ``state.json`` says, but for the digest itself."""
    return hashlib.sha256(json.dumps({k: v for k, v in body.items() if k != "check"}).encode()).hexdigest()


def read_saved(path: Path) -> Saved:
    """A checkpoint directory, whose digest is right.

    Raises:
        StoreError: when it is not whole.
    """
    body = parse_json(read_bytes(path / "state.json"), str(path / "state.json"), finite=False)
    check(body, SAVED, str(path / "state.json"))
    data = read_bytes(path / "state.safetensors", MAX_SAVED)
    if hashlib.sha256(data).hexdigest() != body["sha256"]:
        raise Malformed(str(path), "the contents that its digest was made of", "a changed file")
    if body["check"] != check_digest(body):
        raise Malformed(str(path / "state.json"), "the text that its digest was made of", "a changed file")
    if "tree" not in body:
        raise Malformed(str(path / "state.json"), "a key 'tree'", sorted(body))
    return Saved(body["tree"], data, body.get("rows", []))


def read_provenance(path: Path) -> dict[str, Any]:
    """A provenance.json, empty when absent; raises Malformed."""
    return _optional(path, PROVENANCE)


def read_policy(path: Path) -> dict[str, Any]:
    """A policy.json, empty when absent; raises Malformed."""
    return _optional(path, POLICY)


def _optional(path: Path, shape: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = read_json(path)
    except Absent:
        return {}
    check(found, shape, str(path))
    return dict(found)


def weights_problems(record: RunRecord, folder: Path) -> Iterator[str]:
    """A sentence for every file of weights in a run's folder that is not what its lines were scored with.

    A run that was adopted from a publication has at most the best weights of a few seeds.
    """
    primary = record.config["evaluation"]["primary"]
    if "adopted" in record.provenance:
        absolute = {e.seed: e.weights for e in record.evals if (e.kind, e.mode) == ("absolute", primary)}
        for seed, digest in absolute.items():
            file = adopted_weights(folder, seed)
            if file.exists() and weights_digests(file, 1) != [digest]:
                yield f"policies/{file.name}: not what was evaluated"
        return
    best = {(best_weights(record.config, mode), "absolute", mode) for mode in MODES}
    for which, kind, mode in (("final", "final", record.config["evaluation"]["primary"]), *sorted(best)):
        lines = (e for e in record.evals if (e.kind, e.mode) == (kind, mode))
        wanted = {e.seed: e.weights for e in lines if e.weights != "-"}
        if not wanted:
            continue
        file = folder / "policies" / f"{which}.safetensors"
        try:
            found = weights_digests(file, len(record.seeds))
        except StoreError as error:
            yield str(error)
            continue
        for k, seed in enumerate(record.seeds):
            if seed in wanted and wanted[seed] != found[k]:
                yield f"policies/{which}.safetensors: seed {seed} is not what was evaluated"


def adopted_weights(folder: Path, seed: int) -> Path:
    """Where an adopted run has the best weights of a seed, if they were published."""
    return folder / "policies" / f"best.seed{seed}.safetensors"


def adopted_episode(folder: Path, seed: int) -> Path:
    """Where an adopted run has the recorded episode of a seed, if it was published."""
    return folder / f"episode.seed{seed}.json.gz"


def weights_digests(file: Path, replicas: int) -> list[str]:
    """The digest of every replica's slice of stacked weights, as the run loop makes it; raises Malformed."""
    weights = read_arrays(file)
    digests = []
    for k in range(replicas):
        total = hashlib.sha256()
        for name in sorted(weights):
            rows = len(weights[name]) // replicas
            total.update(name.encode() + weights[name][k * rows : (k + 1) * rows].tobytes())
        digests.append(total.hexdigest()[:16])
    return digests
