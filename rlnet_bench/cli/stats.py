"""``rlnet-bench stats``: every aggregate with its interval; and what the statistics verbs share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json, print_table
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import EndKind, Mode

if TYPE_CHECKING:
    from rlnet_bench.analysis.judged import Judged
    from rlnet_bench.stats import Bounds, Estimate

LEVEL = 0.95
_SOURCE = "A run store, a published directory, or a results.csv."
SourceArgument = Annotated[str | None, typer.Argument(help=_SOURCE)]
SourceOption = Annotated[str, typer.Option("--store", help=_SOURCE)]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option("--reference", help="TASK=LOW,HIGH: what scores 0 and 1 on a task without reference points."),
]


class MetricChoice(StrEnum):
    """What is scored."""

    return_ = "return"
    success = "success"


class Engine(StrEnum):
    """Who computes the table."""

    rlnet = "rlnet"
    rliable = "rliable"


KindOption = Annotated[EndKind | None, typer.Option("--kind", help="absolute where there are such scores, else final.")]
ModeOption = Annotated[Mode | None, typer.Option("--mode", help="The suite's primary mode by default.")]
MetricOption = Annotated[MetricChoice, typer.Option("--metric")]


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(stats)


def judged_source(
    source: str | None,
    store: str,
    suite: str | None,
    kind: EndKind | None = None,
    mode: Mode | None = None,
    metric: MetricChoice = MetricChoice.return_,
    reference: list[str] | None = None,
) -> Judged:
    """Load a source and collect what may be compared."""
    from rlnet_bench.analysis.judged import judged

    results = loaded(source or store, suite)
    return judged(
        results,
        kind=kind,
        mode=mode,
        metric=metric.value,
        references=references(reference or []),
    )


def references(texts: list[str]) -> dict[str, Bounds]:
    """``TASK=LOW,HIGH`` options as bounds.

    Raises:
        BadInput: with the option as it was written.
    """
    from rlnet_bench.stats import Bounds

    found: dict[str, Bounds] = {}
    for text in texts:
        task, _, limits = text.rpartition("=")
        try:
            low, high = (float(x) for x in limits.split(","))
        except ValueError:
            raise BadInput(f"--reference {text!r}: expected TASK=LOW,HIGH, for instance spread=-80,-20.") from None
        found[task] = Bounds(low, high, source="--reference")
    return found


def text_of(e: Estimate) -> str:
    """``0.81 [0.77, 0.85]``, or the value alone; the reason is printed once below."""
    from rlnet_bench.analysis.rounding import rounded

    return str(rounded(e.value, e.low, e.high))


def say(notes: tuple[str, ...] | list[str]) -> None:
    """Remarks below a table, each once."""
    for note in dict.fromkeys(n for n in notes if n):
        print(f"- {note.rstrip('.')}.")


def stats(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    solved: Annotated[float | None, typer.Option("--solved", help="Also the share of runs at or above this.")] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="rliable: the cross-check.")] = Engine.rlnet,
    json: JsonFlag = False,
) -> None:
    """Estimate every aggregate with its interval, and every task's mean."""
    from rlnet_bench.analysis.estimates import AGGREGATES, ROOT
    from rlnet_bench.stats import aggregate_table, estimate, mean, solve_rate
    from rlnet_bench.stats.bootstrap import stream

    data = judged_source(source, store, suite, kind, mode, metric, reference)
    fair = [m for m in data.methods if data.info(m).trains]
    pooled, notes = data.pooled(fair) if fair else ([], ())
    if engine is Engine.rliable:
        _cross_check(pooled, notes, json)
        return
    aggregates = [*AGGREGATES, *([solve_rate(solved)] if solved is not None else [])]
    in_units = bool(pooled) and not pooled[0].bounds
    if in_units:  # a gap to 1 means nothing in a task's own units
        aggregates = [a for a in aggregates if a.name != "optimality_gap"]
    table = aggregate_table(pooled, stream(ROOT, f"aggregates {data.kind}"), statistics=aggregates) if pooled else {}
    tasks = {
        s.method: {
            t: estimate(
                s.select([t]), mean, stream(ROOT, f"task {data.kind} {data.mode} {metric.value} {t} {s.method}")
            )
            for t, runs in s.runs.items()
            if runs.n
        }
        for s in data.scores
    }
    every = [*data.notes, *notes]
    if not pooled and len(fair) > 0:
        every.append("No suite aggregates: no task with reference points is shared by all methods")
    if json:
        print_json(
            {
                "suite": data.results.name, "kind": data.kind, "mode": data.mode, "metric": metric.value,
                "level": LEVEL,
                "classes": {m: data.info(m).execution for m in data.methods},
                "aggregates": _plain(table), "tasks": _plain(tasks), "notes": every,
            }
        )  # fmt: skip
        return
    if table:
        names = [a.name for a in aggregates]
        rows = [(m, data.info(m).execution, *(text_of(table[m][n]) for n in names)) for m in table]
        print_table(("method", "class", *names), rows, f"{data.results.name}: {data.kind}, {data.mode} actions")
        print()
    names = [t for t in data.results.tasks if any(t in row for row in tasks.values())]
    rows = [
        (m, data.info(m).execution, *(text_of(row[t]) if t in row else "-" for t in names)) for m, row in tasks.items()
    ]
    print_table(("method", "class", *names), rows, f"mean {metric.value} per task")
    print()
    every += [f"{m}, {t}: {s.runs[t].describe()}" for s in data.scores for m, t in _troubled(s)]
    found = [e for row in (*table.values(), *tasks.values()) for e in row.values()]
    reasons = {e.reason: None for e in found if e.reason}
    flags = {f: None for e in found for f in e.flags}
    say([*every, f"{LEVEL:.0%} intervals over training runs", *(f"No interval: {r}" for r in reasons), *flags])


def _troubled(scores: Any) -> list[tuple[str, str]]:
    return [(scores.method, t) for t, r in scores.runs.items() if r.n_diverged or r.n_failed or r.n_missing]


def _plain(table: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {m: {k: e.as_dict() for k, e in row.items()} for m, row in table.items()}


def _cross_check(pooled: list[Any], notes: tuple[str, ...], json: bool) -> None:
    """The same table by rliable, and ours minus it."""
    from rlnet_bench.analysis.estimates import ROOT
    from rlnet_bench.stats import rliable_table
    from rlnet_bench.stats.bootstrap import stream

    if not pooled:
        raise BadInput(f"rliable has nothing to aggregate. {' '.join(notes)}".strip())
    check = rliable_table(pooled, stream(ROOT, "aggregates absolute"))
    if json:
        print_json({"ours": _plain(check.ours), "rliable": _plain(check.rliable), "difference": check.difference})
        return
    rows = []
    for method, row in check.ours.items():
        for name, ours in row.items():
            gap = check.difference[method][name]
            texts = ["-" if x is None else f"{x:+.2g}" for x in gap]
            rows.append((method, name, text_of(ours), text_of(check.rliable[method][name]), *texts))
    print_table(("method", "aggregate", "ours", "rliable", "value", "low", "high"), rows, "ours minus rliable")
    print()
    say(
        [
            *notes,
            f"Largest difference of a value: {check.largest_value_difference:.2g}",
            "rliable's IQM drops whole runs (trimming rounds down), ours takes fractions of runs at the edges: "
            "they differ unless the number of runs is a multiple of 4",
            "rliable's intervals are plain percentiles, ours are expanded for few runs; where the reference points "
            "have standard errors, only ours include them",
        ]
    )
