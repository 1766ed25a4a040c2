"""Between foreign tables and :class:`~rlnet_bench.analysis.results.Results`: what reports and statistics see."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlnet_bench.analysis.results import MethodInfo, Origin, Results
from rlnet_bench.analysis.wording import counted
from rlnet_bench.envs.card import TaskCard, unknown_card
from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.completeness import lost_runs, overrulings
from rlnet_bench.foreign.table import SCORED, CellFacts, Evaluation, ForeignTable, RunStatus
from rlnet_bench.runs.records import EvalLine, RunRecord
from rlnet_bench.stats.scores import TaskRuns
from rlnet_bench.vocabulary import MODES, Kind, Mode, Status, class_rank


@dataclass(frozen=True, repr=False)
class ForeignResults(Results):
    """Results without a suite. ``notes`` are sentences that a reader must see."""

    said: Origin | None = None
    notes: tuple[str, ...] = ()
    table: ForeignTable | None = None

    @property
    def origin(self) -> Origin:
        """What the source says of how scores were made."""
        return self.said or super().origin

    def _task_runs(self, method: str, task: str, kind: Kind, mode: Mode, metric: str) -> TaskRuns:
        if metric != "return" and any(np.isnan(e.success).any() for r in self.find(method, task) for e in r.evals):
            return TaskRuns(np.zeros(0), (), ())  # success was not recorded
        return super()._task_runs(method, task, kind, mode, metric)


def to_results(table: ForeignTable) -> ForeignResults:
    """A table as results: no suite, no declared seeds, execution class ``unknown`` unless the table knows it.

    Final scores that are absent are taken from the last point of the curve, with a note. Absolute scores are
    never made up: neither the best point of a curve nor the best episode of a run is one.

    Raises:
        BadInput: when nothing in the table can be scored, or a diverged run has no floor.
    """
    notes = [*table.warnings, *filter(None, [lost_runs(table), overrulings(table)])]
    unscored = {k: sorted({e.method for e in table.evaluations if e.kind == k}) for k in ("best-episode", "training")}
    for kind, methods in unscored.items():
        if methods:
            notes.append(f"{_KIND_TEXT[kind]} of {', '.join(methods)} are in the source and are not scored.")
    cards = {t: _card(table, t) for t in table.tasks}
    records, borrowed = [], []
    for method, task in table.facts:
        records += _lost(table, method, task, cards[task])
        record, last = _record(table, method, task, cards[task])
        if record is not None:
            records.append(record)
        if last:
            borrowed.append(f"{method} on {task}")
    if not records:
        raise BadInput(
            f"{table.name}: expected evaluations of kind {', '.join(SCORED)}, found only "
            f"{', '.join(sorted({e.kind for e in table.evaluations})) or 'none'}: there is nothing that may be scored."
        )
    if borrowed:
        cells = ", ".join(borrowed) if len(borrowed) <= 3 else f"{len(borrowed)} cells"
        notes.append(f"Final scores of {cells} are the last point of the curve.")
    means = [t for t in table.tasks if cards[t].reward_scale == _MEAN]
    if means:
        notes.append(f"Returns on {', '.join(means)} are means over agents, not sums.")
    modes = {e.mode for r in records for e in r.evals}
    primary: Mode = "deterministic" if "deterministic" in modes or not modes else "sampled"
    name = _slug(table.name)
    return ForeignResults(
        name=name,
        version=1,
        tasks=table.tasks,
        methods=tuple(_info(table, m) for m in table.methods),
        seeds=(),
        primary=primary,
        records=tuple(records),
        suite={"name": name, "source": table.name.rpartition("/")[2], "notes": notes},
        cards=cards,
        said=_origin(table, cards, records, borrowed),
        notes=tuple(notes),
        table=table,
    )


_MEAN = "mean over agents"
_KIND_TEXT = {"best-episode": "Best-episode scores", "training": "Training returns"}


def scale_of(card: TaskCard) -> str:
    """How the returns on a task are joined over agents, in words; returns on tasks of ours are sums."""
    return {"unknown": "scale not stated", _MEAN: _MEAN}.get(card.reward_scale, "sum over agents")


def _origin(table: ForeignTable, cards: dict[str, TaskCard], records: list[RunRecord], borrowed: list[str]) -> Origin:
    """What is known of the scores."""
    by_scale: dict[str, list[str]] = {}
    for task, card in cards.items():
        by_scale.setdefault(scale_of(card), []).append(task)
    parts = [f"{scale} on {', '.join(tasks)}" for scale, tasks in by_scale.items()]
    text = "; ".join(parts) if len(parts) > 1 else next(iter(by_scale))
    scored = [e for e in table.evaluations if e.kind in SCORED]
    counts = {len(e.returns) if e.episodes == 1 else e.episodes for e in scored}
    found = sorted(c for c in counts if c)
    episodes = f"{counted(found)} episodes" if found else ""
    if None in counts:
        episodes = f"{episodes}, or an unknown number" if episodes else "number of episodes not stated"
    fresh = sum(bool({"ok", "diverged"} & {*r.seed_status.values()}) for r in records) > len(borrowed)
    last = "last point of the curve"
    return Origin(
        scale=text,
        is_mode_said=not table.unsaid_modes,
        absolute="absolute scores as the source gives them",
        final=last if borrowed and not fresh else f"as the source gives them, else the {last}" if borrowed else
        "final scores as the source gives them",
        episodes=episodes,
    )  # fmt: skip


def _record(table: ForeignTable, method: str, task: str, card: TaskCard) -> tuple[RunRecord | None, bool]:
    """The record of a cell's scored runs (None without any), and whether a final score was borrowed."""
    usable = [e for e in table.of(method, task) if e.kind in SCORED]
    seeds: dict[int, Status] = {}
    for seed in table.seeds(method, task):
        status: RunStatus = table.statuses.get((method, task, seed), "ok")
        if status == "diverged" and task not in table.floors and card.floor != card.floor:  # NaN: no floor known
            raise BadInput(
                f"{table.name}: {method!r} diverged on {task!r}, seed {seed}, and nothing says what that scores: give "
                "the task's worst score, with `import --floor VALUE` (or TASK=VALUE) or in a column `floor`."
            )
        if status == "diverged" or (status == "ok" and any(e.seed == seed for e in usable)):
            seeds[seed] = status
    if not seeds:
        return None, False
    lines, borrowed = [], False
    for seed in seeds:
        for mode in MODES:
            mine = [e for e in usable if e.seed == seed and e.mode == mode]
            curve = sorted((e for e in mine if e.kind == "curve"), key=lambda e: e.frames)
            if curve and not any(e.kind == "final" for e in mine):
                mine.append(replace(curve[-1], kind="final"))
                borrowed = True
            lines += mine
    return _made(table, method, task, card, seeds, lines), borrowed


def _lost(table: ForeignTable, method: str, task: str, card: TaskCard) -> list[RunRecord]:
    """A record for every run of a cell that has no score, with its reason; earlier attempts at a run come first."""
    out = []
    for seed in table.seeds(method, task):
        run = method, task, seed
        for attempt, status in enumerate(table.retried.get(run, ()), 1):
            why = "an earlier attempt at a run that was started again"
            out.append(_made(table, method, task, card, {seed: status}, [], why, attempt))
    for seed in table.seeds(method, task):
        run = method, task, seed
        if (status := table.statuses.get(run, "ok")) in ("failed", "incomplete"):
            mine = [e for e in table.of(method, task) if e.kind in SCORED and e.seed == seed]
            out.append(_made(table, method, task, card, {seed: status}, mine, table.reasons.get(run, "")))
    return out


def _made(
    table: ForeignTable, method: str, task: str, card: TaskCard, seeds: Mapping[int, Status],
    evaluations: Sequence[Evaluation], reason: str = "", attempt: int = 0,
) -> RunRecord:  # fmt: skip
    """A record of some runs of a cell."""
    facts = table.facts[method, task]
    points: dict[tuple[int, Mode, int], int] = {}
    begun: Counter[tuple[int, Mode]] = Counter()
    for seed, mode, frames in sorted({(e.seed, e.mode, e.frames) for e in evaluations}):
        points[seed, mode, frames] = begun[seed, mode]
        begun[seed, mode] += 1
    content = repr([(e.seed, e.kind, e.mode, e.frames, e.returns.tolist()) for e in evaluations])
    digest = hashlib.sha256(f"{method}\n{task}\n{dict(seeds)}\n{attempt}\n{content}".encode()).hexdigest()
    config = {
        "label": method,
        "task": task,
        "task_hash": facts.task_hash,
        "method": method,
        "settings": {},
        "seeds": list(seeds),
        "frames": max((e.frames for e in evaluations), default=0),
        "device": "",
    }
    states = set(seeds.values())
    ended: Status = next(iter(states)) if len(states) == 1 else "ok"
    lines = tuple(_line(e, points[e.seed, e.mode, e.frames], facts, card) for e in evaluations)
    return RunRecord(digest[:16], config, ended, dict(seeds), lines, reason=reason)


def _line(e: Evaluation, point: int, facts: CellFacts, card: TaskCard) -> EvalLine:
    """One evaluation as a line; a team's return is spread over the agents of a card that knows them."""
    returns = e.returns
    if returns.shape[1] == 1 and card.num_agents > 1:
        share = returns / card.num_agents if facts.scale == "sum" else returns
        returns = np.repeat(share, card.num_agents, axis=1)
    count = len(returns)
    success = np.full(count, np.nan) if e.success is None else e.success
    return EvalLine(
        kind=e.kind,  # type: ignore[arg-type]
        mode=e.mode,
        seed=e.seed,
        point=point,
        frames=e.frames,
        trained_frames=e.frames,
        updates=0,
        returns=returns,
        success=success,
        length=np.full(count, facts.horizon or card.horizon, dtype=np.int64),
        weights="",
    )


def _info(table: ForeignTable, method: str) -> MethodInfo:
    facts = [f for (m, _), f in table.facts.items() if m == method]
    # Evaluated once, at frame 0, where others have curves: a control.
    starts = {m: max((e.frames for e in table.evaluations if e.method == m), default=0) for m in table.methods}
    is_control = starts[method] == 0 and any(starts.values())
    execution = max((f.execution for f in facts), key=class_rank)
    return MethodInfo(
        method,
        method,
        "imported",
        execution=execution,
        training="unknown",
        trains=any(f.trains for f in facts) and not is_control,
    )


def _card(table: ForeignTable, task: str) -> TaskCard:
    """Our card of the task, or a card of what the table says about it."""
    facts = [f for (_, t), f in table.facts.items() if t == task]
    scales = {f.scale for f in facts}
    # Only published ids: a name such as `package:factory` in somebody's file must not import anything.
    if task not in task_ids():
        if len(scales) > 1:
            found = ", ".join(f"{m} {f.scale}" for (m, t), f in table.facts.items() if t == task)
            raise BadInput(
                f"{table.name}: on {task!r} some returns are added over agents and others averaged, or it is not said "
                f"({found}); nothing known of the task brings them to one scale. If it is a task of ours, import with "
                "--task ID; else import each with its --scale, convert one side, or leave one out."
            )
        [scale] = scales
        return unknown_card(
            task,
            horizon=next((f.horizon for f in facts if f.horizon), 0),
            floor=table.floors.get(task, float("nan")),
            scale={"sum": "added over agents", "mean": _MEAN}.get(scale, scale),
        )
    card = task_card(task)
    if "unknown" in scales:
        raise BadInput(
            f"{table.name}: {task!r} is a task of ours, and the file does not say whether its returns are added over "
            f"agents or averaged: run `rlnet-bench import --format csv {table.name} --scale sum --out results.csv` "
            "(or `--scale mean`)."
        )
    return card


def _slug(name: str) -> str:
    """A name for files and titles."""
    stem = name.rstrip("/").rpartition("/")[2].rpartition(".")[0] or name.rpartition("/")[2]
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in stem.lower()).strip("-")
    return kept or "results"
