"""Where the numbers come from: versions, hashes, commands, run ids, and the reference points."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.wording import fixed, short_count, significant
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import Cell, Column, Group, Table

# Of clock, host or person: not in a report that must come out the same elsewhere. Paths are in no report.
_PRIVATE = re.compile(
    r"(^|[._-])(host|hostname|node|machine|platform|processor|user|login|path|paths|dir|directory|cwd|argv|executable|file|prefix"
    r"|time|times|timestamp|date|created|start|started|end|ended|finished|clock|pid|cpu|cpus|gpu|cores|memory|load|seconds)"
    r"($|[._-])",
    re.IGNORECASE,
)
_PATH = re.compile(r"(^|[\s=:\"'])(/|~/|[A-Za-z]:\\)[^\s]")
_LIBRARIES = ("rlnet-bench", "numpy", "scipy", "matplotlib")


STATISTICS = {
    "Unit": "the training run (one seed); episodes only shrink the noise within a run",
    "Absolute": "each run's best checkpoint, chosen on the evaluations during training, re-scored on fresh episodes",
    "Final": "each run's last weights, scored on fresh episodes",
    "Normalisation": "(score − random) / (best − random) with the task cards' reference points, whose standard "
    "errors enter the intervals; never clipped",
    "IQM": "mean of the middle half of the weighted runs, fractional weights at the edges; tasks weigh equally",
    "Intervals": "stratified bootstrap over runs within tasks, expanded percentile (t-corrected quantiles), %LEVEL%",
    "Few seeds": "fewer than 3 runs: the runs; 3 or 4 on one task: mean and range, no interval, no bold; "
    "an aggregate needs 8 runs beyond the first of each task",
    "Ties and ranks": "permutation tests of suite means, labels shuffled within tasks, all pairs of a class "
    "adjusted by step-down max-T; rank intervals are simultaneous",
    "Improvement": "share of run pairs won, ties half, averaged over tasks; expanded percentile widened by "
    "Newcombe's variance (one task: Newcombe's score interval)",
    "Profiles": "share of runs above each threshold with a simultaneous sup-t band",
    "Diverged, failed, missing": "a diverged run scores the task's floor and counts in n; a failed or missing one "
    "is counted and never scored",
}


@dataclass(frozen=True)
class Command:
    """An exact command and what it does."""

    text: str
    purpose: str


def commands(estimates: Estimates) -> tuple[Command, ...]:
    """How to make these numbers again."""
    name, source = estimates.results.name, estimates.results.suite.get("source")
    if source is not None:  # imported: nothing here can run it again
        return (
            Command(f"rlnet-bench report {source}", "build this report from the imported file"),
            Command(f"rlnet-bench table {source} --format latex", "print a paper table"),
        )
    out = [
        Command(f"rlnet-bench run {name}", "run what the suite lacks"),
        Command(f"rlnet-bench report --suite {name}", "build this report from the store"),
        Command(f"rlnet-bench table --suite {name} --format latex", "print a paper table"),
    ]
    first = next((r.run_id for r in estimates.results.records), None)
    if first:
        out.append(Command(f"rlnet-bench reproduce rlnet-store/runs/{first}", "run one group again and compare"))
    return tuple(out)


def methods_text(estimates: Estimates) -> tuple[tuple[str, str], ...]:
    """Name and description of every statistic used."""
    first = next(iter(estimates.headline.values()), {})
    resamples = max((e.n_resamples for e in first.values()), default=0)
    how_many = f", {resamples} resamples" if resamples else ""
    return tuple((k, v.replace("%LEVEL%", f"{estimates.level:.0%}{how_many}")) for k, v in STATISTICS.items())


def versions(estimates: Estimates, timings: bool) -> tuple[tuple[str, str], ...]:
    """Key and value(s) of what the records say about where they were made, and of this report's libraries."""
    found: dict[str, dict[str, None]] = {}
    for record in estimates.results.records:
        for key, value in _flat(record.provenance):
            if not _PATH.search(value) and (timings or not _PRIVATE.search(key)):
                found.setdefault(key, {})[value] = None
    out = [(f"runs: {key}", _several(list(values))) for key, values in sorted(found.items())]
    return (*out, *((f"report: {name}", _installed(name)) for name in _LIBRARIES))


def _several(values: list[str]) -> str:
    return "; ".join(values) if len(values) <= 3 else f"{len(values)} values, {min(values)} to {max(values)}"


def _flat(data: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(data, dict):
        return [pair for k, v in data.items() for pair in _flat(v, f"{prefix}.{k}" if prefix else str(k))]
    return [(prefix, data if isinstance(data, str) else json.dumps(data, default=str))]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def suite_text(estimates: Estimates) -> str:
    """The resolved suite as JSON."""
    return json.dumps(estimates.results.suite, indent=2, sort_keys=True, default=str)


def task_table(estimates: Estimates) -> Table:
    """Each task's card: rules, digest and reference points with n, standard error and command."""
    rows, numbers = [], []
    for fact in estimates.facts:
        card = fact.card
        points = []
        for name in ("random", "uncoordinated", "best"):
            r = fact.reference(name)
            if r is None:
                points.append(Cell("–", note="not measured"))
                continue
            mark = ", provisional" if r.provisional else ""
            text = f"{r.policy}, se {significant(r.se, 2)}, n = {short_count(r.n)}{mark}" if r.n else r.policy
            points.append(Cell(fixed(r.value, 2), text, sort=r.value, note=r.command))
            numbers.append((fact.id, name, r.value, r.se, r.n, r.policy, r.provisional, r.command))
        rows.append(
            (
                Cell(fact.id, card.description + (" (channel task)" if card.channel else ""), sort=fact.id),
                Cell(card.faithful_to, sort=card.faithful_to),
                *points,
                Cell(fixed(card.floor, 1), sort=card.floor),
                Cell(card.hash()[:12], code=True),
            )
        )
    columns = (
        Column("Task", is_text=True, is_long=True), Column("Faithful to", is_text=True), Column("Random", "becomes 0"),
        Column("Uncoordinated", "best script"), Column("Best", "becomes 1"), Column("Floor", "of a diverged run"),
        Column("Card", "digest", is_text=True),
    )  # fmt: skip
    unpooled = tuple(f"{f.id} is not pooled: {f.why_not}." for f in estimates.facts if f.bounds is None)
    header = ("task", "reference", "value", "se", "episodes", "policy", "provisional", "command")
    return Table(
        "references", "Tasks and reference points", columns, (Group("", tuple(rows)),),
        "Reference points on the team-sum scale, with their standard error and number of episodes.",
        unpooled, Numbers(header, tuple(numbers)),
    )  # fmt: skip


def run_table(estimates: Estimates) -> Table:
    """Every run group: id, seeds, state."""
    rows = []
    for r in estimates.results.records:
        seeds = ", ".join(f"{s}" + ("" if v == "ok" else f" {v}") for s, v in sorted(r.seed_status.items()))
        device = str(r.config.get("device", ""))
        rows.append(
            (Cell(r.run_id, code=True), Cell(r.method), Cell(r.task), Cell(seeds), Cell(r.status), Cell(device))
        )
    titles = ("Run", "Method", "Task", "Seeds", "State", "Device")
    return Table(
        "runs", "Run groups", tuple(Column(t, is_text=True) for t in titles), (Group("", tuple(rows)),),
        "Runs were imported; their ids are digests of what the file says."
        if "source" in estimates.results.suite
        else "Run ids are digests of the resolved configuration.",
        (),
        Numbers(tuple(t.lower() for t in titles), tuple(tuple(c.text for c in row) for row in rows)),
    )  # fmt: skip


def state_table(estimates: Estimates) -> Table:
    """Method x task: how many of the declared runs are in."""
    infos = estimates.results.methods
    rows = []
    for info in infos:
        cells = [estimates.grid.cell(info.label, t) for t in estimates.results.tasks]
        rows.append((Cell(info.label, look=info.label), *(Cell(c.describe(), sort=float(c.done)) for c in cells)))
    columns = (Column("Method", is_text=True), *(Column(t, is_text=True) for t in estimates.results.tasks))
    numbers = tuple((c.method, c.task, seed, state) for c in estimates.grid.cells for seed, state in c.seeds.items())
    return Table(
        "state", "State of the grid", columns, (Group("", tuple(rows)),), "Runs that ended, of those declared.", (),
        Numbers(("method", "task", "seed", "state"), numbers),
    )  # fmt: skip
