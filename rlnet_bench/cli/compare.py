"""``rlnet-bench compare A B``: better, worse, or not distinguishable with so many seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json, print_table, say
from rlnet_bench.cli.report import Format, show
from rlnet_bench.cli.stats import (
    KindOption,
    MetricChoice,
    MetricOption,
    ModeOption,
    ReferenceOption,
    SourceArgument,
    SourceOption,
    judged_source,
    references,
    told,
)
from rlnet_bench.errors import BadInput, RlnetError
from rlnet_bench.vocabulary import EndKind, Mode

if TYPE_CHECKING:
    from rlnet_bench.analysis.comparing import Contrast


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(compare)


def compare(
    a: Annotated[str, typer.Argument(help="A method; with --against, where yours is (store, published, results.csv).")],
    b: Annotated[
        str | None, typer.Argument(help="Another method; with --against, yours where there are several.")
    ] = None,
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    same_class: Annotated[bool, typer.Option("--same-class", help="Refuse methods of different classes.")] = False,
    record: Annotated[
        str | None,
        typer.Option("--against", help="compare MINE --against RECORD: a published record's name, or any source."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the tables that --against prints.")] = Format.text,
    json: JsonFlag = False,
) -> None:
    """Compare two methods in one sentence; or, with --against, yours with every method of a published record."""
    if record is not None:
        _against(a, b, source, record, suite, kind, mode, metric, reference, same_class, format, json)
        return
    if b is None or format is not Format.text:
        raise BadInput(
            "compare: expected two methods, `rlnet-bench compare A B [SOURCE]`, or a source of yours and a published "
            "record, `rlnet-bench compare MINE --against RECORD` (which alone has --format)."
        )
    from rlnet_bench.analysis.comparing import class_warning
    from rlnet_bench.analysis.comparing import compare as judge_pair
    from rlnet_bench.analysis.wording import p_text, plural, signed, with_interval

    try:
        data = judged_source(source, store, suite, kind, mode, metric, reference)
    except RlnetError as error:
        if not any(Path(name).exists() for name in (a, b)):
            raise
        # only now: a method may be called as a folder is
        raise BadInput(f"{error} The two methods come before the source: rlnet-bench compare A B SOURCE.") from error
    found = judge_pair(data, a, b)
    a, b = found.a, found.b  # labels, where ids were given
    warning = class_warning(data, a, b)
    if same_class and warning:
        raise BadInput(f"{warning} Leave --same-class out to see the comparison all the same.")
    every = [*told(data, kind), *data.everyone.only([a, b]).notes, *([warning] if warning else []), *found.notes]
    if json:
        print_json(
            {
                "a": a, "b": b, "class_a": data.info(a).execution, "class_b": data.info(b).execution,
                "kind": data.kind, "mode": data.mode, "metric": metric.value, "level": data.level,
                "sentence": found.sentence,
                "suite": None if found.suite is None else _plain(found.suite)
                | {"verdict": found.suite.verdict(data.level), "iqm": found.iqm.as_dict() if found.iqm else None},
                "tasks": {
                    t: _plain(c)
                    | {"adjusted_p": found.adjusted.get(t), "verdict": c.verdict(data.level, found.adjusted.get(t))}
                    for t, c in found.by_task.items()
                },
                "notes": every,
            }
        )  # fmt: skip
        return
    print(found.sentence)
    print()
    rows = []
    if found.suite is not None and found.iqm is not None:
        c = found.suite
        e, q = c.difference, found.iqm
        rows.append(("mean difference", signed(e.value, e.low, e.high), _p(c), "", _again(c)))
        rows.append(("IQM difference", signed(q.value, q.low, q.high), "", "", ""))
        if len(c.tasks) > 1:
            rows.append((f"P({a} > {b})", with_interval(c.chance), "", "", ""))
    for t, c in found.by_task.items():
        e, p = c.difference, found.adjusted.get(t)
        rows.append((f"on {t}", signed(e.value, e.low, e.high), _p(c), "" if p is None else p_text(p), _again(c)))
        rows.append((f"  P({a} > {b})", with_interval(c.chance), "", "", ""))
    family = f"Holm over {plural(len(found.adjusted), 'task')}"
    print_table(("", f"{a} minus {b}", "p, unadjusted", f"p, {family}", "again with fresh seeds"), rows)
    print()
    contrasts = [*([found.suite] if found.suite else []), *found.by_task.values()]
    reasons = dict.fromkeys(e.reason for c in contrasts for e in (c.difference, c.chance) if e.reason)
    counts = [
        f"{s.method}, {t}: {s.runs[t].describe()}"
        for s in (data.of(a), data.of(b))
        for t in found.by_task
        if s.runs[t].n_diverged
    ]
    scores = f"{data.kind.capitalize()} scores, {data.results.origin.mode(data.mode)}"
    if any(c.difference.has_interval for c in contrasts):
        scores += f", {data.level:.0%} intervals over training runs"
    unit = [f"Suite differences are {found.suite.unit}; those on a task are in its own units"] if found.suite else []
    test = f"p: permutation test of the mean difference, unadjusted for the other lines; {family}: adjusted for them"
    again = "Again with fresh seeds: where the difference will lie if all runs are made once more"
    say([scores, *unit, test, again, *every, *counts, *(f"No interval: {r}" for r in reasons)])


def _against(
    mine: str, method: str | None, source: str | None, record: str, suite: str | None, kind: EndKind | None,
    mode: Mode | None, metric: MetricChoice, reference: list[str] | None, same_class: bool, format: Format, json: bool,
) -> None:  # fmt: skip
    """A method of a source beside a published record: sentences, its row for a paper, every pair."""
    from rlnet_bench.analysis.against import against
    from rlnet_bench.reports.table_against import against_tables
    from rlnet_bench.reports.tables import as_text
    from rlnet_bench.runs.named import find_publication

    if source is not None:
        raise BadInput(f"compare {mine} --against {record}: expected one source of yours, found {source!r} as well.")
    folder = Path(record) if Path(record).exists() else find_publication(record)
    points = references(reference)
    sides = [x.with_references(points) for x in (loaded(mine, suite), loaded(folder))]
    found = against(sides[0], sides[1], method, kind=kind, mode=mode, metric=metric.value, same_class=same_class)
    row, pairs = against_tables(found)
    if json:
        header = pairs.numbers.header
        lines = [dict(zip(header, line)) for line in pairs.numbers.rows]
        print_json({"sentences": found.sentences, "comparisons": lines, "notes": list(pairs.remarks)})
    elif format is Format.csv:
        print(as_text(pairs, "csv"), end="")
    elif format is Format.text:
        print("\n".join(found.sentences), end="\n\n")
        show(replace(row, remarks=()))  # they stand below the other one
        show(pairs)
    else:
        print("\n".join(as_text(t, cast("Any", format.value)) for t in (row, pairs)))


def _p(c: Contrast) -> str:
    from rlnet_bench.analysis.wording import p_text

    test = c.test
    if test is None:
        return f"not tested: {c.untested}"
    how = "exact" if test.is_exact else f"{test.n_labellings} labellings"
    return f"{p_text(test.p_value)} ({how}; smallest possible {test.smallest_p:.2g})"


def _again(c: Contrast) -> str:
    if c.again is None:
        return "-"
    from rlnet_bench.analysis.wording import rounded

    low, high = c.again
    return rounded((low + high) / 2, low, high).bracket


def _plain(c: Contrast) -> dict[str, Any]:
    return {
        "tasks": list(c.tasks), "unit": c.unit, "difference": c.difference.as_dict(),
        "probability_of_improvement": c.chance.as_dict(), "p_value": c.test and c.test.p_value,
        "smallest_p": c.test and c.test.smallest_p, "is_exact": c.test and c.test.is_exact,
        "untested": c.untested or None, "again": c.again,
    }  # fmt: skip
