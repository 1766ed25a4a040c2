"""Normalised inputs: moments by hand, the same network while acting and learning, per replica, kept with the policy."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.inputs import MOST, Running, by_row
from rlnet_bench.methods import find_method
from rlnet_bench.networks.method import network_method
from rlnet_bench.runs.check import check_method

SPREAD, LBF = "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1"
TINY: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 10, "hidden": (8,), "critic_hidden": (8,), "epochs": 2, "minibatches": 2,
    "normalise_observation": "running",
}  # fmt: skip


def learner(method: str = "ippo", seeds: tuple[int, ...] = (0, 1), task: str = LBF, **settings: Any) -> Any:
    found = network_method(method)[0] if "/" in method else find_method(method)
    config = found.configure({**TINY, **settings})
    return found.learner(task_card(task), config, seeds, total_frames=400, training_reward="team_mean")


def test_moments_are_those_of_all_rows_by_hand() -> None:
    running = Running(2, 1, "cpu")
    assert running(torch.tensor([[[3.0]], [[-2.0]]])).flatten().tolist() == [3.0, -2.0]  # nothing was seen
    running.see(torch.tensor([[[1.0], [3.0]], [[0.0], [0.0]]]))
    running.see(torch.tensor([[[5.0], [7.0], [9.0]], [[0.0], [0.0], [0.0]]]))
    assert running.mean.flatten().tolist() == [5.0, 0.0]  # of 1, 3, 5, 7, 9
    assert running.variance.flatten().tolist() == pytest.approx([8.0, 0.0])
    assert running.count.flatten().tolist() == [5.0, 5.0]
    out = running(torch.tensor([[[5.0 + 8.0**0.5]], [[0.5]]]))
    assert out[0].item() == pytest.approx(1.0) and out[1].item() == MOST  # what never changed, and now does, is cut


def test_a_row_by_its_own_moments_by_hand() -> None:
    out = by_row(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
    assert out.flatten().tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_moments_are_of_what_was_learned_from(shared: bool) -> None:
    made = learner(share_parameters=shared)
    rows = []
    for _ in range(3):
        made.collect()
        rows.append(made.rollout.features[:-1].clone())  # [T, R, B, N, F]
        made.learn()
    seen = torch.cat(rows)
    over = (0, 2, 3) if shared else (0, 2)
    mean, variance = seen.mean(dim=over), seen.var(dim=over, correction=0)
    found = made.actor.network.statistics()
    assert torch.allclose(found["input.mean"].view(mean.shape), mean, atol=1e-5)
    assert torch.allclose(found["input.variance"].view(mean.shape), variance, atol=1e-4)


@pytest.mark.parametrize("method", ["ippo", "mappo", "central", "commnet", "zoo/flat", "zoo/tag-3ppo"])
def test_acting_and_learning_see_the_same_numbers(method: str) -> None:
    """Before the first step of an update every ratio of probabilities is one: nothing is clipped, whatever was seen."""
    task = SPREAD if method == "zoo/tag-3ppo" else LBF
    made = learner(method, task=task, epochs=1, minibatches=1)
    for _ in range(3):
        metrics = made.iterate()
        assert metrics["clip_fraction"].abs().max() == 0 and metrics["policy_loss"].abs().max() < 1e-4, method
    state = made.policy().state_dict()
    counts = [x for name, x in state.items() if name.endswith("input.count")]
    assert counts and all(bool((c > 0).all()) for c in counts)


def test_replicas_are_independent() -> None:
    both, alone = learner(seeds=(3, 7)), learner(seeds=(7,))
    for _ in range(2):
        both.iterate()
        alone.iterate()
    mine, other = both.actor.network.statistics(), alone.actor.network.statistics()
    for name, tensor in other.items():
        assert torch.allclose(mine[name][1:], tensor, atol=1e-5), name
    assert not torch.allclose(mine["input.mean"][0], mine["input.mean"][1])


def test_playing_changes_nothing_and_saved_policies_act_the_same() -> None:
    made = learner(memory="gru")
    for _ in range(2):
        made.iterate()
    policy = made.policy()
    before = {name: x.clone() for name, x in policy.state_dict().items()}
    env = make_env(LBF, 2)
    observation = env.reset(torch.arange(2)).observation
    first, _ = policy.act(observation, policy.initial_state(2))
    assert all(torch.equal(x, before[name]) for name, x in policy.state_dict().items())
    again = find_method("ippo").rebuild(policy.spec(), task_card(LBF), (0, 1))
    with pytest.raises(ValueError, match=r"input\.mean is missing"):
        again.load_state_dict({name: x for name, x in before.items() if name != "input.mean"})
    again.load_state_dict(before)
    assert torch.equal(again.act(observation, again.initial_state(2))[0], first)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ippo", {"normalise_observation": "running"}),
        ("mappo", {"normalise_observation": "running", "memory": "gru"}),
        ("central", {"normalise_observation": "running"}),
        ("gnn", {"normalise_observation": "running"}),
        ("happo", {"normalise_observation": "layer"}),
        ("coma", {"normalise_observation": "layer"}),
    ],
)
@pytest.mark.slow
def test_killed_and_resumed_and_saved_and_loaded(method: str, settings: dict[str, Any]) -> None:
    check_method(method, SPREAD, seeds=(0, 1), faults=1, settings=settings).raise_if_failed()


def test_settings_that_are_not_asked_for_are_in_no_record() -> None:
    config = find_method("ippo").configure({})
    assert "normalise_observation" not in config.model_dump(mode="json")
    asked = find_method("ippo").configure({"normalise_observation": "layer"})
    assert asked.model_dump(mode="json")["normalise_observation"] == "layer"
    assert "normalise_observation" not in learner(normalise_observation="none").policy().spec()["actor"]
    with pytest.raises(BadInput, match="normalise_observation: input should be 'none'"):
        find_method("mat").configure({"normalise_observation": "running"})
    with pytest.raises(BadInput, match="normalise_observation: input should be 'none' or 'layer'"):
        find_method("coma").configure({"normalise_observation": "running"})
