"""The verdict in plain sentences, for the first screen. Says what was not resolved as readily as what was."""

from __future__ import annotations

from dataclasses import dataclass

from rlnet_bench.reports.estimates import Estimates
from rlnet_bench.reports.identity import CLASSES
from rlnet_bench.reports.rounding import p_text, rounded, typographic
from rlnet_bench.reports.table_tasks import rank_changes
from rlnet_bench.stats.result import Estimate

_ORDER = list(CLASSES)


@dataclass(frozen=True)
class Sentence:
    """One sentence; ``weight`` is ``lead`` (the verdict), ``plain`` or ``warning``."""

    text: str
    weight: str = "plain"


def sentences(estimates: Estimates) -> tuple[Sentence, ...]:
    """All sentences of the first screen, the verdict first."""
    out = [Sentence(t, "lead") for t in _leaders(estimates)]
    out += [Sentence(t) for t in (_across_classes(estimates), *_references(estimates)) if t]
    out += [Sentence(t, "warning") for t in _warnings(estimates)]
    return tuple(Sentence(typographic(s.text), s.weight) for s in out)


def listed(names: list[str] | tuple[str, ...], limit: int = 6) -> str:
    """``a, b and c``; long lists end in ``and 4 more``."""
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def with_interval(e: Estimate) -> str:
    """``0.81 [0.77, 0.85]``, or the value alone."""
    return str(rounded(e.value, e.low, e.high))


def _leaders(estimates: Estimates) -> list[str]:
    if not estimates.scores:
        reason = " ".join(estimates.pool.notes) or "No run has finished yet."
        return [f"No suite verdict. {reason}"]
    out = []
    several = len(estimates.rankings) > 1
    for name, ranking in estimates.rankings.items():
        ties = estimates.ties[name]
        where = f"Class {name}: " if several else ""
        iqm = with_interval(estimates.aggregates["absolute"][ties.best]["iqm"])
        score = f"IQM {iqm}"
        if len(ranking.ranks) == 1:
            out.append(f"{where}{ties.best} is the only method here, {score}.")
        elif ranking.reason:
            out.append(
                f"{where}{ties.best} has the highest mean score ({score}), but there is no claim: {ranking.reason}."
            )
        elif ties.is_everything_tied:
            others = [r.method for r in ranking.ranks if r.method != ties.best]
            smallest = min(ties.adjusted_p.values())
            out.append(
                f"{where}tied. The suite does not resolve {ties.best} (highest mean score, {score}) from "
                f"{listed(others)} ({p_text(smallest)} at the least)."
            )
        else:
            text = f"{where}{ties.best} comes first ({score}) and is significantly better than {listed(ties.worse)}"
            out.append(text + (f"; tied with {listed(ties.tied)}." if ties.tied else "."))
    return [t[0].upper() + t[1:] for t in out]


def _across_classes(estimates: Estimates) -> str:
    """Whether more information when acting paid off, with the strongest same-or-weaker rival named."""
    order = sorted(estimates.rankings, key=lambda c: _ORDER.index(c) if c in _ORDER else len(_ORDER))
    parts = []
    for i, name in enumerate(order[1:], 1):
        best = estimates.ties[name].best
        weaker = [(c, estimates.ties[c].best) for c in order[:i]]
        rival_class, rival = max(weaker, key=lambda p: estimates.aggregates["absolute"][p[1]]["mean"].value)
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
    """Per task: who is above the best script that does not coordinate, and who is not above random."""
    board = estimates.board("absolute")
    above: dict[str, list[str]] = {}
    for fact in estimates.facts:
        script = fact.reference("uncoordinated")
        if script is None:
            continue
        good = []
        for members in estimates.classes.values():
            for m in members:
                cell = board.cell(m.label, fact.id)
                low = None if cell is None else cell.estimate.low
                if low is not None and low > script.value + 2 * script.se:
                    good.append(m.label)
        above[fact.id] = good
    if not above:
        return []
    out = []
    everyone = {m.label for members in estimates.classes.values() for m in members}
    full = [t for t, good in above.items() if set(good) == everyone]
    none = [t for t, good in above.items() if not good]
    what = "the best scripted policy without coordination"
    if full:
        out.append(f"Every method is above {what} on {listed(full)}.")
    if none:
        out.append(f"No method is shown to be above {what} on {listed(none)}.")
    for task, good in above.items():
        if task not in full and task not in none:
            out.append(f"On {task}, {listed(good)} {'is' if len(good) == 1 else 'are'} above {what}.")
    return out if len(out) <= 4 else [_counted(above, len(everyone), what)]


def _counted(above: dict[str, list[str]], total: int, what: str) -> str:
    wins = {m: sum(m in good for good in above.values()) for good in above.values() for m in good}
    best = sorted(wins, key=lambda m: -wins[m])
    text = listed([f"{m} on {wins[m]}" for m in best])
    return f"Of {len(above)} tasks, above {what}: {text}; the other {total - len(best)} methods on none."


def _warnings(estimates: Estimates) -> list[str]:
    grid, out = estimates.grid, []
    if estimates.is_partial:
        done = grid.count("ok", "diverged")
        lost = [f"{grid.count(s)} {s}" for s in ("running", "failed", "missing") if grid.count(s)]
        out.append(f"Partial: {done} of {grid.total} runs are in, {listed(lost)}.")
    if grid.count("diverged"):
        by = {}
        for c in grid.cells:
            if c.count("diverged"):
                by[c.method] = by.get(c.method, 0) + c.count("diverged")
        out.append(
            f"{grid.count('diverged')} run{'s' * (grid.count('diverged') > 1)} diverged and count at the task's floor: "
            + ", ".join(f"{m} {n}" for m, n in by.items())
            + "."
        )
    for method, s in estimates.sensitivities.items():
        if s.is_material:
            other = "cannot be computed" if s.dropped is None else f"would be {with_interval(s.dropped)}"
            out.append(
                f"{method}: IQM {with_interval(s.at_floor)} with diverged runs at the floor; dropped, it {other}."
            )
    moved = sorted({t for _, t in rank_changes(estimates)}, key=[f.id for f in estimates.facts].index)
    if moved:
        out.append(f"The order of methods depends on deterministic or sampled actions on {listed(moved)}.")
    provisional = [f.id for f in estimates.facts if any(r.provisional for r in f.card.references.values())]
    if provisional:
        out.append(f"Reference points are provisional on {listed(provisional)}.")
    if estimates.scores:
        out += [n for n in estimates.pool.notes]
    return out
