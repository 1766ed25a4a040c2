"""One method of somebody's runs beside every method of a published record: what may be compared, and what comes out.

The two become one table of results, so that intervals, tests, copies and budgets are judged as everywhere. Which task
may stand in it is decided first (docs/comparable.md), and every refusal is a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rlnet_bench.analysis.boards import KINDS
from rlnet_bench.analysis.comparing import Contrast, class_warning, compare, holm
from rlnet_bench.analysis.estimates import Estimates, has_scores, judge
from rlnet_bench.analysis.findings import differ
from rlnet_bench.analysis.imported import ForeignResults, scale_of
from rlnet_bench.analysis.results import Origin, Results
from rlnet_bench.analysis.wording import listed
from rlnet_bench.errors import BadInput
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.vocabulary import EndKind, Mode

SUITE = ""  # stands for all pooled tasks together where a task is asked for


@dataclass(frozen=True, eq=False)
class Against:
    """A method beside a record.

    ``pairs``: (task, published method) -> the method less that one, of every trained one; under :data:`SUITE` over all
    pooled tasks, where there are several. ``adjusted``: their p-values by Holm over the methods, each task by itself.
    ``refused``: a sentence for every task of either side that is not compared.
    """

    estimates: Estimates  # of both sides together
    mine: str
    record: str
    pairs: dict[tuple[str, str], Contrast]
    adjusted: dict[tuple[str, str], float]
    refused: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is compared, one by one and, last, together."""
        return tuple(dict.fromkeys(task for task, _ in self.pairs))

    def on(self, task: str) -> dict[str, Contrast]:
        """Published method -> the difference to it."""
        return {m: c for (t, m), c in self.pairs.items() if t == task}

    def verdict(self, task: str, method: str) -> str:
        """``better``, ``worse``, ``not distinguishable`` or ``not tested``."""
        return self.pairs[task, method].verdict(self.estimates.level, self.adjusted.get((task, method)))

    @property
    def sentences(self) -> list[str]:
        """What came out, task by task."""
        return [_sentence(self, task) for task in self.tasks]

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know."""
        pooled = self.estimates.everyone.notes if SUITE in self.tasks else ()
        return [*self.refused, *self.estimates.notes, *pooled, *_classes(self)]


def against(
    mine: Results,
    published: Results,
    method: str | None = None,
    *,
    kind: EndKind | None = None,
    mode: Mode | None = None,
    metric: str = "return",
    same_class: bool = False,
) -> Against:
    """Put a method beside the methods of a record.

    Args:
        mine: where the method is.
        published: the record.
        method: its label or id; the trained method of ``mine`` where there is one only.
        kind: ``absolute`` or ``final``; absolute where both sides have such scores.
        mode: of actions; the primary one of the record by default.
        metric: ``return`` or ``success``.
        same_class: leave out what is of another execution class.

    Raises:
        BadInput, UnknownName: when it is not clear which method is meant, or nothing may be compared.
    """
    own, record = _chosen(mine, method), f"{published.name}-v{published.version}"
    mode = mode or published.primary
    chosen = _kind(mine, published, record, kind, mode, metric)
    records = [r for r in mine.records if r.method == own]
    same = {r.run_id for r in records} & {r.run_id for r in published.records}
    theirs = [r for r in published.records if r.run_id not in same]
    refused = dict(_refusals(mine, published, records, theirs, record))
    tasks = tuple(t for t in published.tasks if t not in refused and any(r.task == t for r in records))
    if not tasks:
        raise BadInput(
            f"{own} and {record} have nothing that may be compared. {' '.join(dict.fromkeys(refused.values()))}"
        )
    label = own
    while label in {m.label for m in published.methods}:
        label += " (mine)"
    everyone = [replace(r, config={**r.config, "label": label}) for r in records] + theirs
    info = next(m for m in mine.methods if m.label == own)
    both = ForeignResults(
        name=f"{own} beside {record}",
        version=1,
        tasks=tasks,
        methods=(replace(info, label=label, only=()), *published.methods),
        seeds=(),
        primary=mode,
        records=tuple(r for r in everyone if r.task in tasks),
        cards={t: published.cards[t] for t in tasks},
        said=_origin(mine, published, own, record, chosen),
        notes=tuple(_notes(mine, published, own, record, records, theirs, tasks, chosen)),
    )
    estimates = judge(both, kind=chosen, mode=mode, metric=metric)
    pairs = _pairs(estimates, label, same_class)
    families = [holm({key: c for key, c in pairs.items() if key[0] == t}) for t in dict.fromkeys(t for t, _ in pairs)]
    adjusted = {key: p for family in families for key, p in family.items()}
    if not pairs:
        raise BadInput(f"{record} has no trained method with {chosen} scores that {own} could be compared with.")
    return Against(estimates, label, record, pairs, adjusted, tuple(dict.fromkeys(refused.values())))


def _chosen(mine: Results, method: str | None) -> str:
    """The label of the method that is meant."""
    if method is not None:
        return judge(mine).info(method).label
    labels = [m.label for m in mine.methods if m.trains and any(r.method == m.label for r in mine.records)]
    if len(labels) != 1:
        found = (
            f"found {', '.join(labels)}: name one, `compare MINE METHOD --against RECORD`" if labels else "found none"
        )
        raise BadInput(f"{mine.name}: expected one trained method with runs, {found}.")
    return labels[0]


def _kind(mine: Results, published: Results, record: str, kind: EndKind | None, mode: Mode, metric: str) -> EndKind:
    """The kind of scores that both sides have."""
    both = [
        k
        for k in ([kind] if kind else KINDS)
        if all(has_scores(judge(x, kind=k, mode=mode, metric=metric)) for x in (mine, published))
    ]
    if not both:
        raise BadInput(
            f"{mine.name} and {record}: expected {kind or 'absolute or final'} scores with {mode} actions ({metric}) "
            "on both sides, found none on one of them. --mode and --kind choose others."
        )
    return both[0]


def _refusals(
    mine: Results, published: Results, records: list[RunRecord], theirs: list[RunRecord], record: str
) -> Iterator[tuple[str, str]]:
    """(task, why it is not compared) of both sides' tasks."""
    own = list(dict.fromkeys(r.task for r in records))
    trained = {m.label for m in published.methods if m.trains}
    strange = [t for t in own if t not in published.tasks]
    for task in strange:
        has = f"Not in {record}, which has {', '.join(published.tasks)}: {listed(strange)}"
        yield task, f"{has}; `import --task ID` names a task of ours in runs of other tools."
    for task in (t for t in own if t in published.tasks):
        a, b = _values(records, task, "task_hash"), _values(theirs, task, "task_hash")
        if a and b and not any(x.startswith(y) or y.startswith(x) for x in a for y in b):
            yield task, f"{task} is not compared: yours ran on another version of the task (digest {min(a)[:12]})."
            continue
        scales = scale_of(mine.cards[task]), scale_of(published.cards[task])
        if scales[0] != scales[1]:
            yield (
                task,
                f"{task} is not compared: returns are on different scales, yours {scales[0]}, theirs {scales[1]}.",
            )
            continue
        ended = [int(r.config.get("frames") or 0) for r in theirs if r.task == task and r.method in trained]
        frames = max(int(r.config.get("frames") or 0) for r in records if r.task == task)
        many = listed([f"{n:,}" for n in sorted(set(ended))])
        if ended and all(differ((frames, n)) for n in ended):
            yield (
                task,
                (
                    f"{task} is not compared: budgets differ (yours {frames:,} frames, theirs {many}); "
                    "train as long, for instance with `run --set budget.frames=N`."
                ),
            )
    absent = [t for t in published.tasks if t not in own]
    for task in absent:
        yield task, f"There is no run of yours on {listed(absent)}."


def _values(records: list[RunRecord], task: str, key: str) -> set[str]:
    """What the records of a task say under a key of their configuration."""
    return {str(r.config[key]) for r in records if r.task == task and r.config.get(key)}


def _pairs(estimates: Estimates, mine: str, same_class: bool) -> dict[tuple[str, str], Contrast]:
    """(task, method) -> contrast; tasks in their order, all of them together last."""
    own = estimates.of(mine)
    found: dict[tuple[str, str], Contrast] = {}
    together: dict[tuple[str, str], Contrast] = {}
    for s in estimates.scores():
        info = estimates.info(s.method)
        is_other = s.method != mine and info.trains and not (same_class and class_warning(estimates, mine, s.method))
        if not is_other or not any(own.runs[t].n and s.runs[t].n for t in estimates.results.tasks):
            continue
        pair = compare(estimates, mine, s.method)
        found |= {(t, s.method): c for t, c in pair.by_task.items()}
        if pair.suite is not None and len(pair.suite.tasks) > 1:
            together[SUITE, s.method] = pair.suite
    order = estimates.results.tasks
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0]))) | together


def _origin(mine: Results, published: Results, own: str, record: str, kind: EndKind) -> Origin:
    """How the scores of both sides were made."""
    ours, theirs = mine.origin, published.origin
    x, y = ours.end(kind), theirs.end(kind)
    text = x if x == y else f"{own}: {x}; {record}: {y}"
    return Origin(theirs.scale, ours.is_mode_said and theirs.is_mode_said, text, text)


def _notes(
    mine: Results, published: Results, own: str, record: str, records: list[RunRecord], theirs: list[RunRecord],
    tasks: tuple[str, ...], kind: EndKind,
) -> Iterator[str]:  # fmt: skip
    """How the two sides were made differently, as far as that is known."""
    yield from getattr(mine, "notes", ())
    yield from getattr(published, "notes", ())
    kept = {r.run_id for r in theirs}
    for method, task in dict.fromkeys((r.method, r.task) for r in published.records if r.run_id not in kept):
        yield f"{method} of {record} is left out on {task}: yours are those very runs."
    runs = next(s.runs for s in mine.scores(kind) if s.method == own)
    yield from (f"{own} on {t}: {runs[t].describe()}." for t in tasks if runs[t].lost)
    if not mine.origin.is_mode_said:
        yield f"Nothing says how {own} chose its actions when it was scored; in {record} they are {published.primary}."
    elif mine.primary != published.primary:
        yield f"The primary actions of {own} are {mine.primary}, those of {record} {published.primary}."
    for task in tasks:
        a, b = mine.cards[task].references, published.cards[task].references
        if a and b and any(a[k].value != b[k].value for k in a.keys() & b.keys()):
            yield f"{task}: what scores 0 and 1 is another in each (its scale has another version); theirs is taken."
        x, y = (_values(side, task, "training_reward") for side in (records, theirs))
        if x and y and x != y:
            yield f"{task}: {own} was trained on the reward {listed(sorted(x))}, {record} on {listed(sorted(y))}."
        p, q = (_points(side, task) for side in (records, theirs))
        if kind == "absolute" and p and q and not p <= q:
            yield (
                f"{task}: the best checkpoint of {own} was chosen among scores {listed(sorted(p))}, of {record} "
                f"{listed(sorted(q))}."
            )
    unsaid = [t for t in tasks if not _values(records, t, "task_hash")]
    if unsaid:
        yield f"Nothing says on which version of {listed(unsaid)} {own} ran."
    seeds = sorted({s for r in records for s in r.seeds} & {s for r in theirs for s in r.seeds})
    if seeds and any(_points(records, t) for t in tasks):
        yield (
            f"Training seeds {listed([str(s) for s in seeds])} are on both sides: runs of equal seeds began with the "
            "same episodes and, where they were scored alike, met the same starts. Each side's runs are resampled by "
            "themselves."
        )


def _points(records: list[RunRecord], task: str) -> set[str]:
    """How often, and on how many episodes, the trained runs of a task were scored on the way."""
    rules = [r.config.get("evaluation") for r in records if r.task == task and r.config.get("frames")]
    return {f"every {r['every']:,} frames on {r['episodes']} episodes" for r in rules if isinstance(r, dict)}


def _classes(found: Against) -> Iterator[str]:
    """A sentence where not everybody acts on the same information."""
    by_class: dict[str, list[str]] = {}
    for method in dict.fromkeys(m for _, m in found.pairs):
        if class_warning(found.estimates, found.mine, method):
            by_class.setdefault(found.estimates.info(method).execution, []).append(method)
    if by_class:
        own = found.estimates.info(found.mine).execution
        others = "; ".join(f"{listed(methods)} of class {name}" for name, methods in by_class.items())
        yield f"{found.mine} is of execution class {own}, {others}: they do not act on the same information."


def _sentence(found: Against, task: str) -> str:
    """Whom the method beats on a task, who beats it, and from whom it cannot be told."""
    groups: dict[str, list[str]] = {}
    for method in found.on(task):
        groups.setdefault(found.verdict(task, method), []).append(method)
    words = {"better": "better than", "worse": "worse than", "not distinguishable": "not distinguishable from"}
    parts = [f"{text} {listed(groups[v])}" for v, text in words.items() if v in groups]
    tested = [c.test for c in found.on(task).values() if c.test is not None]
    smallest = min(1.0, min((t.smallest_p for t in tested), default=0.0) * len(tested))
    few = (
        f" No difference could have been found: the smallest adjusted p that these runs allow is {smallest:.2g}."
        if smallest > 1 - found.estimates.level
        else ""
    )
    where = task if task != SUITE else f"Over {len(found.estimates.everyone.tasks)} tasks"
    untested = f"; not tested: {listed(groups['not tested'])}" if "not tested" in groups else ""
    return f"{where}: {found.mine} is {', '.join(parts) or 'not tested'}{untested}.{few}"
