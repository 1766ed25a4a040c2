"""Captions and alternative texts, made from the same estimates as the figures that they describe."""

from __future__ import annotations

from rlnet_bench.analysis.curves import FEW_RUNS, Axis
from rlnet_bench.analysis.estimates import LOWEST_SHOWN, Estimates
from rlnet_bench.analysis.wording import counted, listed, significant, typographic, with_interval
from rlnet_bench.reports.plot_curves import MANY_METHODS, curves_of
from rlnet_bench.reports.table_suite import interval_text, pool_text, scores_text


def aggregate(estimates: Estimates) -> tuple[str, str]:
    """Caption and alternative text of the aggregate panel."""
    flags = sorted({f for row in estimates.headline.values() for e in row.values() for f in e.flags})
    caption = (
        f"{scores_text(estimates)}, {pool_text(estimates)}. {interval_text(estimates)} Sorted by IQM; classes are "
        "mixed here and judged apart in the tables."
        + (f" Grey: untrained controls ({', '.join(estimates.controls)})." if estimates.controls else "")
        + (f" Remarks: {'; '.join(flags)}." if flags else "")
    )
    bars = [f"{m} {with_interval(estimates.headline[m]['iqm'])}" for m in estimates.sorted_methods]
    alt = f"Horizontal bars of IQM, mean, median and optimality gap. IQM, best first: {', '.join(bars)}."
    return typographic(caption), typographic(alt)


def learning(estimates: Estimates, axis: Axis) -> tuple[str, str]:
    """Caption and alternative text of the learning curves."""
    panels = curves_of(estimates, axis)
    curves = [c for p in panels.values() for c in p.values()]
    counts = sorted({c.runs.n for c in curves})
    n = counted(counts)
    banded = [c for c in curves if c.band.has_interval]
    band = (
        f"band: {estimates.level:.0%} interval at each point ({banded[0].band.method})"
        if banded
        else f"no band: {curves[0].band.reason}"
    )
    lost = (
        f" {len(curves) - len(banded)} curve(s) without band: too few runs."
        if banded and len(banded) < len(curves)
        else ""
    )
    few = all(len(p) <= MANY_METHODS for p in panels.values())
    thin = " Thin: single runs." if few and min(counts) <= FEW_RUNS else ""
    by = (
        "environment frames per run"
        if axis == "frames"
        else "training seconds of the seed group (wall clock without evaluation; hosts may be shared)"
    )
    origin = estimates.results.origin
    known = any(f.card.references for f in estimates.facts)
    lines = " Grey lines: the task card's reference points." if known else ""
    lost_runs = estimates.grid.count("diverged")
    floor = " A diverged run counts at the task's floor from there on." if lost_runs else ""
    caption = (
        f"Learning curves by {by}: mean team return ({origin.scale}) of n = {n} run{'s' * (n != '1')}, "
        f"{origin.mode(estimates.results.primary)}; {band}.{lost}{thin}{lines}{floor}"
    )
    ends = []
    for task, panel in panels.items():
        last = {m: float(c.band.value_T[-1]) for m, c in panel.items()}
        best = sorted(last, key=lambda m: -last[m])[:3]
        ends.append(f"{task}: " + ", ".join(f"{m} {significant(last[m])}" for m in best))
    alt = f"One panel per task with a line per method. Means at the end, best first. {'; '.join(ends)}."
    return typographic(caption), typographic(alt)


def profile(estimates: Estimates) -> tuple[str, str]:
    """Caption and alternative text of the performance profiles."""
    first = next(iter(estimates.profiles.values()))
    hidden = sum(int((s.pooled().values_N < LOWEST_SHOWN).sum()) for s in estimates.pool.scores)
    caption = (
        f"Performance profiles: share of runs with a normalised score above τ, {pool_text(estimates)}, "
        "tasks weighted equally; "
        + (f"{estimates.level:.0%} band ({first.method})." if first.has_interval else f"no band: {first.reason}.")
        + (f" {hidden} run(s) lie left of the axis." if hidden else "")
    )
    at = {m: float(b.value_T[(b.x_T >= 0.5).argmax()]) for m, b in estimates.profiles.items()}
    best = sorted(at, key=lambda m: -at[m])
    alt = (
        "Falling step lines, one per method. Share of runs above 0.5: "
        + ", ".join(f"{m} {at[m]:.2f}" for m in best)
        + "."
    )
    return typographic(caption), alt


def improvement(estimates: Estimates) -> tuple[str, str]:
    """Caption and alternative text of the heat map."""
    pairs = [(e, a, b) for (a, b), e in estimates.improvement.items() if e.value >= 0.5]
    sure = [(a, b) for e, a, b in pairs if e.excludes(0.5)]
    total = len(estimates.improvement) // 2
    any_e = next(iter(estimates.improvement.values()))
    how = f"intervals: {any_e.method}" if any_e.has_interval else f"no intervals: {any_e.reason}"
    caption = (
        f"Probability that a run of the row's method beats one of the column's on a random task, "
        f"{pool_text(estimates)}; ties count half. Blue above 0.5, orange below; bold with a dot: the "
        f"{estimates.level:.0%} interval excludes 0.5 ({len(sure)} of {total} pairs; "
        f"not adjusted for the number of pairs; {how})."
    )
    alt = "Heat map of pairs. Resolved: " + (listed([f"{a} over {b}" for a, b in sure], 12) if sure else "none") + "."
    return caption, alt
