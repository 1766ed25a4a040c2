"""The verdict in plain sentences, for the first screen. Says what was not resolved as readily as what was."""

from __future__ import annotations

from dataclasses import dataclass

from rlnet_bench.analysis.estimates import Estimates
from rlnet_bench.analysis.pooling import NORMALISED
from rlnet_bench.analysis.wording import counted, listed, p_text, typographic, with_interval
from rlnet_bench.vocabulary import EXECUTION_CLASSES, class_rank


@dataclass(frozen=True)
class Sentence:
    """One sentence; ``weight`` is ``lead`` (the verdict), ``plain`` or ``warning``."""

    text: str
    weight: str = "plain"


def sentences(estimates: Estimates) -> tuple[Sentence, ...]:
    """All sentences of the first screen, the verdict first."""
    leads, alone = _leaders(estimates)
    out = [Sentence(t, "lead") for t in leads or alone]
    out += [Sentence(t) for t in (alone if leads else [])]
    out += [
        Sentence(t)
        for t in (_across_classes(estimates), *_references(estimates), _scale(estimates), _seed_plan(estimates))
        if t
    ]
    out += [Sentence(t, "warning") for t in _warnings(estimates)]
    return tuple(Sentence(typographic(s.text), s.weight) for s in out)


def _leaders(estimates: Estimates) -> tuple[list[str], list[str]]:
    """The verdicts of the classes with something to compare, and sentences about methods alone in theirs.

    Ranks and tests are about mean scores, so it is the mean that is quoted.
    """
    pool = estimates.pool
    if not pool.scores:
        return [f"No suite verdict: {pool.why}. {' '.join(pool.notes)}".strip()], []
    out, alone = [], []
    several = len(estimates.rankings) > 1
    for name, ranking in estimates.rankings.items():
        ties = estimates.ties[name]
        where = f"Class {name}: " if several else ""
        score = f"mean score {with_interval(estimates.headline[ties.best]['mean'])}"
        if len(ranking.ranks) == 1:
            members = len(estimates.classes[name])
            what = "the only method" if members == 1 else "the only method with runs on every pooled task"
            alone.append(f"{where}{ties.best} is {what}, {score}.")
        elif ranking.reason:
            out.append(f"{where}{ties.best} has the highest {score}, but there is no claim: {ranking.reason}.")
        elif ties.is_everything_tied:
            others = [r.method for r in ranking.ranks if r.method != ties.best]
            tied = "tied:" if where else "Tied:"
            smallest = min(ties.adjusted_p.values())
            out.append(
                f"{where}{tied} the suite does not resolve {ties.best} (highest {score}) from "
                f"{listed(others)} ({p_text(smallest)} at the least)."
            )
        else:
            rivals = f"all {len(ties.worse)} others" if not ties.tied and len(ties.worse) > 3 else listed(ties.worse)
            text = f"{where}{ties.best} is first ({score}), significantly better than {rivals}"
            out.append(text + (f"; tied with {listed(ties.tied)}." if ties.tied else "."))
    return out, alone


def _scale(estimates: Estimates) -> str:
    """What the numbers mean."""
    pool = estimates.pool
    if not pool.scores:
        return ""
    unit = "on a scale where 0 is the random policy and 1 the documented best"
    scale = unit if pool.unit == NORMALISED else pool.unit
    shown = any(row["mean"].has_interval for row in estimates.headline.values())
    brackets = f"; brackets are {estimates.level:.0%} intervals" if shown else ""
    return f"Mean scores weigh every task equally, {scale}{brackets}."


def _seed_plan(estimates: Estimates) -> str:
    """That seeds were added until the methods were told apart, by a plan of before the first run, and what it saved."""
    declared = estimates.results.suite.get("seed_plan")
    if not isinstance(declared, dict):
        return ""
    plan, outcome = declared.get("plan", {}), declared.get("outcome", {})
    return (
        f"Seeds came in batches of {plan.get('batch', '?')}, at most {plan.get('max_looks', '?')} looks, as declared "
        f"before the first run (plan {str(declared.get('digest', '?'))[:8]}): {outcome.get('runs_used', '?')} of "
        f"{outcome.get('runs_planned', '?')} planned runs were needed, {outcome.get('saved', 0.0):.0%} of the compute "
        "was saved."
    )


def _across_classes(estimates: Estimates) -> str:
    """Whether more information when acting paid off, with the strongest same-or-weaker rival named."""
    order = sorted(
        (c for c in estimates.rankings if c in EXECUTION_CLASSES), key=class_rank
    )  # `unknown` is no stronger
    parts = []
    for i, name in enumerate(order[1:], 1):
        best = estimates.ties[name].best
        weaker = [(c, estimates.ties[c].best) for c in order[:i]]
        rival_class, rival = max(weaker, key=lambda p: estimates.headline[p[1]]["mean"].value)
        e = estimates.improvement.get((best, rival))
        if e is None:
            continue
        verb = (
            "beats"
            if e.low is not None and e.low > 0.5
            else ("loses to" if e.high is not None and e.high < 0.5 else "is not distinguishable from")
        )
        parts.append(
            f"{best} ({name}) {verb} {rival}, the best of the weaker classes ({rival_class}): "
            f"probability of improvement {with_interval(e)}."
        )
    return " ".join(parts)


def _references(estimates: Estimates) -> list[str]:
    """Who is above the best script that does not coordinate, and who is not shown to be above random."""
    return [
        x
        for x in (
            _against(estimates, "uncoordinated", "Above the best scripted policy without coordination"),
            _against(estimates, "random", "Above the random policy", only_failures=True),
        )
        if x
    ]


def _against(estimates: Estimates, name: str, text: str, *, only_failures: bool = False) -> str:
    """One sentence that counts, per method, the tasks on which its interval lies above a reference point.

    Without intervals nothing can be counted, and the sentence says so.
    """
    board = estimates.board(metric="return")
    tasks = [(f.id, r) for f in estimates.facts if (r := f.reference(name)) is not None]
    wins: dict[str, int] = {}
    unknown: dict[str, int] = {}  # method -> the most seeds that it has on a task
    for members in estimates.classes.values():
        for m in members:
            cells = [(c, r) for t, r in tasks if (c := board.cell(m.label, t)) is not None]
            judged = [(c.estimate.low, r) for c, r in cells if c.estimate.low is not None]
            if judged:
                wins[m.label] = sum(low > r.value + 2 * r.se for low, r in judged)
            elif cells:
                unknown[m.label] = max(c.n for c, _ in cells)
    if not tasks or not (wins or unknown) or (only_failures and all(n == len(tasks) for n in wins.values())):
        return ""
    if not wins:
        return "" if only_failures else f"{text}: cannot be said with {_seeds_text(list(unknown.values()))}."
    by_count: dict[int, list[str]] = {}
    for method, n in wins.items():
        by_count.setdefault(n, []).append(method)
    total = len(tasks)
    parts = []
    for n in sorted(by_count, reverse=True):
        where = (
            "no task"
            if n == 0
            else (f"all {total} tasks" if total > 1 else "the task")
            if n == total
            else f"{n} of {total}"
        )
        parts.append(f"{listed(by_count[n])} on {where}")
    if unknown:
        parts.append(f"{listed(list(unknown))} cannot be judged with {_seeds_text(list(unknown.values()))}")
    return f"{text} (interval clear of the reference point): {'; '.join(parts)}."


def _seeds_text(counts: list[int]) -> str:
    return f"{counted(counts)} seed{'s' * (set(counts) != {1})}"


def _warnings(estimates: Estimates) -> list[str]:
    grid, out = estimates.grid, []
    if estimates.is_partial:
        done = grid.count("ok", "diverged")
        lost = [f"{grid.count(s)} {s}" for s in ("running", "failed", "missing") if grid.count(s)]
        out.append(f"Partial: {done} of {grid.total} runs are in, {listed(lost)}.")
    diverged = grid.count("diverged")
    if diverged:
        by: dict[str, int] = {}
        for c in grid.cells:
            if c.count("diverged"):
                by[c.method] = by.get(c.method, 0) + c.count("diverged")
        who = ", ".join(f"{m} {n}" for m, n in by.items())
        what = "1 run diverged and counts" if diverged == 1 else f"{diverged} runs diverged and count"
        out.append(f"{what} at the task's floor: {who}.")
    for method, s in estimates.sensitivities.items():
        if s.is_material:
            other = "cannot be computed" if s.dropped is None else f"would be {with_interval(s.dropped)}"
            out.append(
                f"{method}: IQM {with_interval(s.at_floor)} with diverged runs at the floor; dropped, it {other}."
            )
    moved = sorted({t for _, t in estimates.rank_changes()}, key=[f.id for f in estimates.facts].index)
    if moved:
        out.append(f"The order of methods depends on deterministic or sampled actions on {listed(moved)}.")
    provisional = [f.id for f in estimates.facts if any(r.provisional for r in f.card.references.values())]
    if provisional:
        out.append(f"Reference points are provisional on {listed(provisional)}.")
    if estimates.pool.scores:
        out += list(estimates.pool.notes)
    return out + list(estimates.notes)
