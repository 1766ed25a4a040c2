"""``rlnet-bench rank``: how far each method's place is certain, within its execution class."""

from __future__ import annotations

from typing import Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, print_json, print_table, say
from rlnet_bench.cli.stats import (
    KindOption,
    MetricChoice,
    MetricOption,
    ModeOption,
    ReferenceOption,
    SourceArgument,
    SourceOption,
    judged_source,
    told,
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
    from rlnet_bench.analysis.wording import listed
    from rlnet_bench.vocabulary import EXECUTION_CLASSES

    data = judged_source(source, store, suite, kind, mode, metric, reference)
    pool = data.pool
    out: list[dict[str, Any]] = []
    notes = [*told(data, kind), *pool.notes]
    if not pool.tasks:
        notes.append(f"Tasks are ranked one by one: {pool.why}")
    scores = {s.method: s for s in data.scores()}
    for name, members in data.classes.items():
        labels = [m.label for m in members]
        where: list[tuple[str, list[Any]]] = [("", pool.of(*labels))]
        if not pool.tasks:
            where = [(t, [scores[m].select([t]) for m in labels if scores[m].runs[t].n]) for t in data.results.tasks]
        for task, chosen in where:
            if not chosen:
                continue
            ranking = data.ranking(chosen)
            ties = data.tied(ranking)
            for r in ranking.ranks:
                out.append(
                    {
                        "class": name, "task": task or None, "method": r.method,
                        "tuning": data.info(r.method).tried, "rank": r.rank, "low": r.low,
                        "high": r.high, "mean": r.value, "verdict": _verdict(r.method, ties),
                        "p_against_best": ties.adjusted_p.get(r.method), "reason": ranking.reason,
                        "family": ranking.family,
                    }
                )  # fmt: skip
            if ranking.reason:
                notes.append(f"No claim in class {name}{f' on {task}' if task else ''}: {ranking.reason}")
        lost = [f"{m} ({pool.coverage(m)})" for m in labels if m in pool.lacking]
        if lost:
            notes.append(f"Class {name}, not ranked: {listed(lost)}")
    if json:
        print_json(
            {
                "level": data.level,
                "kind": data.kind,
                "mode": data.mode,
                "ranks": out,
                "lacking": {m: list(t) for m, t in pool.lacking.items()},
                "notes": list(dict.fromkeys(notes)),
            }
        )
        return
    by_task = any(r["task"] for r in out)
    for name in dict.fromkeys(r["class"] for r in out):
        rows = [
            (
                *([r["task"]] if by_task else []), r["method"], r["tuning"],
                str(r["low"]) if r["low"] == r["high"] else f"{r['low']}-{r['high']}", r["rank"], f"{r['mean']:.3g}",
                "" if r["p_against_best"] is None else f"{r['p_against_best']:.2g}", r["verdict"],
            )
            for r in out
            if r["class"] == name
        ]  # fmt: skip
        head = (
            *(["task"] if by_task else []),
            "method",
            "tuning",
            "ranks",
            "by mean",
            "mean",
            "p against the best",
            "",
        )
        print_table(head, rows, f"class {name}: {EXECUTION_CLASSES.get(name, 'not known')}")
        print()
    how = f"{data.level:.0%} simultaneous rank intervals from permutation tests of all pairs (step-down max-T)"
    say([how, *dict.fromkeys(f"Family: {r['family']}" for r in out), *notes])


def _verdict(method: str, ties: Any) -> str:
    if ties.reason or (not ties.worse and not ties.tied):
        return "no claim" if ties.reason else "alone in its class"
    if method == ties.best:
        return "best" if ties.bold else "highest mean, tied with all"
    return "tied with the best" if method in ties.tied else "worse than the best"
