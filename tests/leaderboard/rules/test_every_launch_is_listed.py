"""Every run that was started is listed, in order of time; failures are counted, and none is left out.

Allowed: a failed run with its reason.
Disallowed: leaving out a run, calling a diverged one well, submitting the policies of chosen runs only.
"""

from __future__ import annotations

import re
from pathlib import Path

from judged import Fresh, edit, says


def test_allowed(fresh: Fresh) -> None:
    assert says("every_launch_is_listed", fresh()) == ""


def launch(folder: Path, seed: int) -> str:
    lines = (folder / "submission.yaml").read_text().splitlines(keepends=True)
    return next(x for x in lines if "started" in x and f"seed: {seed}," in x)


def test_a_run_that_is_left_out(fresh: Fresh) -> None:
    folder = fresh()
    said = says("every_launch_is_listed", edit(folder, launch(folder, 1), ""))
    assert "seed 1 on mpe/simple_spread-discrete-v1, is not in `launches`" in said
    assert "1.safetensors: on mpe/simple_spread-discrete-v1: no launch" in said


def test_a_run_that_is_called_otherwise(fresh: Fresh) -> None:
    said = says("every_launch_is_listed", edit(fresh(), "status: ok", "status: diverged", count=1))
    assert "is ok, not diverged" in said


def test_chosen_policies(fresh: Fresh) -> None:
    folder = fresh()
    next(folder.glob("policies/*/1.safetensors")).unlink()
    assert "seed 1 on mpe/simple_spread-discrete-v1 ended well, and its policy is not there" in says(
        "every_launch_is_listed", folder
    )


def test_launches_that_are_out_of_order(fresh: Fresh) -> None:
    folder = fresh()
    first = launch(folder, 0)
    later = re.sub(r"started: '\d{4}", "started: '2999", first)
    assert "not in the order" in says("every_launch_is_listed", edit(folder, first, later))
