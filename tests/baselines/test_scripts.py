"""Controls and scripts as methods: what they run on, what they refuse, how well they score."""

from __future__ import annotations

import pytest

from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.learning.play import evaluate
from rlnet_bench.methods import find_method, method_ids

SPREAD, SPEAKER = "mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-discrete-v1"


def score(method: str, task: str, episodes: int = 200) -> float:
    found, card = find_method(method), task_card(task)
    learner = found.learner(card, found.configure({}), (0,), total_frames=0, training_reward="team_mean")
    return float(evaluate(learner.policy(), card, [0], episodes).team.mean())


@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize(("method", "reference"), [("random", "random"), ("uncoordinated", "uncoordinated")])
def test_controls_score_what_the_card_says(method: str, reference: str, task: str) -> None:
    point = task_card(task).references[reference]
    spread = point.se * point.n**0.5  # standard deviation of one episode
    assert abs(score(method, task) - point.value) < 5 * spread / 200**0.5


def test_coordination_pays() -> None:
    assert score("random", SPREAD) < score("uncoordinated", SPREAD) < score("coordinated", SPREAD)
    assert score("silent", SPEAKER) < score("signal", SPEAKER)


@pytest.mark.parametrize("method", [m for m in method_ids() if not find_method(m).capabilities.trains])
def test_refusals_are_sentences_that_say_what_there_is(method: str) -> None:
    found = find_method(method)
    for task in task_ids():
        reason = found.impossible(task_card(task), found.configure({}))
        assert reason is None or ((reason.endswith(".") and task in reason and method in reason) or "actions" in reason)


def test_a_script_names_the_scripts_that_there_are() -> None:
    method = find_method("nearest")
    reason = method.impossible(task_card(SPEAKER), method.configure({}))
    assert reason == f"{SPEAKER} has no script 'nearest' (it has silent, signal)."
    assert method.impossible(task_card(SPREAD), method.configure({})) is None


def test_every_method_says_what_it_is() -> None:
    for name in method_ids():
        method = find_method(name)
        assert method.version >= 1 and method.summary and method.id == name
        assert method.training in ("none", "independent", "centralised critic", "gradients across agents")
        assert (method.training == "none") == (not method.capabilities.trains)
        method.configure({})  # defaults are valid
