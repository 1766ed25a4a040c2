"""``rlnet-bench rank``: how far each method's place is certain, within its execution class."""

from __future__ import annotations

from typing import Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, print_json, print_table
from rlnet_bench.cli.stats import (
    LEVEL,
    KindOption,
    MetricChoice,
    MetricOption,
    ModeOption,
    ReferenceOption,
    SourceArgument,
    SourceOption,
    judged_source,
    say,
)


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(rank)


def rank(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    json: JsonFlag = False,
) -> None:
    """Rank methods with simultaneous rank intervals; methods of different classes are never ranked together."""
    from rlnet_bench.analysis.classes import classes
    from rlnet_bench.analysis.estimates import ROOT
    from rlnet_bench.stats import rank_intervals, tied_with_best
    from rlnet_bench.stats.bootstrap import stream
    from rlnet_bench.vocabulary import EXECUTION_CLASSES

    data = judged_source(source, store, suite, kind, mode, metric, reference)
    out: list[dict[str, Any]] = []
    notes = list(data.notes)
    fair = [m for members in classes(data.results).values() for m in members if m.label in data.methods]
    for name in dict.fromkeys(m.execution for m in fair):
        members = [m.label for m in fair if m.execution == name]
        pooled, remarks = data.pooled(members)
        notes += remarks
        where: list[tuple[str, list[Any]]] = [("", pooled)]
        if not pooled:  # without reference points every task stands for itself
            notes.append("Tasks without reference points are ranked one by one")
            scores = [data.of(m) for m in members]
            tasks = data.results.tasks
            where = [(t, [s.select([t]) for s in scores if s.runs[t].n]) for t in tasks]
        for task, chosen in where:
            if not chosen:
                continue
            ranking = rank_intervals(chosen, stream(ROOT, f"ranks {name}{task}"), level=LEVEL)
            ties = tied_with_best(chosen, stream(ROOT, ""), ranking=ranking)
            for r in ranking.ranks:
                out.append(
                    {
                        "class": name, "task": task or None, "method": r.method, "rank": r.rank, "low": r.low,
                        "high": r.high, "mean": r.value, "verdict": _verdict(r.method, ties),
                        "p_against_best": ties.adjusted_p.get(r.method), "reason": ranking.reason,
                    }
                )  # fmt: skip
            if ranking.reason:
                notes.append(f"No claim in class {name}{f' on {task}' if task else ''}: {ranking.reason}")
    if json:
        print_json(
            {"level": LEVEL, "kind": data.kind, "mode": data.mode, "ranks": out, "notes": list(dict.fromkeys(notes))}
        )
        return
    by_task = any(r["task"] for r in out)
    for name in dict.fromkeys(r["class"] for r in out):
        rows = [
            (
                *([r["task"]] if by_task else []), r["method"],
                str(r["low"]) if r["low"] == r["high"] else f"{r['low']}-{r['high']}", r["rank"], f"{r['mean']:.3g}",
                "" if r["p_against_best"] is None else f"{r['p_against_best']:.2g}", r["verdict"],
            )
            for r in out
            if r["class"] == name
        ]  # fmt: skip
        head = (*(["task"] if by_task else []), "method", "ranks", "by mean", "mean", "p against the best", "")
        print_table(head, rows, f"class {name}: {EXECUTION_CLASSES.get(name, 'not known')}")
        print()
    say([f"{LEVEL:.0%} simultaneous rank intervals from permutation tests of all pairs (step-down max-T)", *notes])


def _verdict(method: str, ties: Any) -> str:
    if ties.reason or (not ties.worse and not ties.tied):
        return "no claim" if ties.reason else "alone in its class"
    if method == ties.best:
        return "best" if ties.bold else "highest mean, tied with all"
    return "tied with the best" if method in ties.tied else "worse than the best"
