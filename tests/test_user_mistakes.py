"""Mistakes in a user's own file end in a sentence that names the file and the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, said, their_line
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy

SPREAD, SMOOTH = "mpe/simple_spread-discrete-v1", "mpe/simple_spread-continuous-v1"


class Acts(Policy):
    """Returns what it was made with."""

    replicas = 1

    def __init__(self, action: torch.Tensor, **weights: torch.Tensor) -> None:
        self.action, self.weights = action, weights

    @torch.no_grad()
    def act(self, observation: Any, state: Any, mask: Any = None, reset: Any = None, deterministic: bool = True) -> Any:
        return self.action, state

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.weights


ACT_LINE = next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if "@torch.no_grad" in line)


@pytest.mark.parametrize(
    ("task", "action", "words"),
    [
        (SPREAD, torch.zeros(2, 3), r"expected int64 \[2, 3\], found float32 \[2, 3\]"),
        (SPREAD, torch.zeros(3, 2, dtype=torch.int64), r"expected int64 \[2, 3\], found int64 \[3, 2\]"),
        (SMOOTH, torch.zeros(2, 3), r"expected float32 \[2, 3, 5\], found float32 \[2, 3\]"),
        (SMOOTH, torch.full((2, 3, 5), float("nan")), "actions that are not finite"),
    ],
)
def test_wrong_actions_name_the_policy_s_file_and_line(task: str, action: torch.Tensor, words: str) -> None:
    card = task_card(task)
    with pytest.raises(BadInput, match=words) as refused:
        evaluate(Acts(action), card, (0,), 2)
    assert f"Acts.act ({__file__}, line {ACT_LINE}) returned" in str(refused.value)


def test_a_diverged_policy_is_scored_and_not_refused() -> None:
    action, weights = torch.full((2, 3, 5), float("nan")), torch.tensor([float("nan")])
    assert not (evaluate(Acts(action, w=weights), task_card(SMOOTH), (0,), 2).returns > -1e9).all()


def test_where_an_exception_came_from_is_somebody_s_own_last_line() -> None:
    try:
        task_card(None)  # type: ignore[arg-type]  # raises inside the package
    except Exception as error:
        assert their_line(error).startswith(f"{__file__}, line ") and their_line(error).endswith("in " + NAME)
        assert said(error).endswith(f"({their_line(error)})")


NAME = "test_where_an_exception_came_from_is_somebody_s_own_last_line"

TASK = """
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv


class Mine(ParallelEnv):
    metadata = {"name": "mine"}
    max_steps = 3
    possible_agents = ["a", "b"]

    def observation_space(self, agent):
        return Box(0.0, 1.0, (3,), np.float32)

    def action_space(self, agent):
        return Discrete(3)

    def reset(self, seed=None, options=None):
        return self.look()

    def step(self, actions):
        return self.look()

    def look(self):
        raise KeyError("no look")


def make():
    return Mine()
"""


def test_an_exception_in_a_user_s_reset_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TASK)
    line = TASK.splitlines().index('        raise KeyError("no look")') + 1
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: mine\nversion: 1\ntasks: [mpe/simple_spread-discrete-v1]\nmethods: [random]\nseeds: 1\n"
                     "budget: {frames: 1000}\n")  # fmt: skip
    command = [sys.executable, "-m", "rlnet_bench", "plan", str(suite), "--tasks", f"{file}:make"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 2
    assert f"KeyError: 'no look' ({file}, line {line}, in look)" in done.stderr
