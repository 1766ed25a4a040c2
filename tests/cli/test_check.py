"""`rlnet-bench check`: what the conformance tests say of a task or a method, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from said import Run

pytest.importorskip("pettingzoo")

FOREIGN = str(Path(__file__).parents[1] / "envs" / "pettingzoo" / "foreign_envs.py")


def test_a_task_that_keeps_the_contract(run: Run) -> None:
    code, text = run("check", "task", f"{FOREIGN}:Pushing?horizon=5", "--num-envs", "2", "--steps", "20")
    assert code == 0 and "passed   determinism" in text
    assert "keeps the environment contract: " in text.splitlines()[-1] and " skipped." in text


def test_a_task_that_breaks_it_says_each_mistake_once(run: Run) -> None:
    arguments = ("check", "task", f"{FOREIGN}:OldStep?horizon=5", "--num-envs", "2", "--steps", "20")
    code, text = run(*arguments)
    assert code == 1 and text.count("found 4 values") == 1 and "failed   flags               as tensors" in text
    assert "breaks the environment contract in" in text.splitlines()[-1]
    code, text = run(*arguments, "--json")
    found = json.loads(text)
    assert code == 1 and not found["ok"] and found["checks"][0] | {"sentence": ""} == {
        "name": "card", "outcome": "passed", "sentence": "",
    }  # fmt: skip


def test_a_mistake_is_a_sentence_and_no_traceback(run: Run) -> None:
    code, text = run("check", "task", f"{FOREIGN}:Absent?horizon=5")
    assert code == 2 and "expected Absent to define step" in text
    code, text = run("check", "method", "no-such-method")
    assert code == 2 and "a method of yours is FILE.py:CLASS" in text


@pytest.mark.slow
def test_a_method(run: Run) -> None:
    code, text = run("check", "method", "random")
    assert code == 0 and "random on mpe/simple_spread-discrete-v1, cpu" in text and "keeps the contract" in text
