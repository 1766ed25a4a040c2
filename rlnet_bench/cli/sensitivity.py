"""``rlnet-bench sensitivity``: which conclusions hang on a choice that papers rarely mention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json, print_table, say
from rlnet_bench.cli.stats import LEVEL, ReferenceOption, SourceArgument, SourceOption, references
from rlnet_bench.errors import BadInput

if TYPE_CHECKING:
    from rlnet_bench.analysis import Estimates
    from rlnet_bench.analysis.results import Results
    from rlnet_bench.stats import Estimate


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(sensitivity)


def sensitivity(
    source: SourceArgument = None,
    store: SourceOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    reference: ReferenceOption = None,
    json: JsonFlag = False,
) -> None:
    """Compare diverged at the floor with dropped, final with absolute, deterministic with sampled actions."""
    from rlnet_bench.analysis import judge

    results = loaded(source or store, suite).with_references(references(reference))
    rows = [*_diverged(results), *_pairs(results)]
    notes = list(judge(results).notes)
    moved = [f"The order of methods changes with {r['choice']}: {r['order']}" for r in rows if r.get("order")]
    if json:
        print_json(
            {"level": LEVEL, "choices": [{k: v for k, v in r.items() if k != "texts"} for r in rows], "notes": notes}
        )
        return
    if not rows:
        raise BadInput(f"{results.name}: expected diverged runs, two kinds of scores or two modes, found one way only.")
    print_table(
        ("choice", "method", "as reported", "otherwise", "matters"),
        [(r["choice"], r["method"], *r["texts"], {True: "yes", False: "no", None: "?"}[r["matters"]]) for r in rows],
    )
    print()
    rule = "It matters when the two differ by more than half an interval; without intervals that cannot be said"
    say([*moved, rule, *notes] if moved else ["No choice changes the order of methods", rule, *notes])


def _diverged(results: Results) -> list[dict[str, Any]]:
    """Diverged runs at the task's floor (the rule) against dropped (the usual bias)."""
    from rlnet_bench.analysis import judge
    from rlnet_bench.analysis.streams import named
    from rlnet_bench.analysis.wording import with_interval
    from rlnet_bench.stats import iqm
    from rlnet_bench.stats import sensitivity as compute

    out = []
    data = judge(results)
    for whole in data.scores():
        if not whole.n_diverged:
            continue
        pooled = data.everyone.of(whole.method)
        for scores in pooled or [whole.select([t]) for t, r in whole.runs.items() if r.n_diverged]:
            rng = named("sensitivity", scores.method, scores.tasks, data.kind, data.mode, data.metric)
            found = compute(scores, iqm, rng)
            other = "cannot be computed" if found.dropped is None else with_interval(found.dropped)
            out.append(
                {
                    "choice": f"{found.n_diverged} diverged at the floor, or dropped", "method": scores.method,
                    "reported": found.at_floor.as_dict(),
                    "otherwise": found.dropped.as_dict() if found.dropped else None, "matters": found.is_material,
                    "texts": (with_interval(found.at_floor), other),
                }
            )  # fmt: skip
    return out


def _pairs(results: Results) -> list[dict[str, Any]]:
    """Absolute against final, and the primary mode against the other one."""
    from rlnet_bench.analysis import judge
    from rlnet_bench.analysis.estimates import has_scores

    other = "sampled" if results.primary == "deterministic" else "deterministic"
    choices: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("absolute or final scores", {"kind": "absolute"}, {"kind": "final"}),
        (f"{results.primary} or {other} actions", {"mode": results.primary}, {"mode": other}),
    ]
    out: list[dict[str, Any]] = []
    for text, options, changed in choices:
        first, second = judge(results, **options), judge(results, **changed)
        if has_scores(first) and has_scores(second):  # else there is only one way
            out += _choice(text, first, second)
    return out


def _choice(text: str, first: Estimates, second: Estimates) -> list[dict[str, Any]]:
    """One choice: a row per method, and whether the order changes, on the suite or task by task."""
    from rlnet_bench.analysis.wording import with_interval

    labels = [m.label for members in first.classes.values() for m in members]
    blocks: list[tuple[str, list[tuple[str, Estimate, Estimate]]]] = []
    shared = [m for m in labels if m in first.headline and m in second.headline]
    if shared:
        blocks.append(("", [(m, first.headline[m]["mean"], second.headline[m]["mean"]) for m in shared]))
    else:
        a, b = first.board(), second.board()
        for t in first.results.tasks:
            pairs = [(m, x.estimate, y.estimate) for m in labels if (x := a.cell(m, t)) and (y := b.cell(m, t))]
            blocks += [(t, pairs)] if pairs else []
    out: list[dict[str, Any]] = []
    for task, pairs in blocks:
        label = f"{text}, {task}" if task else text
        orders = [
            " > ".join(p[0] for p in sorted(pairs, key=lambda p: -values[p[0]]))
            for values in ({m: x.value for m, x, _ in pairs}, {m: y.value for m, _, y in pairs})
        ]
        for i, (method, before, after) in enumerate(pairs):
            half = before.half_width
            out.append(
                {
                    "choice": label, "method": method, "reported": before.as_dict(),
                    "otherwise": after.as_dict(),
                    "matters": None if half is None else abs(before.value - after.value) > half,
                    "order": f"{orders[0]}, then {orders[1]}" if i == 0 and orders[0] != orders[1] else "",
                    "texts": (with_interval(before), with_interval(after)),
                }
            )  # fmt: skip
    return out
