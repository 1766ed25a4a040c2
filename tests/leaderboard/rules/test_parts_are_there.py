"""What a submission's kind needs is in the folder: policies, a network, records, code.

Allowed: a frozen policy without records, which is then scored by us alone.
Disallowed: results without records, a task without a policy.
"""

from __future__ import annotations

import shutil

from judged import SPREAD, Fresh, says


def test_allowed(fresh: Fresh) -> None:
    folder = fresh()
    shutil.rmtree(folder / "records")
    assert says("parts_are_there", folder) == ""


def test_results_without_records(fresh: Fresh) -> None:
    folder = fresh("results")
    shutil.rmtree(folder / "records")
    assert "needs the records of its runs" in says("parts_are_there", folder)


def test_a_task_without_a_policy(fresh: Fresh) -> None:
    folder = fresh()
    shutil.rmtree(folder / "policies")
    assert f"{SPREAD} has no policy in the folder" in says("parts_are_there", folder)
