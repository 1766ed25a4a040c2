"""``rlnet-bench power``: how many seeds a difference takes, judged by a pilot."""

from __future__ import annotations

from typing import Annotated

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, print_json, print_table, say
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
    told,
)
from rlnet_bench.errors import BadInput

DELTAS = (0.02, 0.05, 0.1, 0.2)
COUNTS = (3, 5, 10, 20, 30)


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(power)


def power(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    methods: Annotated[str | None, typer.Option("--methods", help="Comma-separated; all trained ones.")] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="The difference of means to find.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=2, help="Seeds per method and task.")] = None,
    chance: Annotated[float, typer.Option("--power", help="Probability of finding it.")] = 0.8,
    kind: KindOption = None,
    mode: ModeOption = None,
    metric: MetricOption = MetricChoice.return_,
    reference: ReferenceOption = None,
    json: JsonFlag = False,
) -> None:
    """Plan the next experiment: seeds needed for a difference, and the smallest difference that seeds can show."""
    from rlnet_bench.stats import run_sd, seeds_for_family, seeds_needed, smallest_detectable_difference

    data = judged_source(source, store, suite, kind, mode, metric, reference)
    named = [m.strip() for m in methods.split(",")] if methods else []
    chosen = named or [m.label for members in data.classes.values() for m in members]
    named = [data.of(method).method for method in named]  # says what is wrong with a name
    if not chosen:
        raise BadInput("power needs a trained method with finished runs, found only controls.")
    pool = data.everyone.only(chosen)
    pooled, notes = pool.scores, pool.notes
    if not pooled:
        raise BadInput(f"power needs scores on one scale: {pool.why}. {' '.join(notes)}")
    chosen = list(pool.methods)
    sd, n_tasks = run_sd(pooled), len(pooled[0].tasks)
    normalised = pool.is_normalised
    deltas = (delta,) if delta is not None else DELTAS if normalised else tuple(f * sd for f in (0.5, 1.0, 1.5, 2.0))
    counts = (seeds,) if seeds is not None else COUNTS
    fewest = seeds_for_family(1, n_tasks, level=LEVEL)  # below it no permutation test can find anything
    needed = {d: max(fewest, seeds_needed(d, sd, n_tasks, level=LEVEL, power=chance)) for d in deltas} if sd > 0 else {}
    shown = {n: smallest_detectable_difference(n, sd, n_tasks, level=LEVEL, power=chance) for n in counts}
    unit = pool.unit
    advice = _advice(data.results, chosen, pooled[0].tasks, data.kind, data.mode)
    if json:
        print_json(
            {
                "sd_between_runs": sd, "unit": unit, "tasks": list(pooled[0].tasks), "methods": chosen, "power": chance,
                "level": LEVEL, "seeds_needed": [{"delta": d, "seeds": n} for d, n in needed.items()],
                "smallest_difference": [{"seeds": n, "delta": d} for n, d in shown.items()],
                "notes": [*told(data, kind), *notes, *advice],
            }
        )  # fmt: skip
        return
    runs = sum(sum(s.n_per_task.values()) for s in pooled)
    print(f"Standard deviation between runs: {sd:.3g} ({unit}), from {runs} runs of {', '.join(chosen)}.")
    print()
    if needed:
        rows = [(f"{d:.3g}", n, n * n_tasks) for d, n in needed.items()]
        print_table(("difference", "seeds per method and task", "runs per method"), rows)
        print()
    print_table(("seeds per method and task", "smallest difference"), [(n, f"{d:.3g}") for n, d in shown.items()])
    print()
    how = f"Two-sided t test at {1 - LEVEL:.0%}, found with probability {chance:.0%}, {n_tasks} task(s)"
    say(
        [
            how,
            "The spread is itself an estimate from few runs: take the numbers as a rough guide",
            *told(data, kind),
            *notes,
            *advice,
        ]
    )


def _advice(results: object, methods: list[str], tasks: tuple[str, ...], kind: str, mode: str) -> list[str]:
    """Per task: are more seeds or more episodes worth it?"""
    from rlnet_bench.analysis.results import Results
    from rlnet_bench.stats import variance_components

    assert isinstance(results, Results)
    out = []
    for task in tasks:
        for method in methods:
            lines = [e for r in results.find(method, task) for e in r.lines(kind, mode)]  # type: ignore[arg-type]
            episodes = [e.team for e in lines if len(e.returns) > 1]
            if len(episodes) > 1:
                parts = variance_components(episodes)
                out.append(f"{method} on {task}: {parts.advice} ({parts.n_runs} runs)")
    return out
