"""A recorded episode is whole: from the first scene to how it ended, and nothing of the next one."""

from dataclasses import replace

import pytest

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.envs.scripts import script, scripts_of
from rlnet_bench.learning.play import record_episode
from rlnet_bench.learning.untrained import ScriptPolicy, UniformPolicy

SPREAD, LBF, BALANCE = "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1", "vmas/balance-continuous-v1"


def limited(task: str, steps: int) -> TaskCard:
    """The task with another time limit."""
    if task.startswith("lbf/"):
        return task_card(task.replace("-v1", f"-h{steps}-v1"))
    return replace(task_card(task), horizon=steps)


@pytest.mark.parametrize("task", [SPREAD, LBF, BALANCE])
def test_at_a_time_limit_the_last_scene_is_what_a_longer_episode_shows(task: str) -> None:
    if task == BALANCE:
        pytest.importorskip("vmas")
    card, longer = (limited(task, steps) for steps in (6, 7))
    scenes, _ = record_episode(UniformPolicy(card, 1), card, seed=3)
    more, _ = record_episode(UniformPolicy(longer, 1), longer, seed=3)
    assert (len(scenes), len(more)) == (7, 8)
    assert [s.shapes for s in scenes] == [s.shapes for s in more[:7]]
    assert len({s.shapes for s in scenes}) > 1


def test_where_the_task_ends_the_last_scene_shows_why() -> None:
    card = task_card(LBF)
    scenes, score = record_episode(ScriptPolicy(script(card, scripts_of(card)[1]), card, 1), card, seed=0)
    food = [sum(shape.kind == "rectangle" for shape in scene.shapes) for scene in scenes]
    assert score == pytest.approx(1.0) and food[0] == 2 and food[-1] == 0 and food[-2] == 1
    assert len(scenes) < card.horizon
