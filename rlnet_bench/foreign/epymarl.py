"""EPyMARL's sacred folders: ``config.json`` and ``metrics.json``, which hold one mean per evaluation.

``run.json`` says how a run ended, ``t_max`` how far it should have gone: one that did not get there is incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, cast

import numpy as np

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.foreign.completeness import falls_short
from rlnet_bench.foreign.files import found_files, load_json, load_text, mapping, number, whole
from rlnet_bench.foreign.gathered import gathered
from rlnet_bench.foreign.shares import as_shares
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable, Kind, Scale, checked_name
from rlnet_bench.reading.plain import parse_json

TESTED = ("test_return_mean", "test_total_return_mean")
TRAINED = ("return_mean", "total_return_mean")
METRICS = ("metrics.json", "info.json")  # info.json: what PyMARL keeps its numbers in
SUCCESS = ("test_battle_won_mean", "test_won_mean", "test_success_mean")


@dataclass(frozen=True)
class SacredOptions:
    """How folders are to be read: ``scale``, ``method`` and ``task`` are for configurations that do not say them."""

    scale: Scale = "unknown"
    method: str | None = None
    task: str | None = None
    skip_broken: bool = False  # leave unreadable runs out, rather than count them as failed


def read_epymarl(path: Path, options: SacredOptions | None = None) -> ForeignTable:
    """Read one run's folder (or its ``metrics.json``), or every run below a directory.

    A run whose numbers cannot be read, but whose configuration can, counts as failed; one without either is named.

    Raises:
        BadInput: with file, key, what was expected and what was found, when no run is left.
    """
    options = options or SacredOptions()
    table = as_shares(gathered(_folders(path), lambda folder: _run(folder, options), str(path)))
    warnings = [*table.warnings]
    if any(e.kind == "curve" for e in table.evaluations):
        warnings.append(
            f"{path}: every point is a mean over test episodes; the episodes themselves were not kept, nor was any "
            "absolute score."
        )
    return replace(table, warnings=tuple(warnings))


def parse_run(
    config: Any, metrics: Any, name: str, options: SacredOptions | None = None, ended: Mapping[str, Any] | None = None
) -> ForeignTable:
    """Read the parsed files of one run, ``ended`` being its ``run.json``; see :func:`read_epymarl`."""
    options = options or SacredOptions()
    where = f"{name}: config.json"
    settings = mapping(config, where)
    method, task, seed = _identity(settings, where, options)
    found = mapping(metrics, f"{name}: metrics.json")
    key, kind = _chosen(found, name)
    frames, values = _series(found[key], f"{name}: metrics.json: {key}")
    rate_key = next((k for k in SUCCESS if k in found), None) if kind == "curve" else None
    rates: dict[int, float] = {}
    if rate_key is not None:
        at, shares = _series(found[rate_key], f"{name}: metrics.json: {rate_key}")
        rates = dict(zip(at, shares))
    episodes = settings.get("test_nepisode") if kind == "curve" else None
    count = whole(episodes, f"{where}: test_nepisode") if episodes is not None else 0
    evaluations = tuple(
        Evaluation(
            method, task, seed, kind, "deterministic" if settings.get("test_greedy", True) else "sampled", f,
            np.array([[v]]), np.array([rates[f]]) if f in rates else None, count if count > 1 else None,
        )
        for f, v in zip(frames, values)
        if isfinite(v)
    )  # fmt: skip
    facts = CellFacts(
        _scale(settings, key, options.scale, where),
        "frames",
        _limit(settings, where),
    )
    warnings: tuple[str, ...] = ()
    if kind == "training":
        warnings = (
            f"{name}: no test returns, only training returns ({key!r}), which include exploration; they are kept as "
            "training and never scored.",
        )  # fmt: skip
    table = ForeignTable(name, evaluations, {(method, task): facts}, warnings=warnings)
    if not isfinite(values[-1]):
        return replace(table, statuses={(method, task, seed): "diverged"})
    why = _ended_early(settings, ended or {}, max(frames), where)
    run = method, task, seed
    return replace(table, statuses={run: "incomplete"}, reasons={run: why}) if why else table


def _ended_early(settings: dict[str, Any], ended: Mapping[str, Any], end: int, where: str) -> str:
    """Why a run is incomplete: sacred says so and it did not reach ``t_max``, or it stops far before that."""
    goal = whole(settings["t_max"], f"{where}: t_max") if settings.get("t_max") is not None else 0
    every = settings.get("test_interval")
    slack = whole(every, f"{where}: test_interval") if every is not None else 0
    status = str(ended.get("status", "COMPLETED"))[:40]
    at = f"at {end:,} of {goal:,} steps" if goal else f"at {end:,} steps"
    if status != "COMPLETED" and (not goal or end < goal):
        return f"{status} {at}"
    return f"ends {at}" if falls_short(end, goal) and end + slack < goal else ""


def _folders(path: Path) -> list[Path]:
    """The folders of runs: those with a configuration, and those that lost it."""
    if path.is_file():
        return [path.parent]
    found = {f.parent for pattern in ("metrics.json", "config.json") if _any(path, pattern)
             for f in found_files(path, pattern) if f.parent.name != "_sources"}  # fmt: skip
    return sorted(found) or [f.parent for f in found_files(path, "metrics.json")]


def _any(path: Path, pattern: str) -> bool:
    return path.is_dir() and next(path.rglob(pattern), None) is not None


def _run(folder: Path, options: SacredOptions) -> ForeignTable:
    config, ended = (folder / f"{n}.json" for n in ("config", "run"))
    if not config.is_file():
        raise Malformed(str(folder), "config.json beside metrics.json", "nothing of that name")
    settings = load_json(config)
    try:
        return parse_run(settings, _metrics(folder), str(folder), options, _state(ended))
    except BadInput as error:
        if options.skip_broken:
            raise
        where = f"{folder}: config.json"
        method, task, seed = _identity(mapping(settings, where), where, options)
        facts = {
            (method, task): CellFacts(_scale(settings, "", options.scale, where), "frames", _limit(settings, where))
        }
        return ForeignTable(
            str(folder), (), facts, {(method, task, seed): "failed"}, reasons={(method, task, seed): str(error)}
        )


def _metrics(folder: Path) -> Any:
    """The series of a run; NaN in them says that it broke down."""
    metrics, info = (folder / name for name in METRICS)
    known = parse_json(load_text(metrics), str(metrics), finite=False) if metrics.is_file() else {}
    if known or not info.is_file():
        if not metrics.is_file():
            raise Malformed(str(folder), "metrics.json beside config.json", "nothing of that name")
        return known
    told = parse_json(load_text(info), str(info), finite=False)
    pairs = told if isinstance(told, dict) else {}
    series = {k: {"steps": pairs[f"{k}_T"], "values": v} for k, v in pairs.items() if f"{k}_T" in pairs}
    return series or known


def _state(file: Path) -> dict[str, Any]:
    """What ``run.json`` says; nothing where it is absent or broken off."""
    try:
        found = load_json(file) if file.is_file() else {}
    except BadInput:
        return {"status": "broken off"}
    return found if isinstance(found, dict) else {}


def _identity(settings: dict[str, Any], where: str, options: SacredOptions) -> tuple[str, str, int]:
    method = checked_name(settings.get("name", options.method), f"{where}: name", "algorithm")
    task = _task(settings, where, options.task)
    if "seed" not in settings:
        raise Malformed(where, "a key 'seed'", sorted(settings)[:20])
    return method, task, whole(settings["seed"], f"{where}: seed")


def _limit(settings: dict[str, Any], where: str) -> int | None:
    limit = mapping(settings.get("env_args"), f"{where}: env_args").get("time_limit")
    return whole(limit, f"{where}: env_args/time_limit") if limit is not None else None


def _task(settings: dict[str, Any], where: str, given: str | None) -> str:
    if given:
        return checked_name(given, "--task", "task")
    env = checked_name(settings.get("env"), f"{where}: env", "environment")
    arguments = mapping(settings.get("env_args"), f"{where}: env_args")
    name = arguments.get("key") or arguments.get("map_name")
    if name is None:
        raise Malformed(f"{where}: env_args", "a key 'key' or 'map_name'", sorted(arguments), "Or give --task NAME.")
    return checked_name(name if arguments.get("key") else f"{env}/{name}", f"{where}: env_args", "task")


def _chosen(metrics: dict[str, Any], name: str) -> tuple[str, Kind]:
    """Which series is the return, and whether it was made by testing."""
    for keys, kind in ((TESTED, "curve"), (TRAINED, "training")):
        for key in keys:
            if key in metrics:
                return key, cast(Kind, kind)
    raise Malformed(f"{name}: metrics.json", f"one of {', '.join((*TESTED, *TRAINED))}", sorted(metrics)[:20])


def _series(value: Any, where: str) -> tuple[list[int], list[float]]:
    series = mapping(value, where)
    steps, values = series.get("steps"), series.get("values")
    if not isinstance(steps, list) or not isinstance(values, list) or not steps or len(steps) != len(values):
        raise Malformed(where, "lists 'steps' and 'values' of equal length", series)
    frames = [whole(s, f"{where}/steps[{i}]") for i, s in enumerate(steps)]
    if len(set(frames)) < len(frames):
        raise Malformed(f"{where}/steps", "every step once", frames)
    return frames, [_value(v, f"{where}/values[{i}]") for i, v in enumerate(values)]


def _value(value: Any, where: str) -> float:
    """A number of a series; NaN and infinities too, for they say that a run broke down."""
    plain = value["value"] if isinstance(value, dict) and "value" in value else value
    return plain if isinstance(plain, float) else number(plain, where)


def _scale(settings: dict[str, Any], key: str, given: Scale, where: str) -> Scale:
    """Total returns are sums; common rewards are joined as the configuration says, else as ``given``."""
    if "total_return" in key:
        return "sum"
    joined = settings.get("reward_scalarisation") if settings.get("common_reward", True) else None
    if joined is None:
        return given
    if joined not in ("sum", "mean"):
        raise Malformed(f"{where}: reward_scalarisation", "sum or mean", joined)
    return cast(Scale, joined)
