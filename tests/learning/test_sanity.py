"""Learning works: a short run beats random by far more than chance. Fixed seeds, so nothing is flaky."""

from __future__ import annotations

import numpy as np
import pytest

from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.play import evaluate
from rlnet_bench.methods import find_method

SEEDS = (0, 1, 2)


def gain(method: str, task: str, frames: int, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    """Team return per seed before and after training."""
    card, found = task_card(task), find_method(method)
    config = found.configure({"num_envs": 32, "rollout_steps": 25, **settings})
    learner = found.learner(card, config, SEEDS, total_frames=frames, training_reward="team_mean")
    before = evaluate(learner.policy(), card, SEEDS, 64, mode="sampled").team.mean(axis=1)
    while learner.frames + learner.frames_per_iteration <= frames:
        learner.iterate()
    return before, evaluate(learner.policy(), card, SEEDS, 64, mode="sampled").team.mean(axis=1)


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("method", ["ippo", "mappo"])
@pytest.mark.parametrize(
    ("task", "least"),
    [
        ("mpe/simple_spread-discrete-v1", 10.0),
        ("mpe/simple_spread-continuous-v1", 8.0),
        ("mpe/simple_speaker_listener-discrete-v1", 25.0),
    ],
)
def test_a_short_run_beats_random(method: str, task: str, least: float) -> None:
    before, after = gain(method, task, 120_000)
    card = task_card(task)
    random = card.references["random"].value
    assert (after - before).min() > 0, (before, after)  # every seed improves
    assert after.mean() > random + least, (after, random)


@pytest.mark.slow
def test_a_very_short_run_already_improves() -> None:
    before, after = gain("ippo", "mpe/simple_speaker_listener-discrete-v1", 24_000, minibatches=2)
    assert after.mean() > before.mean() + 10, (before, after)
