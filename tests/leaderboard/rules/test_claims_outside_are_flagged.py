"""A claim that our own evaluation contradicts is marked in its row. The claim must lie in the prediction interval of
our number: the policies are the same, only the episodes are new. One test per submission, at 1 %, however many tasks
it has: 2.58 standard errors on each of 30 tasks would flag a quarter of the honest.

Allowed: a claim that is a standard error off.
Disallowed: a claim that is far off, shown without a flag.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from judged import Fresh, board_says
from scipy.stats import binomtest

from rlnet_bench.leaderboard.claims import check_claims
from rlnet_bench.leaderboard.evidence import Scored, write_evidence
from rlnet_bench.leaderboard.folder import write_sums
from rlnet_bench.leaderboard.rules import Listing
from rlnet_bench.leaderboard.submission import Claim
from rlnet_bench.leaderboard.verify import verify


def claim(mean: float, task: str = "t", seed: int = 0) -> Claim:
    return Claim.model_construct(task=task, seed=seed, mean=mean, sd=10.0, episodes=320)


def scored(mean: float, seed: int = 0) -> Scored:
    return Scored(seed, mean, 10.0, 320, 0.0, "ab")


def test_allowed() -> None:
    (found,) = check_claims([claim(-49.0)], {"t": [scored(-50.0)]})
    assert found.holds and found.low < -50.0 < found.high
    # By hand: 2.58 standard errors of a difference of two means of 320 episodes.
    assert found.high - found.found == pytest.approx(2.584 * (2 * 100 / 320) ** 0.5, rel=2e-3)


def test_disallowed() -> None:
    (found,) = check_claims([claim(-45.0)], {"t": [scored(-50.0)]})
    assert not found.holds


def test_a_flag_that_was_taken_off(fresh: Fresh, tmp_path: Path) -> None:
    folder = fresh()
    found, lines = verify(folder, episodes=4)
    assert found.flags == ()
    shutil.copytree(folder, tmp_path / "results" / "submissions" / "my-model@1")
    target = tmp_path / "results" / "submissions" / "my-model@1"
    write_evidence(target / "verification", found, lines)
    listing = Listing.read(tmp_path / "results")
    assert board_says("claims_outside_are_flagged", listing) == ""
    text = (target / "submission.yaml").read_text()
    (target / "submission.yaml").write_text(re.sub(r"mean: -\d+", "mean: 1000", text))
    assert "claims 100" in board_says("claims_outside_are_flagged", listing)


def test_a_flag_is_raised(fresh: Fresh) -> None:
    folder = fresh()
    shutil.rmtree(folder / "records")
    text = (folder / "submission.yaml").read_text()
    (folder / "submission.yaml").write_text(re.sub(r"mean: -\d+", "mean: 1000", text))
    write_sums(folder)
    found, _ = verify(folder, episodes=8)
    (flag,) = found.flags
    assert flag.startswith("mpe/simple_spread-discrete-v1: claim 100") and "outside [" in flag


def test_one_in_a_hundred_honest_submissions_of_thirty_tasks() -> None:
    rng = np.random.default_rng(0)
    flagged = 0
    for _ in range(200):
        claims, ours = [], {}
        for m in range(30):
            said, found = (rng.normal(0, 10, 320) for _ in range(2))
            claims.append(Claim.model_construct(task=f"t{m}", seed=0, mean=said.mean(), sd=said.std(ddof=1),
                                                episodes=320))  # fmt: skip
            ours[f"t{m}"] = [Scored(0, found.mean(), found.std(ddof=1), 320, 0.0, "ab")]
        flagged += not all(c.holds for c in check_claims(claims, ours))
    assert binomtest(flagged, 200, 0.01).pvalue > 1e-3
