"""``rlnet-bench sensitivity``: which conclusions hang on a choice that papers rarely mention."""

from __future__ import annotations

from typing import Any

import typer

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, SuiteOption, loaded, print_json, print_table
from rlnet_bench.cli.stats import LEVEL, ReferenceOption, SourceArgument, SourceOption, references, say, text_of
from rlnet_bench.errors import BadInput


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

    results = loaded(source or store, suite)
    bounds = references(reference or [])
    rows = [*_diverged(results, bounds), *_pairs(results, bounds)]
    notes = list(getattr(results, "notes", ()))
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


def _diverged(results: Any, bounds: dict[str, Any]) -> list[dict[str, Any]]:
    """Diverged runs at the task's floor (the rule) against dropped (the usual bias)."""
    from rlnet_bench.analysis.estimates import ROOT
    from rlnet_bench.analysis.judged import judged
    from rlnet_bench.stats import iqm
    from rlnet_bench.stats import sensitivity as compute
    from rlnet_bench.stats.bootstrap import stream

    out = []
    data = judged(results, references=bounds)
    for method in data.methods:
        if not data.of(method).n_diverged:
            continue
        pooled, _ = data.pooled([method])
        for scores in pooled or [data.of(method).select([t]) for t, r in data.of(method).runs.items() if r.n_diverged]:
            found = compute(scores, iqm, stream(ROOT, f"sensitivity {method}"))
            other = "cannot be computed" if found.dropped is None else text_of(found.dropped)
            out.append(
                {
                    "choice": f"{found.n_diverged} diverged at the floor, or dropped", "method": method,
                    "reported": found.at_floor.as_dict(),
                    "otherwise": found.dropped.as_dict() if found.dropped else None, "matters": found.is_material,
                    "texts": (text_of(found.at_floor), other),
                }
            )  # fmt: skip
    return out


def _pairs(results: Any, bounds: dict[str, Any]) -> list[dict[str, Any]]:
    """Absolute against final, and the primary mode against the other one."""
    from rlnet_bench.analysis.judged import judged

    other = "sampled" if results.primary == "deterministic" else "deterministic"
    choices = [
        ("absolute or final scores", {"kind": "absolute"}, {"kind": "final"}),
        (f"{results.primary} or {other} actions", {"mode": results.primary}, {"mode": other}),
    ]
    out: list[dict[str, Any]] = []
    for text, options, changed in choices:
        try:
            first = judged(results, references=bounds, **options)
            second = judged(results, references=bounds, **changed)  # type: ignore[arg-type]
        except BadInput:
            continue  # there is only one way
        out += _choice(text, first, second)
    return out


def _choice(text: str, first: Any, second: Any) -> list[dict[str, Any]]:
    """One choice: a row per method, and whether the order changes, on the suite or task by task."""
    from rlnet_bench.analysis.estimates import ROOT
    from rlnet_bench.stats import estimate, mean
    from rlnet_bench.stats.bootstrap import stream

    shared = [m for m in first.methods if m in second.methods and first.info(m).trains]
    if not shared:
        return []
    a, b = first.pooled(shared)[0], second.pooled(shared)[0]
    if a and b and a[0].tasks == b[0].tasks:
        blocks = [("", a, b)]
    else:
        blocks = [
            (t, [first.of(m).select([t]) for m in chosen], [second.of(m).select([t]) for m in chosen])
            for t in first.results.tasks
            if (chosen := [m for m in shared if first.of(m).runs[t].n and second.of(m).runs[t].n])
        ]
    out: list[dict[str, Any]] = []
    for task, before, after in blocks:
        label = f"{text}, {task}" if task else text
        pairs = [
            (x.method, *(estimate(s, mean, stream(ROOT, f"{text} {task} {s.method}")) for s in (x, y)))
            for x, y in zip(before, after)
        ]
        orders = [" > ".join(p[0] for p in sorted(pairs, key=lambda p: -p[k].value)) for k in (1, 2)]
        for i, (method, x, y) in enumerate(pairs):
            half = x.half_width
            out.append(
                {
                    "choice": label, "method": method, "reported": x.as_dict(), "otherwise": y.as_dict(),
                    "matters": None if half is None else abs(x.value - y.value) > half,
                    "order": f"{orders[0]}, then {orders[1]}" if i == 0 and orders[0] != orders[1] else "",
                    "texts": (text_of(x), text_of(y)),
                }
            )  # fmt: skip
    return out
