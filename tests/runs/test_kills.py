"""kill -9 at random moments, each after a checkpoint that the one before had not: the bits are those of a calm run."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from killed import Victims
from small import SPREAD, method, products, store

LBF, VMAS = "lbf/8x8-2p-2f-coop-v1", "vmas/balance-continuous-v1"
KINDS = [
    pytest.param("ippo", SPREAD, id="ippo-mpe"),
    pytest.param("ippo", LBF, id="ippo-lbf"),
    pytest.param("ippo", VMAS, marks=pytest.mark.skipif(find_spec("vmas") is None, reason="no vmas"), id="ippo-vmas"),
    pytest.param("zoo/tag-2ppo", SPREAD, id="network-mpe"),
]


def disturbed(root: Path, name: str, task: str, kills: int) -> None:
    """Kill a run so many times, let it finish, and compare all that it leaves with an undisturbed run's."""
    iterations = 4 * kills + 4
    frames = 40 * iterations
    changes: dict[str, Any] = {
        "tasks": [task], "budget": {"frames": frames}, "seeds": 1 if task == VMAS else 2,
        "evaluation": {"every": frames // (1 if task == VMAS else 3), "episodes": 2, "absolute_episodes": 2},
    }  # fmt: skip
    calm, planned = store(root / "calm", method(name), **changes)
    shaken, _ = store(root / "shaken", method(name), **changes)
    (group,) = planned.groups
    victims, draw = Victims(), random.Random(f"{name} {task}")
    seconds = victims.finish(calm.root)
    assert len(seconds) == iterations
    pace, reached = (seconds[-1] - seconds[0]) / iterations, 0
    for kill in range(kills):
        assert victims.shoot(shaken.root, reached, draw.uniform(0.0, 2.0) * pace), f"done after {kill} kills"
        reached = max(int(p.name) for p in shaken.folder(group).glob("checkpoints/0*"))
        assert shaken.status(group)["status"] == "running" and shaken.holder(group) is None
    victims.finish(shaken.root)
    status = shaken.status(group)
    assert status["status"] == "ok" and status["attempts"] == 1  # every death had made progress
    assert products(shaken.folder(group)) == products(calm.folder(group))
    log = (shaken.folder(group) / "log.txt").read_text()
    assert log.count("lost: worker") == log.count("resumed: frames") == kills
    assert not list(shaken.root.rglob(".*"))


@pytest.mark.parametrize(("name", "task"), KINDS)
def test_two_kills(tmp_path: Path, name: str, task: str) -> None:
    disturbed(tmp_path, name, task, 2)


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize(("name", "task"), KINDS)
def test_twenty_five_kills(tmp_path: Path, name: str, task: str) -> None:
    disturbed(tmp_path, name, task, 25)
