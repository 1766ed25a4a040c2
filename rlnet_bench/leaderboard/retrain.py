"""V3: fresh training seeds by us. A lucky training seed survives any re-evaluation of its policy, and not this.

A third of the tasks, drawn by the season's secret, are trained again from seeds that the secret draws, too, with the
very configuration of the submission. Code is imported by the workers alone, only with ``trust_code``, and in processes
with limits (:mod:`rlnet_bench.runs.limits`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rlnet_bench.analysis.references import facts_of
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.claims import FAMILY, FEWEST
from rlnet_bench.leaderboard.evaluate import Draw
from rlnet_bench.leaderboard.evidence import Evidence, Retrained, Scored, scored
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.season import CONTROL
from rlnet_bench.leaderboard.submission import ALGORITHM, NETWORK
from rlnet_bench.runs.limits import Limits
from rlnet_bench.runs.plan import Group, make_plan, trust_groups
from rlnet_bench.runs.records import RunRecord, run_id
from rlnet_bench.runs.reproduce import run_again
from rlnet_bench.runs.suite import Suite
from rlnet_bench.stats import prediction_interval, sidak
from rlnet_bench.stats.intervals import welch
from rlnet_bench.trust import attribute, is_file, target

SHARE = 1 / 3  # of the tasks
SEEDS = 3
MARGIN = 0.05  # of the way from random to best: scores that close are the same


def retrain(
    folder: Folder,
    evidence: Evidence,
    draw: Draw,
    *,
    seeds: int = SEEDS,
    trust_code: bool = False,
    on_poll: Callable[[], None] = lambda: None,
) -> Evidence:
    """Train a third of a submission's tasks again, and say what came out beside what was submitted.

    Args:
        folder: the submission.
        evidence: of :func:`~rlnet_bench.leaderboard.verify.verify`.
        draw: of the season; practice otherwise, whose result ranks nothing.
        seeds: fresh ones per task.
        trust_code: import the submission's code, in the workers.
        on_poll: called while they run.

    Raises:
        BadInput: when the submission does not say how its policies were trained.
        Untrusted: when it is code that nobody trusted.
        WorkFailed: when a run fails.
    """
    tasks = chosen(folder, draw)
    found = {}
    for task in tasks:
        group = fresh_group(folder, task, draw, seeds)
        given = [_given(folder, group)] if trust_code and is_file(group.config["method"]) else []
        trust_groups([group], folder.path, trust_code, given)
        with TemporaryDirectory(prefix="retrain-") as root:
            record = run_again(group, Path(root), on_poll, limits=Limits() if given else None)
        found[task] = judged(folder, task, record, sidak(FAMILY, len(tasks)))
    flags = tuple(f"{task}: {r.verdict}" for task, r in found.items() if not r.holds)
    done = replace(evidence, retrained=found, flags=evidence.flags + flags)
    is_ranked = evidence.season and folder.manifest.kind != "algorithm" and all(r.holds for r in found.values())
    return replace(done, level="V3") if is_ranked else done


def chosen(folder: Folder, draw: Draw) -> list[str]:
    """A third of the tasks, at least one, as the secret draws them."""
    names = sorted(t.id for t in folder.manifest.tasks)
    count = math.ceil(len(names) * SHARE)
    return sorted(names, key=lambda task: draw(f"{CONTROL}task of {folder.manifest.row}", task, 1))[:count]


def fresh_group(folder: Folder, task: str, draw: Draw, seeds: int) -> Group:
    """What was run on a task, with fresh seeds."""
    keys = draw(f"{CONTROL}training of {folder.manifest.row}", task, 4 * seeds)
    taken = set(folder.manifest.seeds)
    fresh = [s for key in dict.fromkeys(keys) if (s := key % 2**31) not in taken][:seeds]
    published = folder.publication
    if published is not None:
        old = next(g for g in published.plan.groups if g.config["task"] == task)
        config = {**old.config, "seeds": fresh}
        return Group(run_id(config), config, old.described)
    frames = folder.manifest.task(task).frames
    if folder.network is None or not frames:
        raise BadInput(f"{folder.manifest.row}: nothing says how it was trained on {task}: expected `records`, or a "
                       "network with the frames of its tasks.")  # fmt: skip
    suite = Suite.model_validate({
        "name": "retrain", "tasks": [task], "budget": {"frames": frames}, "seeds": fresh,
        "methods": [{"network": str(folder.path / NETWORK), "label": folder.manifest.method}],
        "evaluation": {"primary": folder.manifest.mode},
    })  # fmt: skip
    (group,) = make_plan(suite).groups
    return group


def _given(folder: Folder, group: Group) -> str:
    """The submitted file of a method, as somebody would type it."""
    name = group.config["method"]
    return f"{folder.path / ALGORITHM / Path(str(target(name))).name}:{attribute(name)}"


def judged(folder: Folder, task: str, record: RunRecord, level: float) -> Retrained:
    """Fresh runs beside the submitted ones: reproduced, not contradicted, or contradicted.

    *Reproduced* is an equivalence: two one-sided 5 % tests with a margin of 0.05 of the way from random to best. The
    runs are new, so *contradicted* is outside of the prediction interval of so many new runs.
    """
    mode = folder.manifest.mode
    runs = tuple(scored(line, record.run_id) for line in record.lines("absolute", mode))
    lost = [s for s, status in record.seed_status.items() if status != "ok"]
    floor = task_card(task).floor
    runs += tuple(Scored(s, floor, 0.0, 0, 0.0, "-", record.run_id, "diverged") for s in lost)
    ours = np.array([r.mean for r in runs], dtype=np.float64)
    theirs = np.array([c.mean for c in folder.manifest.claims if c.task == task])
    if len(theirs) < FEWEST:
        return Retrained(True, f"trained by us alone: {len(theirs)} runs were submitted", runs)
    if _is_equivalent(task, ours, theirs):
        return Retrained(True, "reproduced", runs)
    low, high = prediction_interval(theirs, len(ours), level)
    mean = float(ours.mean())
    if low <= mean <= high:
        return Retrained(True, "not contradicted", runs)
    return Retrained(
        False, f"contradicted by {len(ours)} fresh runs: {mean:.4g}, expected {low:.4g} to {high:.4g}", runs
    )


def _is_equivalent(task: str, ours: Sequence[float] | np.ndarray, theirs: np.ndarray) -> bool:
    bounds = facts_of(task_card(task)).bounds
    if bounds is None or len(ours) < 2:
        return False
    low, high = welch(theirs, np.asarray(ours), 0.9)
    return -MARGIN * bounds.gap < low and high < MARGIN * bounds.gap
