"""The examples for people who bring their own method: run, scored, loaded, killed and resumed as they stand."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlnet_bench as rb
from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.play import evaluate
from rlnet_bench.runs.check import check_method

ROOT = Path(__file__).parent.parent
FILE = ROOT / "examples" / "independent_q_learning.py"
METHOD = f"{FILE}:HystereticQ"
SPREAD = "mpe/simple_spread-discrete-v1"
SMALL = "{num_envs: 4, rollout_steps: 10, hidden: [8], batch_size: 8, buffer_size: 64, learning_starts: 48}"
SUITE = f"""\
name: outside
tasks: [{SPREAD}]
methods: [random, {{id: "{METHOD}", set: {SMALL}}}]
seeds: 2
budget: {{frames: 400}}
evaluation: {{every: 200, episodes: 4, absolute_episodes: 8}}
"""


def test_it_is_short_and_uses_only_what_others_may_use() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) < 100
    names = [n for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) for n in node.names]
    assert names and not any(name.name.startswith("_") for name in names)


def test_it_runs_in_a_suite_and_its_policies_are_loaded_and_scored(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "rlnet_bench"]
    done = subprocess.run(
        [*command, "run", "outside.yaml", "--trust-code"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (
        f.parent for f in tmp_path.glob("rlnet-store/runs/*/config.json")
        if json.loads(f.read_text())["method"] != "random"
    )  # fmt: skip
    assert not (folder / "checkpoints").exists()  # the replay's segments went with them
    lines = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    card = task_card(SPREAD)
    for seed in (0, 1):
        policy = rb.load_policy(folder, seed=seed, given=[METHOD])
        played = evaluate(policy, card, [seed], 8, stream=rb.rng.Stream.ABSOLUTE_ENV)
        (stored,) = (x for x in lines if (x["kind"], x["mode"], x["seed"]) == ("absolute", "deterministic", seed))
        assert played.returns[0].sum(axis=1).tolist() == pytest.approx([sum(r) for r in stored["returns"]], rel=1e-5)
    scored = subprocess.run(
        [*command, "evaluate", str(folder), "--episodes", "4", "--json", "--method", METHOD],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert scored.returncode == 0, scored.stdout + scored.stderr


@pytest.mark.parametrize(
    "task", [SPREAD, pytest.param("mpe/simple_speaker_listener-discrete-v1", marks=pytest.mark.slow)]
)
def test_it_keeps_the_contract(task: str) -> None:
    """Killed and resumed to the bit with a ring that wraps, among the rest."""
    check_method(METHOD, task, seeds=(0, 1), faults=2).raise_if_failed()
