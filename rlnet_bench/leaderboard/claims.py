"""Are claims and scores what they should be? Tests that hold for a whole submission, however many tasks it has.

At 2.58 standard errors per task, a quarter of honest submissions of 30 tasks would be flagged: every test here is
corrected over the tasks (Sidak), so that one in a hundred honest submissions is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from rlnet_bench.leaderboard.evidence import Control, Scored
from rlnet_bench.leaderboard.submission import Claim
from rlnet_bench.stats import adjust_pvalues, prediction_interval, sidak
from rlnet_bench.stats.intervals import small_sample

FAMILY = 0.99  # of honest submissions pass each of these tests
MOVED = 0.001  # adjusted p of a control that refuses the batch
FEWEST = 3  # of our own runs that anything is compared with


@dataclass(frozen=True)
class Claimed:
    """A claim on one task, and where it would have been expected from what we found."""

    task: str
    claimed: float
    found: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the claim lies in the interval."""
        return self.low <= self.claimed <= self.high


def check_claims(claims: Sequence[Claim], found: Mapping[str, Sequence[Scored]]) -> list[Claimed]:
    """Claims against our own evaluation of the very same policies: only the episodes are new.

    Per task, the mean over policies; the difference has variance ``sum_i (s_i^2 / E_i + s'_i^2 / E'_i) / n^2`` with
    Satterthwaite's degrees of freedom.
    """
    tasks = [t for t in dict.fromkeys(c.task for c in claims) if t in found]
    level = sidak(FAMILY, len(tasks))
    out = []
    for task in tasks:
        ours = {p.seed: p for p in found[task]}
        pairs = [(c, ours[c.seed]) for c in claims if c.task == task and c.seed in ours]
        if not pairs:
            continue
        variances = np.array([x for c, p in pairs for x in (c.sd**2, p.sd**2)])
        counts = np.array([x for c, p in pairs for x in (c.episodes, p.episodes)])
        t = float(special.stdtrit(small_sample(variances, counts).nu, 0.5 + level / 2))
        half = t * float(np.sqrt(np.sum(variances / counts))) / len(pairs)
        mean = float(np.mean([p.mean for _, p in pairs]))
        half += 1e-6 * max(1.0, abs(mean))  # claims are rounded
        out.append(Claimed(task, float(np.mean([c.mean for c, _ in pairs])), mean, mean - half, mean + half))
    return out


@dataclass(frozen=True)
class TooGood:
    """A score above what runs of the same method reach, or above what any can."""

    task: str
    score: float
    limit: float
    why: str


def too_good(
    scores: Mapping[str, Sequence[float]], known: Mapping[str, Sequence[float]], bounds: Mapping[str, float]
) -> list[TooGood]:
    """One family-wise 1 % one-sided test per submission against our records of the *same* method, and proven bounds.

    Args:
        scores: of the submission's runs, by task.
        known: of our own runs of the same method with the same frames; tasks without are only held against bounds.
        bounds: what no policy can exceed, by task, where that is proven.
    """
    tested = [t for t in scores if len(known.get(t, ())) >= FEWEST and len(scores[t])]
    alpha = 1 - sidak(FAMILY, len(tested))
    found = []
    for task, runs in scores.items():
        if not len(runs):
            continue
        mean = float(np.mean(runs))
        if task in bounds and mean > bounds[task] + 1e-6 * max(1.0, abs(bounds[task])):
            found.append(TooGood(task, mean, bounds[task], "no policy can reach that: the bound is proven"))
        elif task in tested:
            limit = prediction_interval(known[task], len(runs), 1 - 2 * alpha)[1]
            if mean > limit + 1e-9:
                found.append(TooGood(task, mean, limit, "better than our own runs of the same method, at 1 %"))
    return found


def control(task: str, name: str, known: float, known_se: float, known_n: int, team: np.ndarray) -> Control:
    """A control's score beside the known one, with the p of a two-sided test that they are one.

    Rare successes may all be absent: episodes vary at least as much as they did when the known score was measured.
    """
    sd = max(float(team.std(ddof=1)), known_se * known_n**0.5)
    se = sd / len(team) ** 0.5
    total = float(np.hypot(known_se, se))
    difference = float(team.mean()) - known
    z = abs(difference) / total if total else (0.0 if abs(difference) < 1e-6 else np.inf)
    return Control(task, name, known, known_se, float(team.mean()), se, float(2 * special.ndtr(-z)))


def adjusted(controls: Sequence[Control]) -> list[Control]:
    """Controls of a batch, their p adjusted for all of them (Holm)."""
    if not controls:
        return []
    p = adjust_pvalues([c.p for c in controls])
    return [replace(c, p=float(x)) for c, x in zip(controls, p, strict=True)]
