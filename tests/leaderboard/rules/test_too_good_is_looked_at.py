"""One test per submission, at 1 %, against our records of the same method, and against proven bounds: an algorithm that
is better is trained again by us, a policy is scored again on the original package, before either is ranked.

Allowed: a method that is a little luckier than ours; a new method that is better than all others.
Disallowed: ranking IPPO that doubles our IPPO, or a share of food above 1, before anybody looked.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from judged import Fresh, MadeUp, entry, says, score
from scipy.stats import binomtest

from rlnet_bench.leaderboard.claims import too_good
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.rules.runs import suspicious

OURS = [-70.0, -71.0, -69.0, -70.5, -69.5]


def known(algorithm: str = "ippo", frames: int = 160) -> MadeUp:
    runs = tuple(score(i, x) for i, x in enumerate(OURS))
    return MadeUp(entry("ours", division="algorithms", is_maintainers=True, scores=runs, algorithm=algorithm,
                        frames=frames))  # fmt: skip


def claimed(folder: Path, mean: float) -> Folder:
    found = Folder.at(folder)
    claims = [c.model_copy(update={"mean": mean}) for c in found.manifest.claims]
    return replace(found, manifest=found.manifest.model_copy(update={"claims": claims}))


def test_a_little_luckier(fresh: Fresh) -> None:
    assert suspicious(claimed(fresh(), -68.5), known()) == []


def test_a_new_method(fresh: Fresh) -> None:
    folder = claimed(fresh(), -20.0)
    assert suspicious(folder, known("mappo")) == []
    assert suspicious(folder, known(frames=80)) == []  # with more frames, it may be better


def test_better_than_ours(fresh: Fresh) -> None:
    (found,) = suspicious(claimed(fresh(), -40.0), known())
    assert found.score == -40.0 and -69.0 < found.limit < -60.0
    assert "better than our own runs of the same method" in found.why


def test_above_a_proven_bound(fresh: Fresh) -> None:
    board = "references: [{task: mpe/simple_spread-discrete-v1, random: -79.5, best: -20.0, bound: 0.0}]"
    (found,) = suspicious(claimed(fresh(), 1.0), MadeUp(board=board))
    assert "the bound is proven" in found.why


def test_it_is_a_note_and_nothing_ranks_before_it_is_cleared(fresh: Fresh) -> None:
    board = "references: [{task: mpe/simple_spread-discrete-v1, random: -79.5, best: -20.0, bound: -999.0}]"
    assert "note: nothing to do" in says("too_good_is_looked_at", fresh(), MadeUp(board=board))
    flag = "too good: -20 above -60; -40 on the original package"
    assert not entry(flags=(flag + ", not as on ours",)).is_ranked
    assert not entry(flags=("too good: 3 above 2; no original package can referee this task",)).is_ranked
    assert entry(flags=(flag + ", as on ours",)).is_ranked
    assert entry(flags=(flag,), level="V3").is_ranked


def test_one_in_a_hundred_honest_submissions_of_thirty_tasks() -> None:
    rng = np.random.default_rng(0)
    flagged = 0
    for _ in range(300):
        ours, theirs = ({f"t{m}": rng.normal(size=5) for m in range(30)} for _ in range(2))
        flagged += bool(too_good(theirs, ours, {}))
    assert binomtest(flagged, 300, 0.01).pvalue > 1e-3
