"""Whether the parts of a record agree: the run id recomputed from the configuration, seeds, statuses, lines and their
chains, weights. Imports without torch.

Whoever reads a record, from a store or a publication, reads it through here. What this cannot show (a chain has no key:
whoever rewrites everything can chain it again) only scoring the weights again can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.record_files import (
    SEALED,
    adopted_weights,
    best_weights,
    read_config,
    read_policy,
    read_provenance,
    read_status,
    seals,
    torn_after,
    weights_digests,
)
from rlnet_bench.runs.records import DamagedRecord, EvalLine, RunRecord, check_chain, read_evals, read_timings, run_id
from rlnet_bench.vocabulary import MODES, Status

MAX_POINTS = 100_000  # of a curve
ENDS: tuple[Status, ...] = ("ok", "diverged")


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


def unsealed(folder: Path) -> Iterator[str]:
    """A sentence for every file that was changed since its run ended. Older runs have no seals."""
    sealed = read_status(folder / "status.json").get("sealed")
    if sealed is not None:
        now = seals(folder)
        yield from (
            f"{name}: it was changed after the run ended" for name in SEALED if now.get(name) != sealed.get(name)
        )


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
