"""``rlnet-bench compare A B``: better, worse, or not distinguishable with so many seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    text_of,
)
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import EXECUTION_CLASSES, class_rank

if TYPE_CHECKING:
    from rlnet_bench.analysis.judged import Judged
    from rlnet_bench.stats import PairTest, RunScores


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(compare)


def compare(
    a: Annotated[str, typer.Argument(help="A method.")],
    b: Annotated[str, typer.Argument(help="Another method.")],
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    same_class: Annotated[bool, typer.Option("--same-class", help="Refuse methods of different classes.")] = False,
    json: JsonFlag = False,
) -> None:
    """Compare two methods: difference, probability of improvement, permutation test, and one sentence."""
    from rlnet_bench.analysis.estimates import ROOT
    from rlnet_bench.stats import difference, iqm, mean, permutation_test, probability_of_improvement
    from rlnet_bench.stats.bootstrap import stream

    if a == b:
        raise BadInput(f"compare needs two different methods, found {a!r} twice.")
    data = judged_source(source, store, suite, kind, mode, metric, reference)
    first, second = data.of(a), data.of(b)
    warning = class_warning(data, a, b)
    if same_class and warning:
        raise BadInput(f"{warning} Leave --same-class out to see the comparison all the same.")
    tasks = [t for t in data.results.tasks if first.runs[t].n and second.runs[t].n]
    if not tasks:
        raise BadInput(f"{a!r} and {b!r} have no task in common: nothing can be compared.")
    pooled, notes = data.pooled([a, b])
    tested, unit = _tested(data, pooled, first, second, tasks)
    test = permutation_test(tested[0], tested[1], stream(ROOT, "test"))
    chance = probability_of_improvement(first.select(tasks), second.select(tasks), stream(ROOT, "improvement"))
    gaps = [difference(pooled[0], pooled[1], s, stream(ROOT, s.name)) for s in (mean, iqm)] if pooled else []
    by_task = {t: difference(first.select([t]), second.select([t]), mean, stream(ROOT, t)) for t in tasks}
    verdict = sentence(a, b, test, tested, unit)
    every = [*data.notes, *notes, *([warning] if warning else [])]
    if json:
        print_json(
            {
                "a": a, "b": b, "class_a": data.info(a).execution, "class_b": data.info(b).execution,
                "kind": data.kind, "mode": data.mode, "metric": metric.value, "unit": unit, "tasks": tasks,
                "sentence": verdict, "verdict": test.verdict(LEVEL), "difference": [g.as_dict() for g in gaps],
                "difference_by_task": {t: e.as_dict() for t, e in by_task.items()},
                "probability_of_improvement": chance.as_dict(),
                "p_value": test.p_value, "smallest_p": test.smallest_p, "is_exact": test.is_exact, "notes": every,
            }
        )  # fmt: skip
        return
    print(verdict)
    print()
    rows = [(f"{g.statistic.partition('(')[0]} difference", text_of(g), unit) for g in gaps]
    rows += [(f"difference on {t}", text_of(e), "in units of the task") for t, e in by_task.items()]
    rows.append((f"P({a} > {b})", text_of(chance), "0.5: no difference"))
    how = "exact" if test.is_exact else f"{test.n_labellings} labellings"
    rows.append(("permutation test", f"p = {test.p_value:.2g}", f"{how}; smallest possible {test.smallest_p:.2g}"))
    print_table(("", f"{a} against {b}", ""), rows)
    print()
    found = [*gaps, *by_task.values(), chance]
    reasons = dict.fromkeys(e.reason for e in found if e.reason)
    counts = [
        f"{s.method}, {t}: {s.runs[t].describe()}" for s in (first, second) for t in tasks if s.runs[t].n_diverged
    ]
    scores = f"{data.kind.capitalize()} scores, {data.mode} actions, {LEVEL:.0%} intervals over training runs"
    say([scores, *every, *counts, *(f"No interval: {r}" for r in reasons)])


def class_warning(data: Judged, a: str, b: str) -> str:
    """What to say when two methods do not act on the same information; empty when they do."""
    x, y = data.info(a).execution, data.info(b).execution
    if x == y:
        return f"The execution classes of {a} and {b} are not known." if x == "unknown" else ""
    text = f"{a} is of execution class {x}, {b} of class {y}: they do not act on the same information"
    if x in EXECUTION_CLASSES and y in EXECUTION_CLASSES:
        stronger = a if class_rank(x) > class_rank(y) else b
        return f"{text}, and {stronger} sees more. Ranks and bold are formed within a class."
    return f"{text}."


def _tested(
    data: Judged, pooled: list[RunScores], first: RunScores, second: RunScores, tasks: list[str]
) -> tuple[list[RunScores], str]:
    """The scores that are tested, and their unit: normalised, of the one task, or in standard deviations."""
    from rlnet_bench.analysis.judged import NORMALISED, spread_scaled

    if pooled:
        return pooled, NORMALISED if pooled[0].bounds else f"in units of {tasks[0]}"
    return spread_scaled(first, second, tasks), "in standard deviations of the runs of both, per task"


def sentence(a: str, b: str, test: PairTest, scores: list[RunScores], unit: str) -> str:
    """The verdict in plain English, with the number of seeds, and how many would tell."""
    from rlnet_bench.stats import seeds_for_family, seeds_to_tell

    counts = sorted({n for s in scores for n in s.n_per_task.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seeds += " seed" if counts == [1] else " seeds"
    n_tasks = len(scores[0].tasks)
    where = f"{seeds} per method" + (f" on each of {n_tasks} tasks" if n_tasks > 1 else "")
    outcome = test.verdict(LEVEL)
    gap = f"{test.difference:+.3g}, {unit.partition(':')[0]}"
    if outcome != "not distinguishable":
        return f"{a} is {outcome} than {b} with {where} (p = {test.p_value:.2g}; mean difference {gap})."
    text = f"{a} and {b} are not distinguishable with {where} (p = {test.p_value:.2g})."
    if test.smallest_p > 1 - LEVEL:
        fewest = seeds_for_family(1, n_tasks, level=LEVEL)
        text += (
            f" No difference could have been: the smallest p that these runs allow is {test.smallest_p:.2g}; "
            f"{fewest} seeds a side are the least."
        )
    if min(counts) < 2:
        return f"{text} The spread between runs is unknown with one seed, so how many would tell is, too."
    needed = seeds_to_tell(*scores)
    if needed is None:
        return f"{text} Their means are equal: no number of seeds would tell."
    if needed > max(counts):
        many = "more than a million" if needed >= 10**6 else f"about {needed}"
        would = f"were the true one, {many} seeds per method and task would tell"
        return f"{text} If the difference seen now ({gap}) {would}."
    return f"{text} As many seeds find a difference like this one four times out of five: more are worth a try."
