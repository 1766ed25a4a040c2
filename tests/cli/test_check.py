"""`rlnet-bench check`: what the conformance tests say of a task or a method, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from said import Run

from rlnet_bench.envs import check
from rlnet_bench.envs.check.report import Check, CheckReport

pytest.importorskip("pettingzoo")

FOREIGN = str(Path(__file__).parents[1] / "envs" / "pettingzoo" / "foreign_envs.py")
BROKEN = (
    Check("card", "passed", "2 agents"),
    Check("flags", "failed", "it broke"),
    Check("masks", "skipped", "none"),
    Check("finite", "failed", "it broke"),
    Check("success", "failed", "another thing"),
)


def test_what_is_broken_is_said_once_and_ends_with_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(check, "check_env", lambda *a: asked.append(a) or CheckReport(a[0], "cpu", a[1], BROKEN))
    code, text = run("check", "task", "my.py:make", "--num-envs", "2")
    assert code == 1 and asked == [("my.py:make", 2, 1000)]
    assert text.splitlines() == [
        "my.py:make on cpu, 2 environments",
        "passed   card     2 agents",
        "failed   flags    it broke",
        "skipped  masks    none",
        "failed   finite   as flags",
        "failed   success  another thing",
        "my.py:make breaks the environment contract in 3 of 5 checks.",
    ]
    code, text = run("check", "task", "my.py:make", "--json")
    found = json.loads(text)
    assert code == 1 and not found["ok"] and [c["name"] for c in found["checks"]] == [c.name for c in BROKEN]
    monkeypatch.setattr(check, "check_env", lambda *a: CheckReport(a[0], "cpu", a[1], BROKEN[:1]))
    code, text = run("check", "task", "my.py:make")
    assert code == 0 and text.endswith("my.py:make keeps the environment contract: 1 checks passed, 0 skipped.\n")


def test_a_mistake_is_a_sentence_and_no_traceback(run: Run) -> None:
    code, text = run("check", "task", f"{FOREIGN}:Absent?horizon=5")
    assert code == 2 and "expected Absent to define step" in text
    code, text = run("check", "method", "no-such-method")
    assert code == 2 and "a method of yours is FILE.py:CLASS" in text


@pytest.mark.slow
def test_a_task_and_a_method(run: Run) -> None:
    code, text = run("check", "task", f"{FOREIGN}:OldStep?horizon=5", "--num-envs", "2", "--steps", "20")
    assert code == 1 and text.count("found 4 values") == 1
    code, text = run("check", "method", "random")
    assert code == 0 and "random on mpe/simple_spread-discrete-v1, cpu" in text and "keeps the contract" in text
