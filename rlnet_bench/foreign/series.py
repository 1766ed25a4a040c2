"""One CSV file per run: TensorBoard's export of a scalar, RLlib's ``progress.csv`` (as MARLlib leaves it), and the
``scalars`` folders of torchrl's logger (as BenchMARL leaves them).

None of them says method, task and seed: they are read off the names of files and folders (``--runs``, or what these
show), and off RLlib's ``params.json``. Every number is a mean over an unknown number of episodes.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.foreign import guess
from rlnet_bench.foreign.csv import rows_of
from rlnet_bench.foreign.files import found_files, load_json, whole
from rlnet_bench.foreign.gathered import gathered
from rlnet_bench.foreign.table import ForeignTable, Run, Scale, StepUnit
from rlnet_bench.foreign.wandb import WandbOptions, one_run, template_pattern

Dialect = Literal["tensorboard", "rllib", "torchrl"]
TENSORBOARD = ["Wall time", "Step", "Value"]
RLLIB_STEPS = ("timesteps_total", "num_env_steps_sampled_lifetime", "num_env_steps_sampled")
RLLIB_RETURNS = (
    "evaluation/env_runners/episode_return_mean", "evaluation/sampler_results/episode_reward_mean",
    "evaluation/episode_reward_mean", "env_runners/episode_return_mean", "episode_reward_mean",
)  # fmt: skip
TORCHRL_RETURN, TORCHRL_FRAMES = "eval_reward_episode_reward_mean", "counters_total_frames"
_TAG = re.compile(r"^(?:run-)?(.+?)[-_]tag-(.+)$")
_BENCHMARL = re.compile(r"^([a-z]+)_(.+)_([a-z]+)__[0-9a-f]+_\d\d_\d\d_\d\d-\d\d_\d\d_\d\d$")


@dataclass(frozen=True)
class Series:
    """One file: the run that its place names, and its points (frames -> value)."""

    name: str
    metric: str
    unit: StepUnit
    points: dict[int, float]
    known: dict[str, str | int]  # method, task or seed, where something says them
    scale: Scale = "unknown"


def dialect_of(path: Path, header: list[str]) -> Dialect | None:
    """Whose file this is, by its header, or by its place where it has none."""
    names = [c.strip() for c in header]
    if names == TENSORBOARD:
        return "tensorboard"
    if any(s in names for s in RLLIB_STEPS) and any(r in names for r in RLLIB_RETURNS):
        return "rllib"
    return "torchrl" if path.parent.name == "scalars" and len(names) == 2 else None


def series_below(folder: Path) -> Dialect | None:
    """The dialect of the first file of a folder that has one."""
    for path in sorted(folder.rglob("*.csv"))[:40]:
        try:
            header = next(rows_of(guess.decoded(path)[0], str(path)))[1]
        except (BadInput, StopIteration):
            continue
        if found := dialect_of(path, header):
            return found
    return None


def read_series(path: Path, options: WandbOptions | None = None) -> ForeignTable:
    """Read one file, or every one below a folder.

    Raises:
        BadInput: with file, line, what was expected and what was found; or when the runs have no names.
    """
    options = options or WandbOptions()
    files = found_files(path, "*.csv")
    root = path if path.is_dir() else path.parent
    read: dict[Path, Series] = {}
    broken = []
    for file in files:
        try:
            if (found := _series(file, root, options)) is not None:
                read[file] = found
        except BadInput as error:
            broken.append(error)
    if not read:
        raise broken[0] if broken else Malformed(str(path), "a CSV file with the return of a run", "none")
    names = _named({s.name: s for s in read.values()}, options, str(path))
    table = gathered(list(read), lambda file: _table(file, read[file], names[read[file].name], options), str(path))
    notes = [f"{path}: every point is a mean over an unknown number of episodes."]
    if any(e.kind == "training" for e in table.evaluations):
        metric = next(s.metric for s in read.values())
        notes.append(
            f"{path}: {metric!r} does not look like an evaluation (no `eval` or `test` in it); it is kept as training "
            "and never scored. If it is one, add --evaluation."
        )
    if any(s.unit == "logger-steps" for s in read.values()):
        notes.append(f"{path}: nothing says what a step counts; --steps frames says that it is an environment step.")
    if not options.template and len(names) and not all(len(s.known) == 3 for s in read.values()):
        notes.append(f"{path}: {guess.said(names, '--runs says otherwise.')}")
    notes += [f"{path}: {len(broken)} files could not be read: {broken[0]}"] if broken else []
    return replace(table, warnings=(*table.warnings, *notes))


def _series(file: Path, root: Path, options: WandbOptions) -> Series | None:
    """One file; None for a scalar that is not the return."""
    text, _ = guess.decoded(file)
    rows = list(rows_of(text, str(file)))
    if not rows:
        raise Malformed(str(file), "rows of numbers", "an empty file")
    header = [c.strip() for c in rows[0][1]]
    dialect = dialect_of(file, header)
    place = str(file.relative_to(root).with_suffix(""))
    if dialect == "tensorboard":
        match = _TAG.match(file.stem)
        name, metric = (match[1], match[2]) if match else (place, file.stem)
        if options.metric and options.metric not in (metric, metric.replace("_", "/")):
            return None
        unit: StepUnit = options.steps or "logger-steps"
        return Series(name, metric, unit, _points(file, rows[1:], 1, 2), {})
    if dialect == "rllib":
        metric = options.metric or next(r for r in RLLIB_RETURNS if r in header)
        if metric not in header:
            raise Malformed(f"{file}, line 1", f"a column {metric!r}", header[:20])
        steps = next(s for s in RLLIB_STEPS if s in header)
        points = _points(file, rows[1:], header.index(steps), header.index(metric))
        name = file.parent.name
        known = _params(file.parent / "params.json")
        if known:  # a trial, whose name begins with that of the trainer
            known["method"] = re.split(r"[-_]", name)[0]
        return Series(name, metric, options.steps or "frames", points, known)
    if dialect == "torchrl":
        if file.stem != (options.metric or TORCHRL_RETURN):
            return None
        points = _points(file, rows, 0, 1)
        frames = file.with_name(f"{TORCHRL_FRAMES}.csv")
        unit = options.steps or "logger-steps"
        if frames.is_file():
            counted = _points(frames, list(rows_of(guess.decoded(frames)[0], str(frames))), 0, 1)
            points, unit = {int(counted[k]): v for k, v in points.items() if k in counted}, "frames"
        name = file.parent.parent.name
        match = _BENCHMARL.match(name)  # it averages over agents
        known = {"method": match[1], "task": match[2]} if match else {}
        return Series(name, file.stem, unit, points, known, "mean" if match else "unknown")
    return None


def _points(file: Path, rows: list[tuple[int, list[str]]], x: int, y: int) -> dict[int, float]:
    points: dict[int, float] = {}
    for line, row in rows:
        if len(row) <= max(x, y):
            raise Malformed(f"{file}, line {line}", f"at least {max(x, y) + 1} fields", f"a row of {len(row)}")
        if not row[y].strip():
            continue
        try:
            step, value = whole(float(row[x]), f"{file}, line {line}"), float(row[y])
        except ValueError:
            raise Malformed(f"{file}, line {line}", "numbers", row[:8]) from None
        points[step] = value  # a run that was resumed logs some steps again: the later value counts
    return points


def _params(file: Path) -> dict[str, str | int]:
    """What RLlib's configuration says of the run."""
    try:
        found = load_json(file) if file.is_file() else {}
    except BadInput:
        return {}
    settings = found.get("env_config", {}) if isinstance(found, dict) else {}
    known: dict[str, str | int] = {}
    task = settings.get("map_name") if isinstance(settings, dict) else None
    task = task or (found.get("env") if isinstance(found, dict) else None)
    if isinstance(task, str) and task:
        known["task"] = task
    seed = found.get("seed") if isinstance(found, dict) else None
    if isinstance(seed, int) and seed >= 0:
        known["seed"] = seed
    return known


def _named(runs: dict[str, Series], options: WandbOptions, where: str) -> dict[str, tuple[str, str, int]]:
    """Method, task and seed of every run.

    Raises:
        Malformed: when nothing says them.
    """
    out: dict[str, tuple[str, str, int]] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    shown = None if options.template else guess.run_names(list(runs), options.method, options.task)
    pattern = template_pattern(options.template) if options.template else None
    for name, found in runs.items():
        match = pattern.fullmatch(name) if pattern else None
        if pattern and match is None:
            raise Malformed(f"{where}: {name}", f"a run name like --runs {options.template!r}", name)
        parts: dict[str, str | int] = dict(zip(("method", "task", "seed"), shown[name])) if shown else {}
        parts |= found.known | (match.groupdict() if match else {})
        parts |= {k: v for k, v in (("method", options.method), ("task", options.task)) if v}
        lost = [p for p in ("method", "task") if p not in parts]
        if lost:
            raise Malformed(
                f"{where}: {name}", f"to learn its {' and '.join(lost)}", name,
                "Give a template of the names, for instance --runs '{method}_{task}_{seed}', and --method or --task "
                "for what they lack.",
            )  # fmt: skip
        cell = str(parts["method"]), str(parts["task"])
        out[name] = (*cell, int(parts["seed"]) if "seed" in parts else numbers[cell])
        numbers[cell] += 1
    twice = [run for run, n in Counter(out.values()).items() if n > 1]
    if twice:
        hint = "Give --runs that tells them apart."
        raise Malformed(where, "one run for every method, task and seed", twice[0], hint)
    return out


def _table(file: Path, found: Series, run: Run, options: WandbOptions) -> ForeignTable:
    table = one_run(str(file), run, found.metric, found.points, found.unit, options)
    if found.scale != "unknown" and options.scale not in ("unknown", found.scale):
        raise BadInput(f"{file}: these returns are averaged over agents; leave --scale out or give {found.scale}.")
    return table.with_scale(found.scale) if found.scale != options.scale and found.scale != "unknown" else table
