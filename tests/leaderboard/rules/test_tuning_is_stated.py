"""A tuning column: trials x seeds, or "untuned"; nothing is tuned on a suite's test tasks.

Allowed: `{trials: 20, seeds: 3, tasks: [a development task], space: "..."}`.
Disallowed: no statement, a search on the tasks that are kept for testing.
"""

from __future__ import annotations

from judged import Fresh, edit, says

from rlnet_bench.leaderboard.check import check_submission

TUNED = "tuning: {trials: 20, seeds: 3, tasks: [mpe/simple_spread-discrete-v1], space: learning rate}"


def test_allowed(fresh: Fresh) -> None:
    folder = fresh()
    assert says("tuning_is_stated", folder) == ""
    assert says("tuning_is_stated", edit(folder, "tuning: untuned", TUNED)) == ""


def test_no_statement(fresh: Fresh) -> None:
    (finding,) = check_submission(edit(fresh(), "tuning: untuned\n", ""))
    assert "key 'tuning' is required and missing" in finding.sentence


def test_tuned_on_a_test_task(fresh: Fresh) -> None:
    folder = edit(fresh(), "tuning: untuned", TUNED)
    edit(folder, '"test": []', '"test": ["mpe/simple_spread-discrete-v1"]', "records/suite.json")
    assert "mpe/simple_spread-discrete-v1 is a test task of small" in says("tuning_is_stated", folder)
