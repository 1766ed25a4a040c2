"""``check_launcher``: the public conformance test of a launcher.

It runs a tiny suite, kills workers half-way with SIGKILL, stops the launch cleanly and starts it again.
Everything must end with the records of an undisturbed run to the bit: nothing lost, nothing run twice.
Workers are found through their leases, so that the test knows nothing of the engine; those on other
machines cannot be killed from here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import ContractViolation
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.launch import Launcher, Workers
from rlnet_bench.runs.lease import is_near
from rlnet_bench.runs.plan import Group, Plan, make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite

TINY: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 10, "hidden": [8], "critic_hidden": [8], "epochs": 1, "minibatches": 1,
}  # fmt: skip


@dataclass(frozen=True)
class LauncherReport:
    """What :func:`check_launcher` found."""

    killed: tuple[str, ...]  # run ids whose worker was killed
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def raise_if_failed(self) -> None:
        """Raise :class:`~rlnet_bench.errors.ContractViolation` with every problem, if there is any."""
        if self.problems:
            raise ContractViolation("the launcher breaks its contract:\n" + "\n".join(f"  {p}" for p in self.problems))


def tiny_plan(frames: int = 2000, seeds: int = 3) -> Plan:
    """A suite of ``seeds`` groups of some seconds each, with many moments at which to be killed."""
    suite = {
        "name": "check-launcher", "tasks": ["mpe/simple_spread-discrete-v1"], "methods": [{"id": "ippo", "set": TINY}],
        "seeds": seeds, "seed_group": 1, "budget": {"frames": frames},
        "evaluation": {"every": max(1, frames // 10), "episodes": 2, "absolute_episodes": 3},
    }  # fmt: skip
    return make_plan(Suite.model_validate(suite))


def check_launcher(
    make: Callable[[], Launcher],
    *,
    plan: Plan | None = None,
    workers: int = 2,
    kills: int = 1,
    folder: str | Path | None = None,
    deadline: float = 600.0,
) -> LauncherReport:
    """Test a launcher.

    Args:
        make: makes a fresh launcher; called twice.
        plan: a small plan instead of :func:`tiny_plan`.
        workers: how many to start.
        kills: how many groups lose their worker to SIGKILL.
        folder: for the stores; a temporary directory by default. All workers must see it.
        deadline: seconds after which the check gives up.
    """
    grid = plan or tiny_plan()
    with ExitStack() as stack:
        root = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="check-launcher-"))
        if folder is None:
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        calm = _store(root / "calm", grid)
        disturbed = _store(root / "disturbed", grid)
        _undisturbed(calm, grid)
        ends = time.monotonic() + deadline
        murderer = _Murderer(disturbed, grid, kills, ends)
        problems = _kill_then_stop(make(), disturbed, grid, workers, murderer)
        second = make()
        try:
            launched = Workers(disturbed, grid, workers, second)
            launched.start()
            complaint = launched.wait(lambda: _patience(ends))
        finally:
            second.close()
        problems += compare_stores(calm, disturbed, grid, murderer.killed)
        if problems and complaint:
            problems.append(f"the workers' last words: {complaint}")
        return LauncherReport(tuple(murderer.killed), tuple(problems))


def compare_stores(calm: Store, disturbed: Store, plan: Plan, killed: list[str]) -> list[str]:
    """Sentences about what differs between an undisturbed store and one whose workers were killed."""
    problems = []
    for group in plan.groups:
        status, name = disturbed.status(group), group.describe()
        if status["status"] != "ok":
            problems.append(f"{name}: expected ok, found {status['status']} {status.get('reason', '')}".strip())
            continue
        allowed = 1 + killed.count(group.run_id)
        if status["attempts"] > allowed:
            problems.append(f"{name}: run {status['attempts']} times, expected at most {allowed}")
        if disturbed.holder(group) is not None or (disturbed.folder(group) / "lease.json").exists():
            problems.append(f"{name}: a lease was left behind")
        products, expected = _products(disturbed.folder(group)), _products(calm.folder(group))
        problems += [
            f"{name}: {file} differs from the undisturbed run"
            for file in sorted(products.keys() | expected.keys())
            if products.get(file) != expected.get(file)
        ]
    return problems


class _Murderer:
    """Kills the workers of the first groups that are seen half-way."""

    def __init__(self, store: Store, plan: Plan, kills: int, ends: float) -> None:
        self.store, self.plan, self.kills, self.ends = store, plan, kills, ends
        self.killed: list[str] = []

    def half_way(self, group: Group) -> dict[str, Any]:
        """The lease of a group that has recorded something and is not over; else empty."""
        folder = self.store.folder(group)
        if self.store.status(group)["status"] != "running" or self.store.holder(group) is None:
            return {}
        evals = folder / "evals.jsonl"
        return read_mapping(folder / "lease.json") if evals.exists() and evals.stat().st_size else {}

    def __call__(self) -> None:
        """Look around; raises _Enough when all murders are done and another group is half-way."""
        _patience(self.ends)
        for group in self.plan.groups:
            if group.run_id in self.killed:
                continue
            lease = self.half_way(group)
            if not lease or not is_near(lease.get("place")):
                continue
            if len(self.killed) >= self.kills:
                raise _Enough
            with contextlib.suppress(ProcessLookupError):
                os.kill(lease["pid"], signal.SIGKILL)
                self.killed.append(group.run_id)


class _Enough(Exception):
    """The launch has been disturbed enough: stop it."""


def _kill_then_stop(launcher: Launcher, store: Store, plan: Plan, workers: int, murderer: _Murderer) -> list[str]:
    problems = []
    launched = Workers(store, plan, workers, launcher)
    try:
        launched.start()
        launched.wait(murderer)
    except _Enough:  # wait() has stopped the workers
        problems += [f"{g.describe()}: still held after stop()" for g in plan.groups if store.holder(g) is not None]
    finally:
        launcher.close()
    if len(murderer.killed) < murderer.kills:
        problems.append(f"killed {len(murderer.killed)} workers, wanted {murderer.kills}: the groups are too short")
    return problems


def _patience(ends: float) -> None:
    if time.monotonic() > ends:
        raise ContractViolation("check_launcher: nothing ended within the deadline; the launcher hangs.")


def _store(root: Path, plan: Plan) -> Store:
    store = Store.create(root)
    store.add_plan(plan)
    return store


def _undisturbed(store: Store, plan: Plan) -> None:
    from rlnet_bench.runs.worker import work

    work(store, plan.groups)


def _products(folder: Path) -> dict[str, bytes]:
    """What a run leaves behind that is a function of its configuration."""
    policies = folder / "policies"
    files = [folder / "evals.jsonl", *(sorted(policies.iterdir()) if policies.is_dir() else ())]
    return {file.name: file.read_bytes() for file in files if file.exists()}
