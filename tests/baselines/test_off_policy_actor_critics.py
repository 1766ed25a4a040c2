"""Off-policy actor-critics keep the contract with all their settings; what they cannot do is refused at planning."""

from __future__ import annotations

from typing import Any

import pytest

from rlnet_bench.errors import BadInput
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.suite import Suite

SPREAD = "mpe/simple_spread-continuous-v1"
SPEAKER = "mpe/simple_speaker_listener-continuous-v1"


def planned(method: str, task: str = SPREAD, **settings: Any) -> None:
    make_plan(Suite.model_validate({
        "name": "t", "tasks": [task], "methods": [{"id": method, "set": settings}], "seeds": 2,
        "budget": {"frames": 100_000},
    }))  # fmt: skip


@pytest.mark.parametrize("method", ["iddpg", "maddpg"])
def test_discrete_tasks_are_refused_at_planning(method: str) -> None:
    planned(method)
    with pytest.raises(BadInput, match=f"{method} needs continuous actions, and .* has discrete ones"):
        planned(method, "mpe/simple_spread-discrete-v1")
    with pytest.raises(BadInput, match="memory: input should be 'none', found 'gru'"):
        planned(method, memory="gru")


@pytest.mark.parametrize("method", ["isac", "masac"])
def test_soft_ones_plan_on_both_kinds_and_do_not_remember(method: str) -> None:
    for task in (SPREAD, "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1"):
        planned(method, task)
    with pytest.raises(BadInput, match="memory: input should be 'none', found 'gru'"):
        planned(method, memory="gru")
    with pytest.raises(BadInput, match="target_entropy_share: input should be less than or equal to 1, found 2"):
        planned(method, target_entropy_share=2.0)
    with pytest.raises(BadInput, match="temperature_start: input should be greater than 0, found 0"):
        planned(method, temperature_start=0.0)


def test_training_classes_are_told() -> None:
    told_of = {
        "iddpg": "independent",
        "isac": "independent",
        "maddpg": "centralised critic",
        "masac": "centralised critic",
    }
    for method, told in told_of.items():
        assert find_method(method).training_class(find_method(method).configure({})) == told


VARIANTS = [
    ("iddpg", SPREAD, {"share_parameters": False, "n_step": 3}, "individual"),
    ("maddpg", SPEAKER, {"share_parameters": False}, "individual"),
    ("isac", "mpe/simple_speaker_listener-discrete-v1", {"share_parameters": False, "n_step": 3}, "individual"),
    ("masac", SPEAKER, {"share_parameters": False}, "individual"),
]


@pytest.mark.parametrize(("method", "task", "settings", "reward"), VARIANTS)
def test_variants_keep_the_contract(method: str, task: str, settings: dict[str, Any], reward: Any) -> None:
    """Networks of their own, n steps, individual rewards, unlike agents."""
    check_method(method, task, settings=settings, training_reward=reward, seeds=(0, 1), faults=1).raise_if_failed()
