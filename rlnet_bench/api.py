"""Running suites from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import WorkFailed
from rlnet_bench.runs.launch import Workers, make_launcher
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite, load_suite, trust_typed


def run(
    suite: str | Path | Suite,
    store: str | Path = "rlnet-store",
    *,
    overrides: list[str] | None = None,
    workers: int = 1,
    checkpoint_seconds: float | None = None,
    methods: Sequence[str] = (),
    networks: Sequence[str] = (),
    tasks: Sequence[str] = (),
    trust_code: bool = False,
) -> Results:
    """Run what is left of a suite in worker processes and return its results.

    Args:
        suite: a suite's name, a YAML file, or a :class:`~rlnet_bench.runs.suite.Suite`.
        store: directory of the run store; made where there is none.
        overrides: ``key.path=value`` changes, as ``--set`` takes them.
        workers: processes.
        checkpoint_seconds: time between the checkpoints of a group (a minute by default); moves no number.
        methods: added to the suite's: ids, or ``file.py:Class``; what is given here is trusted by that.
        networks: added to the suite's: zoo ids or YAML files.
        tasks: added to the suite's: ids, or code, as for ``methods``.
        trust_code: also import the code that the suite or a network names.

    Raises:
        Untrusted: before anything is imported, when the suite names code (see ``trust_code``).
        RlnetError: for bad input; :class:`~rlnet_bench.errors.WorkFailed` when groups failed.
    """
    loaded = suite if isinstance(suite, Suite) else load_suite(suite, overrides)
    if methods or networks or tasks:
        loaded = loaded.extended(methods, networks, tasks)
    trust_typed(loaded, [*(overrides or ()), *methods, *tasks])
    plan = make_plan(loaded, trust_code=trust_code, asked_by="" if isinstance(suite, Suite) else str(suite))
    opened = Store.create(store)
    opened.add_plan(plan)
    started = Workers(opened, plan, workers, make_launcher("local", opened), checkpoint_seconds=checkpoint_seconds)
    started.start()
    complaint = started.wait(lambda: None)
    failed = [g.describe() for g in plan.groups if opened.status(g)["status"] not in ("ok", "diverged")]
    if failed:
        raise WorkFailed(f"{len(failed)} groups did not finish: {'; '.join(failed)}. {complaint}".strip())
    return load_results(opened, f"{loaded.name}-v{loaded.version}")
