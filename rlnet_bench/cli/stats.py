"""``rlnet-bench stats``: every aggregate with its interval; and what the statistics verbs share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json, print_table, say
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import EndKind, Mode

if TYPE_CHECKING:
    from rlnet_bench.analysis import Estimates
    from rlnet_bench.analysis.boards import TaskBoard, TaskCell
    from rlnet_bench.stats import Estimate

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
) -> Estimates:
    """Load a source and judge it.

    Raises:
        BadInput: when no run has a score of this kind.
    """
    from rlnet_bench.analysis import judge
    from rlnet_bench.analysis.estimates import has_scores

    results = loaded(source or store, suite).with_references(references(reference))
    estimates = judge(results, kind=kind, mode=mode, metric=metric.value)
    if not has_scores(estimates):
        which = kind or "absolute or final"
        raise BadInput(
            f"{results.name}: expected runs with {which} scores ({estimates.mode} actions, {metric.value}), found none."
        )
    return estimates


def told(estimates: Estimates, kind: EndKind | None = None) -> list[str]:
    """What to say under any table of these estimates."""
    notes = list(estimates.notes)
    if kind is None and estimates.kind == "final":
        notes.append("Nobody has absolute scores (best checkpoint, fresh episodes): final scores are compared.")
    return notes


def references(texts: list[str] | None) -> dict[str, tuple[float, float]]:
    """``TASK=LOW,HIGH`` options as what scores 0 and 1.

    Raises:
        BadInput: with the option as it was written.
    """
    found: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        task, _, limits = text.rpartition("=")
        try:
            low, high = (float(x) for x in limits.split(","))
        except ValueError:
            raise BadInput(f"--reference {text!r}: expected TASK=LOW,HIGH, for instance spread=-80,-20.") from None
        found[task] = low, high
    return found


def stats(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    solved: Annotated[float | None, typer.Option("--solved", help="Also the share of runs at or above this.")] = None,
    predict: Annotated[
        bool, typer.Option("--predict", help="Also where a new run, and a new mean of as many, will lie.")
    ] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="rliable: the cross-check.")] = Engine.rlnet,
    json: JsonFlag = False,
) -> None:
    """Estimate every aggregate with its interval, and every task's mean."""
    from rlnet_bench.analysis.wording import with_interval
    from rlnet_bench.stats import estimate_many, solve_rate

    data = judged_source(source, store, suite, kind, mode, metric, reference)
    pool = data.pool
    if engine is Engine.rliable:
        _cross_check(data, json)
        return
    table = dict(data.headline)
    if solved is not None:
        share = solve_rate(solved)
        rates = {s.method: estimate_many(s, [share], _unused(), level=data.level) for s in pool.scores}
        table = {m: row | rates[m] for m, row in table.items()}
    board = data.board()
    every = [*told(data, kind), *pool.notes]
    if not table:
        every.append(f"No suite aggregates: {pool.why or 'no trained method has runs'}")
    if json:
        print_json(
            {
                "suite": data.results.name, "kind": data.kind, "mode": data.mode, "metric": metric.value,
                "level": data.level, "unit": pool.unit,
                "classes": {m: data.info(m).execution for m in board.methods},
                "tuning": {m: data.info(m).tried for m in board.methods},
                "aggregates": _plain(table),
                "tasks": _plain({m: {t: c.estimate for t, c in row.items()} for m, row in board.cells.items()}),
                "lost": [{"method": m, "task": t, "what": text} for (m, t), text in board.lost.items()],
                "coverage": {m: pool.coverage(m) for m in pool.lacking},
                "predictions": _predictions(data),
                "notes": every,
            }
        )  # fmt: skip
        return
    if table:
        names = list(next(iter(table.values())))
        rows = [(*_head(data, m), *(with_interval(table[m][n]) for n in names)) for m in table]
        rows += [(*_head(data, m), pool.coverage(m), *[""] * (len(names) - 1)) for m in pool.lacking]
        how = data.results.origin.mode(data.mode)
        print_table((*HEAD, *names), rows, f"{data.results.name}: {data.kind}, {how}")
        print()
    tasks = [t for t in data.results.tasks if any(board.cell(m, t) or (m, t) in board.lost for m in board.methods)]
    rows = [(*_head(data, m), *(_cell(board, m, t) for t in tasks)) for m in board.methods]
    print_table((*HEAD, *tasks), rows, f"mean {metric.value} per task")
    print()
    if predict:
        _print_predictions(_predictions(data))
    every += [f"{m}, {t}: {c.runs.describe()}" for m, t, c in _troubled(board)]
    if any(c.mark for row in board.cells.values() for c in row.values()):
        every.append("‡: not comparable as it stands, see above")
    found = [e for row in table.values() for e in row.values()]
    found += [c.estimate for row in board.cells.values() for c in row.values()]
    reasons = {e.reason: None for e in found if e.reason}
    flags = {f: None for e in found for f in e.flags}
    shown = [f"{data.level:.0%} intervals over training runs"] if any(e.has_interval for e in found) else []
    say([*every, *shown, *(f"No interval: {r}" for r in reasons), *flags])


def _unused() -> Any:
    """Wilson's interval draws nothing."""
    import numpy as np

    return np.random.default_rng(0)


HEAD = ("method", "class", "tuning")


def _head(data: Any, method: str) -> tuple[str, str, str]:
    info = data.info(method)
    return method, info.execution, info.tried


def _cell(board: TaskBoard, method: str, task: str) -> str:
    from rlnet_bench.analysis.wording import with_interval

    cell = board.cell(method, task)
    if cell is None:
        return board.lost.get((method, task), "-")
    return with_interval(cell.estimate) + ("‡" if cell.mark else "")


def _troubled(board: TaskBoard) -> list[tuple[str, str, TaskCell]]:
    return [(m, t, c) for m, row in board.cells.items() for t, c in row.items() if c.runs.n_diverged or c.runs.lost]


def _predictions(data: Estimates) -> list[dict[str, Any]]:
    """Per method and task, where a new run and a new mean of as many runs will lie."""
    from rlnet_bench.stats import prediction_interval

    return [
        {
            "method": m, "task": t, "runs": c.n,
            "new_run": prediction_interval(c.runs.scores, 1, data.level),
            "new_mean": prediction_interval(c.runs.scores, c.n, data.level),
        }
        for m, row in data.board().cells.items() if data.info(m).trains
        for t, c in row.items() if c.n >= 3
    ]  # fmt: skip


def _print_predictions(found: list[dict[str, Any]]) -> None:
    from rlnet_bench.analysis.wording import rounded

    rows = []
    for p in found:
        texts = [rounded((low + high) / 2, low, high).bracket for low, high in (p["new_run"], p["new_mean"])]
        rows.append((p["method"], p["task"], p["runs"], *texts))
    title = f"where new runs will lie, {LEVEL:.0%} (normal theory)"
    print_table(("method", "task", "runs", "a new run", "a new mean of as many"), rows, title)
    print()


def _plain(table: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {m: {k: e.as_dict() for k, e in row.items()} for m, row in table.items()}


def _cross_check(data: Estimates, json: bool) -> None:
    """The same table by rliable, and ours minus it."""
    from rlnet_bench.analysis.streams import named
    from rlnet_bench.analysis.wording import with_interval
    from rlnet_bench.stats import rliable_table

    pool = data.pool
    if not pool.scores:
        raise BadInput(f"rliable has nothing to aggregate: {pool.why}. {' '.join(pool.notes)}".strip())
    check = rliable_table(pool.scores, named("rliable", pool.methods, pool.tasks, data.kind, data.mode, data.metric))
    if json:
        print_json({"ours": _plain(check.ours), "rliable": _plain(check.rliable), "difference": check.difference})
        return
    rows = []
    for method, row in check.ours.items():
        for name, ours in row.items():
            gap = check.difference[method][name]
            texts = ["-" if x is None else f"{x:+.2g}" for x in gap]
            rows.append((method, name, with_interval(ours), with_interval(check.rliable[method][name]), *texts))
    print_table(("method", "aggregate", "ours", "rliable", "value", "low", "high"), rows, "ours minus rliable")
    print()
    say(
        [
            *told(data),
            *pool.notes,
            f"Largest difference of a value: {check.largest_value_difference:.2g}",
            "rliable's IQM drops whole runs (trimming rounds down), ours takes fractions of runs at the edges: "
            "they differ unless the number of runs is a multiple of 4",
            "rliable's intervals are plain percentiles, ours are expanded for few runs; where the reference points "
            "have standard errors, only ours include them",
        ]
    )
