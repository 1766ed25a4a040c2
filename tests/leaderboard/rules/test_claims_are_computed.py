"""A claim is the mean of recorded episodes, recomputed from them; one without records is held against our evaluation.

Allowed: the mean over all episodes of the absolute metric.
Disallowed: the best episode, a rounded-up mean, a run without a claim.
"""

from __future__ import annotations

import re
from pathlib import Path

from judged import Fresh, edit, says


def claim(folder: Path, seed: int) -> str:
    lines = (folder / "submission.yaml").read_text().splitlines(keepends=True)
    return next(x for x in lines if "episodes" in x and f"seed: {seed}," in x)


def test_allowed(fresh: Fresh) -> None:
    assert says("claims_are_computed", fresh()) == ""


def test_a_better_mean(fresh: Fresh) -> None:
    folder = fresh()
    line = claim(folder, 0)
    said = says("claims_are_computed", edit(folder, line, re.sub(r"mean: -\d+", "mean: -1", line)))
    assert "claims -1" in said and "its episodes give" in said


def test_a_run_without_a_claim(fresh: Fresh) -> None:
    folder = fresh()
    assert "no claim for seed 1" in says("claims_are_computed", edit(folder, claim(folder, 1), ""))
