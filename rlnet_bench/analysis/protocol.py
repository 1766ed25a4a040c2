"""What the lines of ``ablate`` say of a channel: dependence, information and benefit, kept apart; seeds as units.

*Dependence* of a seed: its score less that with messages of another environment at the same step, on the same episodes.
*Information*: the share of what receivers cannot see that messages tell, against chance. *Benefit*: trained with the
channel less trained without, over seeds. A channel may be depended on and tell nothing, or tell and be of no use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from rlnet_bench.stats import adjust_pvalues, wilson

DEPENDS = 0.05  # normalised: below, a seed does not depend on its channel
ENOUGH = 0.02  # normalised: a width within so much of the full score is enough
LEVEL = 0.95
CURVES = ("bits", "delay", "drop")


@dataclass(frozen=True)
class SeedProtocol:
    """One seed; ``dependence`` and ``se`` in units of the score, ``normalised`` a share of random to best (or None)."""

    seed: int
    dependence: float
    se: float
    normalised: float | None
    information: float
    p: float  # adjusted over seeds (Holm)
    formed: bool | None


@dataclass(frozen=True)
class Point:
    """A mean over seeds, with a t interval where there are at least three."""

    kind: str
    value: float
    score: float | None
    low: float | None
    high: float | None
    drop: float | None
    reason: str = ""


@dataclass(frozen=True)
class Protocol:
    """What is reported of a channel."""

    seeds: tuple[SeedProtocol, ...]
    points: tuple[Point, ...]
    formed: int | None
    interval: tuple[float, float] | None  # Wilson, of the share of seeds that formed a protocol
    effective_bits: int | None
    reason: str = ""  # why nothing is normalised

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "seeds": [vars(x) for x in self.seeds], "points": [vars(x) for x in self.points], "formed": self.formed,
            "of": len(self.seeds), "wilson": self.interval, "effective_bits": self.effective_bits,
            "reason": self.reason,
        }  # fmt: skip

    def sentence(self) -> str:
        """`2 of 5 seeds formed a protocol (0.12 to 0.77)`, and how many bits are enough."""
        if self.formed is None or self.interval is None:
            return f"Whether seeds formed a protocol is undefined: {self.reason}."
        low, high = self.interval
        enough = (
            f"{self.effective_bits} bits per number are enough" if self.effective_bits else "no width tried is enough"
        )
        return f"{self.formed} of {len(self.seeds)} seeds formed a protocol ({low:.2f} to {high:.2f}); {enough}."


def judge(lines: Sequence[Mapping[str, Any]], gap: float | None, reason: str = "") -> Protocol:
    """The lines of one run, see :mod:`rlnet_bench.runs.ablations`.

    Args:
        lines: of all seeds.
        gap: the task's best score less random's, in units of the score; None where it has none.
        reason: why.
    """
    seeds = sorted({int(line["seed"]) for line in lines})
    team = {(x["seed"], x["kind"], x["value"]): np.array(x["team"]) for x in lines if "team" in x}
    probes = {x["seed"]: x for x in lines if x["kind"] == "information"}
    adjusted = adjust_pvalues([float(probes[s]["p"]) for s in seeds])
    found = []
    for seed, p in zip(seeds, adjusted):
        lost = team[seed, "intact", 0.0] - team[seed, "shuffled", 0.0]
        normalised = None if gap is None else float(lost.mean()) / gap
        formed = None if normalised is None else normalised > DEPENDS and float(p) < 1 - LEVEL
        found.append(
            SeedProtocol(
                seed, float(lost.mean()), float(lost.std(ddof=1) / len(lost) ** 0.5), normalised,
                float(probes[seed]["r2"]), float(p), formed,
            )
        )  # fmt: skip
    points = tuple(_points(lines, team, seeds))
    formed_count = None if gap is None else sum(bool(x.formed) for x in found)
    interval = None
    if formed_count is not None:
        low, high = wilson(formed_count, len(seeds))
        interval = (float(low), float(high))
    bits = None
    if gap is not None:
        fine = [p.value for p in points if p.kind == "bits" and p.drop is not None and p.drop <= ENOUGH * gap]
        bits = int(min(fine)) if fine else None
    return Protocol(tuple(found), points, formed_count, interval, bits, reason)


def _points(
    lines: Sequence[Mapping[str, Any]], team: Mapping[tuple[int, str, float], np.ndarray], seeds: Sequence[int]
) -> Iterable[Point]:
    changes = dict.fromkeys((x["kind"], float(x["value"])) for x in lines if x["kind"] != "information")
    whole = np.array([team[s, "intact", 0.0].mean() for s in seeds])
    for kind, value in changes:
        if (seeds[0], kind, value) not in team:
            reason = next(x["reason"] for x in lines if (x["kind"], x["value"]) == (kind, value))
            yield Point(kind, value, None, None, None, None, reason)
            continue
        means = np.array([team[s, kind, value].mean() for s in seeds])
        half = None
        if len(seeds) >= 3:
            half = float(scipy_stats.t.ppf((1 + LEVEL) / 2, len(seeds) - 1) * means.std(ddof=1) / len(seeds) ** 0.5)
        mean = float(means.mean())
        yield Point(
            kind, value, mean, None if half is None else mean - half, None if half is None else mean + half,
            float((whole - means).mean()),
        )  # fmt: skip


def benefit(with_it: Sequence[float], without: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean over seeds of trained with the channel less trained without; Welch's t interval from two seeds each on."""
    a, b = np.asarray(with_it, dtype=float), np.asarray(without, dtype=float)
    mean = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return mean, None, None
    found = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(LEVEL)
    return mean, float(found.low), float(found.high)
