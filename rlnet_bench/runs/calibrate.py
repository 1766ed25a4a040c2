"""What a group will cost: measured on this machine for a few iterations, stored, scaled to the whole group.

A calibration belongs to method, version, settings, task, number of seeds, device, threads and processor; it
lies in the user's cache directory (``$XDG_CACHE_HOME/rlnet_bench``, or ``$RLNET_BENCH_CACHE``). Groups that end
store theirs (:mod:`rlnet_bench.runs.meter`). Without one, only disk is known.
Imports without torch; measuring happens in a process of its own (``python -m rlnet_bench.runs.calibrate``).
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rlnet_bench.errors import BadInput, StoreError, WorkFailed
from rlnet_bench.runs.described import code_of
from rlnet_bench.runs.files import read_mapping, write_atomic
from rlnet_bench.runs.plan import Group, Plan, method_of, task_of
from rlnet_bench.runs.provenance import _processor
from rlnet_bench.trust import accept, from_text, handed, search_path, to_text

MEASURE_SECONDS = 0.5  # of training; a group also warms up and plays the episodes of one point
START_SECONDS = 5.0  # of a worker: imports and environments
BYTES_PER_NUMBER = 20  # of a return in evals.jsonl
PROCESS = 400 << 20  # bytes of a worker before it has done anything
OVERHEAD = 20_000  # config, provenance, log, directories


@dataclass(frozen=True)
class Calibration:
    """What was measured."""

    seconds_per_frame: float  # per frame of every seed at once
    seconds_per_point: float  # both modes, the episodes of one point of the curve
    seconds_per_end: float  # both modes, the episodes of final and absolute
    memory: int  # bytes of the process at its largest
    state: int  # bytes of a checkpoint, rows that are stored once apart
    weights: int  # bytes of the policies


@dataclass(frozen=True)
class Estimate:
    """What a group will cost; None where no calibration says."""

    frames: int  # all seeds together
    seconds: float | None
    memory: int | None
    disk: int  # at the end
    disk_peak: int  # with its checkpoints
    rows: int = 0  # bytes of memory that a replay fills, within ``memory``


def key(config: Mapping[str, Any]) -> str:
    """What a calibration belongs to; the budget and the seeds' names are not part of it."""
    names = ("task_hash", "method", "method_version", "method_source", "settings", "network", "training_reward",
             "device", "threads", "dtype", "compile")  # fmt: skip
    evaluation = config["evaluation"]
    parts = {n: config[n] for n in names} | {
        "seeds": len(config["seeds"]), "processor": _processor(),
        "episodes": [evaluation["episodes"], evaluation["absolute_episodes"]],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Where calibrations are."""
    own, shared = os.environ.get("RLNET_BENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own or Path(shared or Path.home() / ".cache") / "rlnet_bench") / "calibrations"


def stored(config: Mapping[str, Any], folder: Path | None = None) -> Calibration | None:
    """The calibration of a group, if this machine has one."""
    try:
        found = read_mapping((folder or cache_folder()) / f"{key(config)}.json")
        return Calibration(**found) if found else None
    except (StoreError, TypeError):
        return None


def store(config: Mapping[str, Any], found: Calibration, folder: Path | None = None) -> None:
    """Keep a calibration; raises StoreError or OSError when the disk refuses."""
    target = folder or cache_folder()
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(target / f"{key(config)}.json", json.dumps(asdict(found)) + "\n")


def calibrate(configs: Sequence[Mapping[str, Any]], folder: Path | None = None) -> list[Calibration]:
    """Measure groups in a process of their own, a second or two each, and store what was found.

    Raises:
        WorkFailed: with the last line of what went wrong.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(configs[0]["threads"]))
    code = to_text(handed(name for config in configs for name in code_of(config)))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rlnet_bench.runs.calibrate", code], input=json.dumps([dict(c) for c in configs]),
        text=True, capture_output=True, env={**os.environ, **threads, "PYTHONPATH": search_path()},
    )  # fmt: skip
    found = [Calibration(**json.loads(line)) for line in done.stdout.splitlines()]
    for config, one in zip(configs, found):
        store(config, one, folder)
    if done.returncode:
        last, config = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1], configs[len(found)]
        raise WorkFailed(f"calibrating {config['label']} on {config['task']} failed: {last}")
    return found


def unmeasured(groups: Iterable[Group], folder: Path | None = None) -> list[dict[str, Any]]:
    """One group's configuration for every kind of group that this machine has no calibration of."""
    return list({key(g.config): g.config for g in groups if stored(g.config, folder) is None}.values())


def together(estimates: Iterable[Estimate], workers: int) -> float | None:
    """Seconds until workers who take the longest group first have done them all; None where one is not known."""
    seconds = [e.seconds for e in estimates]
    ends = [0.0] * workers
    for each in sorted((s for s in seconds if s is not None), reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return None if None in seconds else max(ends)


def set_aside(config: Mapping[str, Any]) -> int:
    """Bytes that a group's learner fills as it goes: no calibration of a few iterations sees them."""
    method = method_of(config)
    return method.memory_bytes(task_of(config), method.configure(config["settings"]), len(config["seeds"]))


def estimate(config: Mapping[str, Any], found: Calibration | None) -> Estimate:
    """Scale a calibration to a whole group."""
    seeds, frames, evaluation = len(config["seeds"]), config["frames"], config["evaluation"]
    agents = task_of(config).num_agents
    points = points_of(config)
    per_episode = (agents + 1) * BYTES_PER_NUMBER
    episodes = points * evaluation["episodes"] + 2 * evaluation["absolute_episodes"]
    disk = OVERHEAD + 2 * seeds * episodes * per_episode + (found.weights if found else 0)
    rows = set_aside(config)  # in memory; on the disk up to twice, for two checkpoints
    if found is None:
        return Estimate(frames * seeds, None, PROCESS + rows if rows else None, disk, disk + 2 * rows, rows)
    return Estimate(
        frames * seeds, seconds(config, found), found.memory + rows, disk, disk + 3 * found.state + 2 * rows, rows
    )


def seconds(config: Mapping[str, Any], found: Calibration) -> float:
    """Seconds of a whole group; asks neither its task nor its method."""
    points = points_of(config)
    return (
        START_SECONDS
        + config["frames"] * found.seconds_per_frame
        + points * found.seconds_per_point
        + 2 * found.seconds_per_end
    )


def points_of(config: Mapping[str, Any]) -> int:
    """Evaluations of a group along its curve."""
    frames, every = config["frames"], config["evaluation"]["every"]
    return len({*range(0, frames + 1, every), frames}) if frames else 1


def longest_first(plan: Plan, folder: Path | None = None) -> tuple[Plan, dict[str, Estimate]]:
    """The plan by predicted time, and every group's estimate. Unmeasured groups take the median rate."""
    guesses = {g.run_id: estimate(g.config, stored(g.config, folder)) for g in plan.groups}
    rates = [e.seconds / max(1, e.frames) for e in guesses.values() if e.seconds is not None]
    typical = median(rates) if rates else 1.0

    def time_of(group: Group) -> float:
        guess = guesses[group.run_id]
        return guess.seconds if guess.seconds is not None else typical * guess.frames

    return Plan(plan.suite, tuple(sorted(plan.groups, key=lambda g: -time_of(g)))), guesses


def refuse_impossible(
    plan: Plan, guesses: Mapping[str, Estimate], *, place: Path, workers: int, memory: int, free: int | None = None
) -> None:
    """Raise BadInput, with both numbers, for what cannot fit in memory or on the disk.

    Args:
        plan: the groups.
        guesses: by run id.
        place: the store; an existing parent where there is none yet.
        workers: how many groups run at once on this machine.
        memory: bytes of this machine.
        free: bytes of the disk; asked of it by default.
    """
    problems = []
    for group in plan.groups:
        need = guesses[group.run_id].memory
        if need is not None and need > memory:
            rows = guesses[group.run_id].rows
            part = f", of which {_gib(rows)} are its replay (`--set buffer_size=` makes it smaller)" if rows else ""
            have = f"this machine has {_gib(memory)}"
            problems.append(f"{group.describe()}: needs {_gib(need)} of memory{part}; {have}.")
    most = sorted((e.memory or 0 for e in guesses.values()), reverse=True)[:workers]
    if not problems and sum(most) > memory:
        fits = next(n for n in range(len(most), 0, -1) if sum(most[:n]) <= memory)
        problems.append(
            f"{len(most)} workers need up to {_gib(sum(most))} of memory, this machine has {_gib(memory)}; "
            f"use --workers {fits}."
        )
    room = shutil.disk_usage(_existing(place)).free if free is None else free
    peaks = sorted((e.disk_peak - e.disk for e in guesses.values()), reverse=True)[:workers]
    need = sum(e.disk for e in guesses.values()) + sum(peaks)
    if need > room:
        problems.append(f"{place}: the suite needs {_gib(need)} of disk, {_gib(room)} are free.")
    if problems:
        raise BadInput("\n".join(problems))


def _existing(place: Path) -> Path:
    return next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())


def _gib(number: float) -> str:
    return f"{number / 2**30:.3g} GiB"


def measure(config: dict[str, Any]) -> Calibration:
    """Measure in this process: a few iterations after a warm-up, the evaluation of one point."""
    import resource

    import torch

    from rlnet_bench.learning.learner import Learner
    from rlnet_bench.learning.play import evaluate
    from rlnet_bench.runs.checkpoint import flatten
    from rlnet_bench.runs.loop import build_learner
    from rlnet_bench.runs.segments import replace_rows

    torch.set_num_threads(int(config["threads"]))
    learner: Learner
    card, learner = build_learner(config)
    frames, per_frame = 0, 0.0
    if config["frames"]:
        method = method_of(config)
        warmup = method.warmup_frames(card, method.configure(config["settings"]))
        while not learner.frames or learner.frames <= warmup:  # until it learns as it will
            learner.iterate()
        start = time.perf_counter()
        while not frames or time.perf_counter() - start < MEASURE_SECONDS:
            learner.iterate()
            frames += learner.frames_per_iteration
        per_frame = (time.perf_counter() - start) / frames
    start, episodes = time.perf_counter(), config["evaluation"]["episodes"]
    evaluate(learner.policy(), card, config["seeds"], episodes, device=config["device"])
    point = 2 * (time.perf_counter() - start)
    end = point * config["evaluation"]["absolute_episodes"] / episodes  # too much where larger batches play faster
    tensors = flatten(replace_rows(learner.state_dict(), lambda rows: None))[1].values()
    weights = learner.policy().state_dict().values()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Calibration(
        per_frame, point, end, peak,
        sum(t.numel() * t.element_size() for t in tensors), 2 * sum(t.numel() * t.element_size() for t in weights),
    )  # fmt: skip


if __name__ == "__main__":
    accept(from_text(sys.argv[1]))
    for each in json.load(sys.stdin):
        print(json.dumps(asdict(measure(each))), flush=True)
