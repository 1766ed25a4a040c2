"""``reproduce RUN_DIR``: run a group again and say whether the same came out.

*identical*: every line's digest is equal, weights included. *within interval*: other numbers, but for the
final and the absolute metric, in both modes, zero lies in the interval of the difference. With three seeds or
more it is Welch's interval over the seeds' means (training is chaotic: on another machine, a seed is a new
draw); with fewer, over the episodes of each seed. Its level is 95 % for all comparisons together
(Bonferroni). *different*: anything else.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import StoreError, WorkFailed
from rlnet_bench.runs.described import read_description
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.limits import Limits
from rlnet_bench.runs.local_launch import LocalLauncher
from rlnet_bench.runs.plan import Group, Plan, checked_run, method_of, trust_groups
from rlnet_bench.runs.provenance import provenance
from rlnet_bench.runs.record_checks import read_run
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.stats.intervals import welch
from rlnet_bench.vocabulary import KINDS, Kind, Mode

Verdict = Literal["identical", "within interval", "different"]
LEVEL = 0.95
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Comparison:
    """One difference of mean team returns, new minus stored, with its interval."""

    kind: Kind
    mode: Mode
    seed: int | None  # None: over seeds
    stored: float
    found: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether zero lies in the interval."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Reproduction:
    """The verdict, what it rests on, and what is known to have changed since."""

    verdict: Verdict
    run_id: str
    lines: int
    comparisons: tuple[Comparison, ...]
    changes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "comparisons": [{**asdict(c), "holds": c.holds} for c in self.comparisons]}


def reproduce(
    run_dir: str | Path,
    folder: str | Path | None = None,
    on_poll: Callable[[], None] = lambda: None,
    *,
    trust_code: bool = False,
    given: Iterable[str] = (),
) -> Reproduction:
    """Run the group of a run directory again, in a store of its own, and compare.

    Args:
        run_dir: ``STORE/runs/<id>`` of a group that has ended as ok or diverged.
        folder: for the new store, which is then kept; a temporary directory by default.
        on_poll: called while it runs.
        trust_code: import the code that the record names.
        given: where recorded files are now; see :func:`rlnet_bench.runs.policies.load_policy`.

    Raises:
        Untrusted: before anything is imported, when the record names code.
        StoreError: when the directory is no ended run, or its record was changed after it was written.
        WorkFailed: when the new run fails.
    """
    old = read_run(checked_run(Path(run_dir)))
    if old.status not in ("ok", "diverged"):
        raise StoreError(f"{run_dir}: expected a run that ended as ok or diverged, found {old.status}.")
    group = Group(old.run_id, old.config, read_description(Path(run_dir), old.config))
    trust_groups([group], run_dir, trust_code, given)
    with ExitStack() as stack:
        root = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="reproduce-"))
        if folder is None:
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        new = run_again(group, root / "store" if folder is None else root, on_poll)
        return compare(old, new, tuple(changes(old)))


def run_again(
    group: Group, root: Path, on_poll: Callable[[], None] = lambda: None, *, limits: Limits | None = None
) -> RunRecord:
    """Run a group in a store of its own, by a worker process.

    Args:
        group: its code, where it is code, is trusted.
        root: of the new store.
        on_poll: called while it runs.
        limits: of the worker, where the code is somebody else's.

    Raises:
        WorkFailed: when the run fails.
    """
    store, plan = Store.create(root), Plan(_suite(group.config), (group,))
    store.add_plan(plan)
    gpus = 1.0 if group.config["device"].startswith("cuda") else 0.0
    workers = Workers(store, plan, 1, LocalLauncher(gpus, limits=limits))
    workers.start()
    complaint = workers.wait(on_poll)
    new = store.record(group)
    if new is None or new.status not in ("ok", "diverged"):
        raise WorkFailed(f"{group.describe()}: it could not be run again. {new.reason if new else complaint}")
    return new


def compare(old: RunRecord, new: RunRecord, changed: Sequence[str] = ()) -> Reproduction:
    """The verdict on two records of one group."""
    same = {e.key: e.chain for e in old.evals} == {e.key: e.chain for e in new.evals}
    if same and old.seed_status == new.seed_status:
        return Reproduction("identical", old.run_id, len(old.evals), (), tuple(changed))
    comparisons = tuple(_comparisons(old, new))
    diverged = [{s for s, v in r.seed_status.items() if v == "diverged"} for r in (old, new)]
    holds = bool(comparisons) and all(c.holds for c in comparisons) and diverged[0] == diverged[1]
    return Reproduction(
        "within interval" if holds else "different", old.run_id, len(old.evals), comparisons, tuple(changed)
    )


def _comparisons(old: RunRecord, new: RunRecord) -> Iterator[Comparison]:
    """Over seeds where there are enough of them, else per seed."""
    pairs: list[tuple[Kind, Mode, int | None, np.ndarray, np.ndarray]] = []
    ends: tuple[Kind, ...] = tuple(k for k in KINDS if k != "curve")
    for kind in ends:
        for mode in get_args(Mode):
            stored, found = ({e.seed: e.team for e in r.lines(kind, mode)} for r in (old, new))
            both = sorted(stored.keys() & found.keys())
            if len(both) >= FEWEST_SEEDS:
                means = [np.array([side[s].mean() for s in both]) for side in (stored, found)]
                pairs.append((kind, mode, None, means[0], means[1]))
            else:
                pairs += [(kind, mode, s, stored[s], found[s]) for s in both]
    for kind, mode, seed, a, b in pairs:
        low, high = welch(a, b, 1 - (1 - LEVEL) / len(pairs))
        yield Comparison(kind, mode, seed, float(a.mean()), float(b.mean()), low, high)


def changes(old: RunRecord) -> Iterator[str]:
    """Sentences about what is not as it was when the run was made."""
    config = old.config
    card, method = task_card(config["task"]), method_of(config)
    if card.hash() != config["task_hash"]:
        yield f"the task {config['task']} has changed: card {config['task_hash']} then, {card.hash()} now"
    if method.version != config["method_version"]:
        yield f"the method {config['label']} has changed: version {config['method_version']} then, {method.version} now"
    if method.source_hash != config["method_source"]:
        yield f"the source of {config['method']} has changed: {config['method_source']} then, {method.source_hash} now"
    used = method.uses(method.configure(config["settings"]))
    for name, version in config.get("uses", {}).items():
        if used.get(name) != version:
            yield f"the method {name} at its vertices has changed: version {version} then, {used.get(name)} now"
    then, now = old.provenance, provenance()
    for name, version in then.get("packages", {}).items():
        here = now["packages"].get(name, "none")
        if here != version:
            yield f"{name} {version} then, {here} now"
    for key in ("processor", "python", "commit"):
        if then.get(key) and then[key] != now[key]:
            yield f"{key}: {then[key]} then, {now[key]} now"


def _suite(config: dict[str, Any]) -> Suite:
    """A suite around one group, so that a worker can be started on it."""
    kind = "id" if config["network"] is None else "network"
    return Suite.model_validate(
        {
            "name": "reproduce", "tasks": [config["task"]],
            "methods": [{kind: config["method"], "label": config["label"]}],
            "seeds": list(config["seeds"]), "budget": {"frames": max(1, config["frames"])},
        }
    )  # fmt: skip


def to_text(result: Reproduction) -> str:
    """The verdict as a paragraph."""
    rows = [
        f"  {c.kind}, {c.mode}, {'seeds' if c.seed is None else f'seed {c.seed}'}: "
        f"{c.stored:.4g} stored, {c.found:.4g} now, "
        f"difference in [{c.low:.4g}, {c.high:.4g}]{'' if c.holds else '  <- zero is outside'}"
        for c in result.comparisons
    ]
    head = f"{result.verdict}: {result.run_id}, {result.lines} evaluation lines"
    return "\n".join([head, *rows, *(f"  changed since: {c}" for c in result.changes)])


def dumps(result: Reproduction) -> str:
    """The verdict as JSON."""
    return json.dumps(result.to_json(), indent=1)
