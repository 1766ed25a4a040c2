"""Other methods at the vertices of a network: the same numbers as alone, decision intervals, resuming, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LBF, MIXED, SMOOTH, SPREAD, WORDS, differing, learner, weights

from rlnet_bench import rng
from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.play import evaluate
from rlnet_bench.methods import find_method
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.checkpoint import read_checkpoint, write_checkpoint

SMALL: dict[str, Any] = {"learning_starts": 48, "batch_size": 16, "buffer_size": 200}


def alone(name: str, task: str, reward: Any, **settings: Any) -> Any:
    """The method without a network."""
    method = find_method(name)
    wide = {"critic_hidden": [8]} if "critic_hidden" in method.Config.model_fields else {}
    config = method.configure({"num_envs": 4, "hidden": [8], **wide, **SMALL, **settings})
    return method.learner(task_card(task), config, (3, 5), total_frames=100_000, training_reward=reward)


def flat(name: str, **fields: Any) -> NetworkSpec:
    return Network("flat").motors("motor", learner=f"method:{name}", settings=SMALL, hidden=[8], **fields).build()


CELLS = [
    ("iql", SPREAD, True, "team_mean"), ("iql", LBF, False, "individual"), ("vdn", LBF, True, "team_mean"),
    ("qmix", WORDS, True, "individual"), ("isac", SPREAD, True, "individual"), ("isac", MIXED, False, "team_mean"),
    ("masac", LBF, True, "individual"), ("iddpg", SMOOTH, False, "individual"), ("maddpg", MIXED, True, "team_mean"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "task", "share", "reward"), CELLS)
def test_motors_by_a_method_are_the_method_to_the_bit(name: str, task: str, share: bool, reward: Any) -> None:
    """Episodes end, masks change, narrow agents are padded; the weights, and what they play, are the method's."""
    ours = learner(flat(name), task, (3, 5), reward, share_parameters=share)
    theirs = alone(name, task, reward, share_parameters=share)
    for _ in range(3):
        ours.iterate()
    for _ in range(36):
        theirs.iterate()
    assert theirs.updates == 100
    assert differing(weights(ours), weights(theirs)) == []
    for mode in ("deterministic", "sampled"):
        one, two = (
            evaluate(x.policy(), task_card(task), (3, 5), 2, stream=rng.Stream.USER, mode=mode) for x in (ours, theirs)
        )
        assert (one.returns == two.returns).all()


def mixed(period: int = 5, **fields: Any) -> NetworkSpec:
    """A PPO director over a motor that learns by IQL and others that learn by SAC."""
    return (
        Network("mixed", hidden=[8])
        .vertex("director", action=continuous(3), period=period)
        .motors("first", [0], learner="method:iql", settings=SMALL)
        .motors("others", "rest", learner="method:isac", settings={**SMALL, **fields})
        .edge("director", "first")
        .edge("director", "others")
        .build()
    )


@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_different_learners_train_load_and_continue_to_the_bit(task: str, tmp_path: Path) -> None:
    one, two = learner(mixed(), task), learner(mixed(), task)
    before = weights(one)
    for _ in range(3):
        metrics = one.iterate()
    assert {"policy_loss", "first.loss", "others.critic_loss"} <= {k.removeprefix("director.") for k in metrics}
    moved = {k for k, v in weights(one).items() if not torch.equal(v, before[k])}
    assert moved == set(before)
    two.load_state_dict(read_checkpoint(write_checkpoint(tmp_path, one.frames, one.state_dict())))
    for made in (one, two):
        made.iterate()
    assert differing(weights(one), weights(two)) == []
    policy, card = one.policy(), task_card(task)
    loaded = NetworkPolicy.rebuild(policy.spec(), card, (7, 8))
    loaded.load_state_dict(weights(one))
    for mode in ("deterministic", "sampled"):
        a, b = (evaluate(p, card, (0, 1), 2, stream=rng.Stream.USER, mode=mode) for p in (policy, loaded))
        assert (a.returns == b.returns).all()
