"""``rlnet-bench trial``: what a suite declared before it was run, judged."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, print_json, print_table, say
from rlnet_bench.cli.stats import MetricChoice, SourceArgument, SourceOption, judged_source, told

if TYPE_CHECKING:
    from rlnet_bench.analysis.trial import Against, TaskTrial


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(trial)


def trial(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    json: JsonFlag = False,
) -> None:
    """Judge the trial that a suite declares: does its primary method win, or is it not inferior, task by task?"""
    from rlnet_bench.analysis.trial import declared_when, judge_trial, sentences

    data = judged_source(source, store, suite, None, None, MetricChoice.return_, None)
    declared, tasks = judge_trial(data)
    said = [*sentences(declared, tasks), declared_when(data.results)]
    if json:
        found = [{**asdict(t), "is_early": t.is_early, "beats_controls": t.beats_controls} for t in tasks]
        print_json({"trial": declared.model_dump(), "tasks": found, "sentences": said, "notes": told(data)})
        return
    head = ("task", f"{declared.primary}", *(f"minus {m}" for m in declared.comparators), "p (Holm)", "outcome")
    print_table(
        head, [_row(t, len(declared.comparators)) for t in tasks], f"{data.results.name}: {declared.kind} weights"
    )
    print()
    if declared.controls:
        head = ("task", f"{declared.primary}", *(f"minus {m}" for m in declared.controls), "beats every control")
        rows = [_controls(t, len(declared.controls)) for t in tasks]
        print_table(head, rows, "against the controls, each tested by itself")
        print()
    for sentence in said:
        print(sentence)
    print()
    say(
        [
            "Differences are shares of the way from random to best with 95% intervals over training runs (Welch); "
            "p is of being better than each comparator (exact permutation tests, the largest), by Holm over test tasks",
            f"Not inferior: the one-sided 95% limit of every difference is above {-declared.margin:g}",
            "Development tasks chose settings: they claim nothing",
            *told(data, declared.kind),
        ]
    )


def _row(found: TaskTrial, width: int) -> tuple[str, ...]:
    name = f"{found.task} ({found.mode})"
    if found.outcome == "open":
        return (name, "open", *[""] * width, "", f"open: {found.open}")
    p = "" if found.adjusted_p is None else f"{found.adjusted_p:.2g}"
    outcome = (found.outcome if found.is_test else "development") + (", early learning" if found.is_early else "")
    outcome += f", runs missing: {found.short}" if found.short else ""
    return (name, f"{found.primary:.3f}", *map(_difference, found.comparators), p, outcome)


def _controls(found: TaskTrial, width: int) -> tuple[str, ...]:
    if found.outcome == "open":
        return (found.task, "open", *[""] * width, "")
    beats = "yes" if found.beats_controls else "no"
    return (found.task, f"{found.primary:.3f}", *map(_difference, found.controls), beats)


def _difference(other: Against) -> str:
    from rlnet_bench.analysis.wording import signed

    return signed(other.difference, other.low, other.high)
