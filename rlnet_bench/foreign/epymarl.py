"""EPyMARL's sacred folders: ``config.json`` and ``metrics.json``, which hold one mean per evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from rlnet_bench.foreign.files import found_files, load_json, mapping, number, whole
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable, Kind, Malformed, Scale, checked_name, merged

TESTED = ("test_return_mean", "test_total_return_mean")
TRAINED = ("return_mean", "total_return_mean")
SUCCESS = ("test_battle_won_mean", "test_won_mean", "test_success_mean")


def read_epymarl(path: Path, scale: Scale = "unknown") -> ForeignTable:
    """Read one run's folder (or its ``metrics.json``), or every run below a directory.

    Args:
        path: a folder or file.
        scale: for runs whose configuration does not say how rewards were joined.

    Raises:
        BadInput: with file, key, what was expected and what was found.
    """
    tables = [_run(file, scale) for file in found_files(path, "metrics.json")]
    table = merged(tables, str(path))
    warnings = [*table.warnings]
    if any(e.kind == "curve" for e in table.evaluations):
        warnings.append(
            f"{path}: every point is a mean over test episodes; the episodes themselves were not kept, nor was any "
            "absolute score."
        )
    return replace(table, warnings=tuple(warnings))


def parse_run(config: Any, metrics: Any, name: str, scale: Scale = "unknown") -> ForeignTable:
    """Read the parsed files of one run; see :func:`read_epymarl`."""
    where = f"{name}: config.json"
    settings = mapping(config, where)
    method = checked_name(settings.get("name"), f"{where}: name", "algorithm")
    task = _task(settings, where)
    if "seed" not in settings:
        raise Malformed(where, "a key 'seed'", sorted(settings)[:20])
    seed = whole(settings["seed"], f"{where}: seed")
    found = mapping(metrics, f"{name}: metrics.json")
    key, kind = _chosen(found, name)
    frames, values = _series(found[key], f"{name}: metrics.json: {key}")
    rate_key = next((k for k in SUCCESS if k in found), None) if kind == "curve" else None
    rates: dict[int, float] = {}
    if rate_key is not None:
        at, shares = _series(found[rate_key], f"{name}: metrics.json: {rate_key}")
        rates = {f: v for f, v in zip(at, shares) if 0 <= v <= 1}
    episodes = settings.get("test_nepisode") if kind == "curve" else None
    count = whole(episodes, f"{where}: test_nepisode") if episodes is not None else 0
    evaluations = tuple(
        Evaluation(
            method, task, seed, kind, "deterministic" if settings.get("test_greedy", True) else "sampled", f,
            np.array([[v]]), np.array([rates[f]]) if f in rates else None, count if count > 1 else None,
        )
        for f, v in zip(frames, values)
    )  # fmt: skip
    limit = mapping(settings.get("env_args"), f"{where}: env_args").get("time_limit")
    facts = CellFacts(
        _scale(settings, key, scale, where),
        "frames",
        whole(limit, f"{where}: env_args/time_limit") if limit is not None else None,
    )
    warnings: tuple[str, ...] = ()
    if kind == "training":
        warnings = (
            f"{name}: no test returns, only training returns ({key!r}), which include exploration; they are kept as "
            "training and never scored.",
        )  # fmt: skip
    return ForeignTable(name, evaluations, {(method, task): facts}, warnings=warnings)


def _run(file: Path, scale: Scale) -> ForeignTable:
    config = file.with_name("config.json")
    if not config.is_file():
        raise Malformed(str(file.parent), "config.json beside metrics.json", "nothing of that name")
    return parse_run(load_json(config), load_json(file), str(file.parent), scale)


def _task(settings: dict[str, Any], where: str) -> str:
    env = checked_name(settings.get("env"), f"{where}: env", "environment")
    arguments = mapping(settings.get("env_args"), f"{where}: env_args")
    name = arguments.get("key") or arguments.get("map_name")
    if name is None:
        raise Malformed(f"{where}: env_args", "a key 'key' or 'map_name'", sorted(arguments))
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
    return frames, [number(v, f"{where}/values[{i}]") for i, v in enumerate(values)]


def _scale(settings: dict[str, Any], key: str, given: Scale, where: str) -> Scale:
    """Total returns are sums; common rewards are joined as the configuration says, if it says."""
    if "total_return" in key:
        return "sum"
    joined = settings.get("reward_scalarisation") if settings.get("common_reward", True) else None
    if joined is None:
        return given
    if joined not in ("sum", "mean"):
        raise Malformed(f"{where}: reward_scalarisation", "sum or mean", joined)
    if given not in ("unknown", joined):
        raise Malformed(f"{where}: reward_scalarisation", f"{given!r} as --scale says", joined, "Leave --scale out.")
    return cast(Scale, joined)
