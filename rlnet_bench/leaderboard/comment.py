"""What CI posts under a new submission: its row against two fixed references, with prediction intervals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlnet_bench.analysis.wording import rounded
from rlnet_bench.leaderboard.board import read_board
from rlnet_bench.leaderboard.claims import FEWEST
from rlnet_bench.leaderboard.entries import Entry, entries
from rlnet_bench.leaderboard.evidence import Evidence, TaskEvidence, read_evidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.stats import prediction_interval

LEVEL = 0.95
MEANING = {
    "V0": "well-formed",
    "V1": "consistent; nothing was scored by us",
    "V2-practice": "scored by us on public seeds: it is not ranked yet",
    "V2": "scored by us on hidden seeds",
    "V3": "trained again by us",
}


def comment(path: Path, evidence_folder: Path, results: Path) -> str:
    """The comment, in Markdown.

    Args:
        path: the submission's folder.
        evidence_folder: what ``verify --out`` wrote.
        results: the board with the references.

    Raises:
        BadInput: for a folder that is no submission, or evidence that is none.
    """
    folder, evidence = Folder.at(path), read_evidence(evidence_folder)
    return "\n".join(_lines(folder, evidence, read_board(results).fixed, entries(results))) + "\n"


def _lines(folder: Folder, evidence: Evidence, names: Sequence[str], listed: Sequence[Entry]) -> Iterator[str]:
    manifest = folder.manifest
    yield f"### {plain(manifest.title)} (`{manifest.row}`): {evidence.level}"
    yield ""
    yield f"{MEANING[evidence.level][0].upper()}{MEANING[evidence.level][1:]}."
    yield from (f"\n* {plain(sentence)}" for sentence in (*evidence.reasons, *evidence.flags))
    if evidence.tasks:
        heads = [f"{plain(name)}: {LEVEL:.0%} of new scores" for name in names]
        yield ""
        yield "| " + " | ".join(["task", "class", "bits", "policies", "claimed", "**ours**", *heads]) + " |"
        yield "| " + " | ".join([":--", ":--", "--:", "--:", "--:", "--:", *[":--"] * len(heads)]) + " |"
        yield from (_row(folder, task, names, listed) for task in evidence.tasks)
        yield ""
        yield ("Team returns. *Ours* is the mean over the submitted policies, on our own episodes. The interval of a "
               "reference is where the mean of as many new runs of it would lie.")  # fmt: skip
    for name, trained in evidence.retrained.items():
        yield f"\nTrained again on {plain(name)}, {len(trained.runs)} fresh seeds: {plain(trained.verdict)}."


def _row(folder: Folder, found: TaskEvidence, names: Sequence[str], listed: Sequence[Entry]) -> str:
    means = [p.mean for p in found.policies if p.mean is not None]
    claims = [c.mean for c in folder.manifest.claims if c.task == found.task]
    mean = sum(means) / len(means)
    half = sum(p.se**2 for p in found.policies) ** 0.5 / len(means) * 1.96
    ours = rounded(mean, mean - half, mean + half)
    bits = found.columns.get("bits_up", 0.0) + found.columns.get("bits_down", 0.0)
    cells = [
        plain(found.task), found.execution, f"{bits:.0f}", str(len(means)),
        f"{sum(claims) / len(claims):.4g}" if claims else "–",
        f"**{ours.value}** [{ours.low}, {ours.high}]",
        *(_against(mean, len(means), _reference(name, found.task, listed)) for name in names),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _reference(name: str, task: str, listed: Sequence[Entry]) -> list[float]:
    """Scores of a reference's runs on a task: those with the most frames."""
    found = [e for e in listed if (e.method, e.task, e.division) == (name, task, "algorithms") and e.is_maintainers]
    best = max(found, key=lambda e: e.frames or 0, default=None)
    return [] if best is None else [s.mean for s in best.scores if s.mean is not None]


def _against(mean: float, count: int, runs: Sequence[float]) -> str:
    if len(runs) < FEWEST:
        return "–"
    low, high = prediction_interval(runs, count, LEVEL)
    word = "above" if mean > high else "below" if mean < low else "within"
    return f"{word} {rounded((low + high) / 2, low, high).bracket}"


def plain(text: str) -> str:
    r"""Submitted text in Markdown: every sign that could be markup is escaped.

    >>> plain("<img src=x> [a](b) | *c*")
    '\\<img src=x\\> \\[a\\](b) \\| \\*c\\*'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#~&!@])", r"\\\1", " ".join(text.split()))
