"""All k entries of one submitter on a task are shown, each with an interval that holds for all of them together (Sidak
over k), and as "best of k" until we trained them from fresh seeds. What is withdrawn still counts.

Allowed: three versions, shown as three.
Disallowed: 27 private tries and the best of them alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judged import MadeUp, board_says, entry
from scipy.stats import binomtest, t


def test_allowed() -> None:
    three = [entry(version=v, variants=3) for v in (1, 2, 3)]
    assert board_says("all_variants_are_counted", MadeUp(*three, entry("other", submitter="other"))) == ""
    assert three[0].is_best_of and three[0].interval_level == pytest.approx(0.95 ** (1 / 3))
    assert not replace(three[0], level="V3").is_best_of
    assert not entry().is_best_of and entry().interval_level == 0.95


def test_disallowed() -> None:
    said = board_says("all_variants_are_counted", MadeUp(entry(), entry(version=2)))
    assert "theirs@1 on mpe/simple_spread-discrete-v1: is shown as one of 1, and is one of 2" in said


def test_k_intervals_hold_together() -> None:
    rng, hits, k = np.random.default_rng(0), 0, 5
    for _ in range(2000):
        runs = rng.normal(size=(k, 20))
        half = t.ppf((1 + entry(variants=k).interval_level) / 2, 19) * runs.std(axis=1, ddof=1) / 20**0.5
        hits += bool(np.all(np.abs(runs.mean(axis=1)) <= half))
    assert binomtest(hits, 2000, 0.95).pvalue > 1e-3
