"""What the board lists: one entry per method, version, suite, task and division. Imports without torch.

From a folder of results: every publication in it (``<suite>-v<n>``, the maintainers' own), and every accepted
submission (``submissions/<method>@<version>``) with the evidence that :mod:`rlnet_bench.leaderboard.verify` left
beside it. Nothing is ranked here; what may be ranked says :attr:`Entry.is_ranked`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.envs.registry import is_catalogued, task_card
from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.board import EVIDENCE, SUBMISSIONS, Board, read_board
from rlnet_bench.leaderboard.evidence import Evidence, Level, read_evidence
from rlnet_bench.leaderboard.submission import NETWORK, RECORDS, Submission, read_manifest
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.reading.files import listing, read_text
from rlnet_bench.runs.published import is_published
from rlnet_bench.stats import sidak
from rlnet_bench.vocabulary import Mode

CONFIRMED = ", as on ours"  # the end of a flag "too good" that the original package confirms
Division = Literal["policies", "algorithms"]
"""What is ranked: given weights (only the episodes are new), or a way to train (runs are new)."""


@dataclass(frozen=True)
class Score:
    """One run (``algorithms``) or one policy (``policies``)."""

    seed: int
    run_id: str  # empty for a policy of which no record was given
    status: str  # ok | diverged | failed
    mean: float | None  # team return (sum over agents) over its episodes
    se: float | None  # standard error over those episodes
    episodes: int
    success: float | None
    weights: str  # digest of what was scored; "-" for none


@dataclass(frozen=True)
class Entry:
    """What the board lists of a method on a task."""

    method: str
    version: int
    suite: str  # the protocol that its runs followed, such as mpe-v1; empty when no runs are shown
    task: str
    division: Division
    level: Level
    title: str
    submitter: str
    task_hash: str
    execution: str  # an ExecutionClass, computed by us
    training: str  # a TrainingClass, or unknown
    tuning: str  # "untuned", "20 trials x 3 seeds", or "not stated"
    mode: Mode
    frames: int | None  # of training, per seed
    bits: int | None  # that cross between agents in a step; None: not computed
    parameters: int | None
    is_maintainers: bool
    is_control: bool  # random play and scripts
    needs_rerun: bool  # the task has changed since
    withdrawn: str  # the reason on the tombstone; empty while listed
    scores: tuple[Score, ...]
    flags: tuple[str, ...]  # "claim outside", "too good", ...
    source: Path  # the publication, or the submission's folder
    season: str = ""  # in which it was scored on hidden seeds; empty: it was not
    algorithm: str = ""  # what trained it: a method's id, or a network's digest; empty: not known
    variants: int = 1  # entries of this submitter on this task in this division, withdrawn ones included
    columns: tuple[tuple[str, float], ...] = ()  # channel scores, and what else was recorded

    @property
    def key(self) -> tuple[str, int, str, str, str]:
        """What is there once."""
        return self.method, self.version, self.suite, self.task, self.division

    @property
    def is_ranked(self) -> bool:
        """Policies rank from V2 on, algorithms at V3 only: a lucky training seed survives any re-evaluation."""
        enough: tuple[Level, ...] = ("V2", "V3") if self.division == "policies" else ("V3",)
        lost = self.withdrawn or self.needs_rerun or self.is_control or self.is_suspended
        return self.level in enough and not lost

    @property
    def is_suspended(self) -> bool:
        """Too good, and neither confirmed on the original package nor trained again by us."""
        return self.level != "V3" and any("too good" in f and not f.endswith(CONFIRMED) for f in self.flags)

    @property
    def interval_level(self) -> float:
        """The level of each interval of a submitter with several variants, so that 95 % holds for all of them."""
        return sidak(0.95, self.variants)

    @property
    def is_best_of(self) -> bool:
        """Shown as "best of k": one of several variants, not trained again from fresh seeds by us."""
        return self.variants > 1 and self.level != "V3" and not self.is_maintainers

    @property
    def score(self) -> float | None:
        """Mean over runs or policies; None without any."""
        found = [s.mean for s in self.scores if s.mean is not None]
        return sum(found) / len(found) if found else None


def entries(results: Path, load: Callable[[Path], Results] = load_results) -> list[Entry]:
    """What a folder of results lists, in order of task, division, method and version.

    Args:
        results: the folder.
        load: reads a publication; whoever needs its runs, too, gives one that remembers.

    Raises:
        RlnetError: when a publication, a submission or its evidence is not what was written.
    """
    board = read_board(results)
    found: list[Entry] = []
    for folder in listing(results):
        if is_published(folder):
            found += _published(folder, board, load)
    for folder in listing(results / SUBMISSIONS):
        found += _submitted(folder, board, load)
    return sorted(_counted(found), key=lambda e: (e.task, e.division, *e.key))


def _counted(found: list[Entry]) -> Iterator[Entry]:
    """With the number of variants that a submitter has on a board; the maintainers' baselines are no variants."""
    together = Counter((e.submitter, e.task, e.division) for e in found if not e.is_maintainers)
    for e in found:
        yield e if e.is_maintainers else replace(e, variants=together[e.submitter, e.task, e.division])


def _published(folder: Path, board: Board, load: Callable[[Path], Results]) -> Iterator[Entry]:
    """A publication of the maintainers: all its runs were launched as planned, and are listed."""
    results = load(folder)
    for info in results.methods:
        for task in results.tasks:
            records = results.find(info.label, task)
            if records:
                yield _of_runs(results, info, task, folder, info.label, board)


def _of_runs(results: Results, info: MethodInfo, task: str, folder: Path, method: str, board: Board) -> Entry:
    records = results.find(info.label, task)
    config = records[0].config
    version = int(config.get("method_version", 1))
    columns = info.columns.get(task, {})
    return Entry(
        method=method,
        version=version,
        suite=f"{results.name}-v{results.version}",
        task=task,
        division="algorithms",
        level="V1",
        title=info.summary or info.label,
        submitter="rlnet-bench",
        task_hash=config.get("task_hash", ""),
        execution=columns.get("execution", info.execution),
        training=info.training,
        tuning=info.tried,
        mode=results.primary,
        frames=config["frames"],
        bits=_bits(columns),
        parameters=columns.get("actor_parameters"),
        is_maintainers=True,
        is_control=not info.trains,
        needs_rerun=any(r.damaged for r in records) or _is_stale(task, config.get("task_hash", "")),
        withdrawn=_withdrawn(board, method, version),
        scores=tuple(_run_scores(results, info.label, task)),
        flags=(),
        source=folder,
        algorithm=algorithm_of(config),
    )


def algorithm_of(config: Mapping[str, Any]) -> str:
    """What trained a run: a method's id, or a network by digest, whatever they are called."""
    network = config.get("network")
    return config["method"] if network is None else f"network {NetworkSpec.from_json(network).digest()}"


def _run_scores(results: Results, label: str, task: str) -> Iterator[Score]:
    for record in results.find(label, task):
        for seed, status in sorted(record.seed_status.items()):
            lines = record.lines("absolute", results.primary, seed)
            if status == "diverged":
                yield Score(seed, record.run_id, status, results.card(task).floor, None, 0, 0.0, "-")
            elif lines:
                team, n = lines[-1].team, len(lines[-1].team)
                se = float(team.std(ddof=1)) / n**0.5 if n > 1 else None
                yield Score(
                    seed, record.run_id, status, float(team.mean()), se, n, float(lines[-1].success.mean()),
                    lines[-1].weights,
                )  # fmt: skip
            else:
                yield Score(seed, record.run_id, "failed", None, None, 0, None, "-")


def _submitted(folder: Path, board: Board, load: Callable[[Path], Results]) -> Iterator[Entry]:
    """An accepted submission: its policies as we scored them, its runs as they were recorded."""
    manifest, evidence = read_manifest(folder), read_evidence(folder / EVIDENCE)
    if manifest.kind in ("frozen-policy", "network"):
        for task in evidence.tasks:
            yield _of_policies(folder, manifest, evidence, task.task, board)
    yield from _of_records(folder, manifest, evidence, board, load)


def _of_policies(folder: Path, manifest: Submission, evidence: Evidence, task: str, board: Board) -> Entry:
    found = evidence.task(task)
    declared = manifest.task(task)
    runs = {(x.task, x.seed): x.run or "" for x in manifest.launches}
    return Entry(
        **_said(manifest, board),
        suite="",
        task=task,
        division="policies",
        level=found.level,
        task_hash=declared.hash,
        execution=found.execution,
        frames=declared.frames,
        bits=_bits(found.columns),
        parameters=found.parameters,
        is_control=False,
        needs_rerun=_is_stale(task, declared.hash) or (board.season is not None and evidence.season != board.season),
        scores=tuple(
            Score(p.seed, runs.get((task, p.seed), ""), "ok", p.mean, p.sd / p.episodes**0.5, p.episodes, p.success,
                  p.weights) for p in found.policies
        ),
        flags=found.flags,
        source=folder,
        season=evidence.season,
        columns=tuple(sorted(found.channel.items())),
    )  # fmt: skip


def _of_records(
    folder: Path, manifest: Submission, evidence: Evidence, board: Board, load: Callable[[Path], Results]
) -> Iterator[Entry]:
    if not is_published(folder / RECORDS):
        yield from (_of_training(folder, manifest, evidence, task, board) for task in evidence.retrained)
        return
    results = load(folder / RECORDS)
    for info in results.methods:
        for task in results.tasks:
            if not results.find(info.label, task):
                continue
            made = _of_runs(results, info, task, folder, manifest.method, board)
            trained = evidence.retrained.get(task)
            said = _said(manifest, board)
            scores = made.scores
            if trained is not None:  # the published number is our own
                scores = _fresh_scores(evidence, task)
            level: Level = _level_of_training(manifest, evidence, task)
            yield Entry(**{**vars(made), **said, "level": level, "scores": scores, "flags": evidence.flags})


def _level_of_training(manifest: Submission, evidence: Evidence, task: str) -> Level:
    """V3 where we trained fresh seeds in a season, and they do not contradict what was submitted. Code stays at V1."""
    trained = evidence.retrained.get(task)
    holds = trained is not None and trained.holds and evidence.season and manifest.kind != "algorithm"
    return "V3" if holds else "V0" if evidence.level == "V0" else "V1"


def _of_training(folder: Path, manifest: Submission, evidence: Evidence, task: str, board: Board) -> Entry:
    """A network that was submitted to be trained, as we trained it."""
    declared = manifest.task(task)
    graph = expand(NetworkSpec.from_yaml(read_text(folder / NETWORK)), task_card(task))
    return Entry(
        **_said(manifest, board),
        suite="",
        task=task,
        division="algorithms",
        level=_level_of_training(manifest, evidence, task),
        task_hash=declared.hash,
        execution=graph.execution_class,
        frames=declared.frames,
        bits=int(graph.bits_up + graph.bits_down),
        parameters=None,
        is_control=False,
        needs_rerun=_is_stale(task, declared.hash),
        scores=_fresh_scores(evidence, task),
        flags=evidence.flags,
        source=folder,
        season=evidence.season,
    )


def _fresh_scores(evidence: Evidence, task: str) -> tuple[Score, ...]:
    return tuple(
        Score(p.seed, p.run_id, p.status, p.mean, p.se, p.episodes, p.success, p.weights)
        for p in evidence.retrained[task].runs
    )


def _said(manifest: Submission, board: Board) -> dict[str, Any]:
    """What an entry takes from the manifest."""
    return {
        "method": manifest.method, "version": manifest.version, "title": manifest.title,
        "submitter": manifest.submitter.id, "training": manifest.training, "mode": manifest.mode,
        "tuning": tuning_text(manifest), "is_maintainers": manifest.submitter.id in board.maintainers,
        "withdrawn": _withdrawn(board, manifest.method, manifest.version),
    }  # fmt: skip


def tuning_text(manifest: Submission) -> str:
    """The tuning column: trials x seeds, or "untuned"."""
    t = manifest.tuning
    return t if isinstance(t, str) else f"{t.trials} trials x {t.seeds} seeds"


def _bits(columns: object) -> int | None:
    if not isinstance(columns, dict) or "bits_up" not in columns:
        return None
    return int(columns["bits_up"]) + int(columns.get("bits_down", 0))


def _withdrawn(board: Board, method: str, version: int) -> str:
    return next((w.reason for w in board.withdrawn if (w.method, w.version) == (method, version)), "")


def _is_stale(task: str, digest: str) -> bool:
    """Whether the task has changed since, or is gone."""
    if not is_catalogued(task):
        return False
    try:
        return task_card(task).hash() != digest
    except RlnetError:
        return True
