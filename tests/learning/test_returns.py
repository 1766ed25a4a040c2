"""Advantages and returns, worked out by hand, at a time limit and at a true termination.

Peers treat time limits as deaths (VMAS's single `done`, EPyMARL's `terminated or truncated`): each of these
numbers changes when a truncation is bootstrapped from 0, from the reset observation, or not cut at all.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted
from torch import Tensor

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.learning.returns import gae, next_values
from rlnet_bench.methods import find_method

GAMMA, LAM = 0.5, 0.5
REWARD = [1.0, 2.0, 3.0, 4.0]
VALUE = [10.0, 20.0, 30.0, 40.0]
LAST = 50.0  # V of the observation after the last step
RESET = VALUE[2]  # V of the first observation of the next episode, when step 1 ends one
FINAL = 100.0  # V of the final observation of the episode that step 1 ends


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[:, None]


def advantages(terminated: list[bool], truncated: list[bool]) -> list[float]:
    following = next_values(
        column(*VALUE), torch.tensor([LAST]), torch.full((4, 1), FINAL), torch.tensor(truncated)[:, None]
    )
    flags = torch.tensor(terminated)[:, None], torch.tensor(truncated)[:, None]
    return gae(column(*REWARD), column(*VALUE), following, *flags, GAMMA, LAM).flatten().tolist()


NO = [False, False, False, False]
AT_1 = [False, True, False, False]


def test_no_ending() -> None:
    # delta = r + 0.5 V' - V: 1+10-10 = 1, 2+15-20 = -3, 3+20-30 = -7, 4+25-40 = -11
    # A3 = -11; A2 = -7 - 11/4 = -9.75; A1 = -3 - 9.75/4 = -5.4375; A0 = 1 - 5.4375/4 = -0.359375
    assert advantages(NO, NO) == [-0.359375, -5.4375, -9.75, -11.0]


def test_true_termination() -> None:
    # Step 1 ends the task: delta1 = 2 + 0 - 20 = -18, and nothing flows back over it.
    # A1 = -18; A0 = 1 - 18/4 = -3.5
    assert advantages(AT_1, NO) == [-3.5, -18.0, -9.75, -11.0]


def test_time_limit() -> None:
    # Step 1 is cut by the clock: delta1 = 2 + 0.5 * 100 - 20 = 32 (the final observation's value, not 30's).
    # A1 = 32; A0 = 1 + 32/4 = 9
    assert advantages(NO, AT_1) == [9.0, 32.0, -9.75, -11.0]


def test_time_limit_on_the_last_step() -> None:
    # delta3 = 4 + 50 - 40 = 14 (100 instead of LAST); A2 = -7 + 14/4 = -3.5; A1 = -3 - 3.5/4 = -3.875
    # A0 = 1 - 3.875/4 = 0.03125
    at_3 = [False, False, False, True]
    assert advantages(NO, at_3) == [0.03125, -3.875, -3.5, 14.0]


def test_termination_on_the_last_step_ignores_the_value_after_it() -> None:
    # delta3 = 4 - 40 = -36; A2 = -7 - 9 = -16; A1 = -3 - 4 = -7; A0 = 1 - 7/4 = -0.75
    at_3 = [False, False, False, True]
    assert advantages(at_3, NO) == [-0.75, -7.0, -16.0, -36.0]


def test_next_values_reads_final_only_where_truncated() -> None:
    final = torch.tensor([[float("nan")], [7.0], [float("nan")]])
    truncated = torch.tensor([[False], [True], [False]])
    found = next_values(column(1.0, 2.0, 3.0), torch.tensor([4.0]), final, truncated)
    assert found.flatten().tolist() == [2.0, 7.0, 4.0]


def test_one_step_advantage_and_monte_carlo_limits() -> None:
    reward, value, last = column(1.0, 1.0, 1.0), column(0.0, 0.0, 0.0), torch.tensor([8.0])
    no = torch.zeros(3, 1, dtype=torch.bool)
    following = next_values(value, last, value, no)
    assert gae(reward, value, following, no, no, 0.5, 0.0).flatten().tolist() == [1.0, 1.0, 5.0]  # TD error
    # lambda = 1: discounted sum of what is left, 1 + 0.5 + 0.25 + 0.125 * 8
    assert gae(reward, value, following, no, no, 0.5, 1.0)[0].item() == 2.75


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.sampled_from(["", "term", "trunc"])), min_size=1,
             max_size=12),
    st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_equals_the_definition(rows: list[tuple[float, float, str]], gamma: float, lam: float) -> None:
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, up to the end of the episode."""
    reward = column(*(r for r, _, _ in rows)).double()
    value = column(*(v for _, v, _ in rows)).double()
    terminated = torch.tensor([[k == "term"] for *_, k in rows])
    truncated = torch.tensor([[k == "trunc"] for *_, k in rows])
    final, last = value * 3 + 1, torch.tensor([2.5], dtype=torch.float64)
    found = gae(reward, value, next_values(value, last, final, truncated), terminated, truncated, gamma, lam)
    for t in range(len(rows)):
        total, weight = 0.0, 1.0
        for s in range(t, len(rows)):
            kind = rows[s][2]
            after = last[0] if s + 1 == len(rows) else value[s + 1, 0]
            after = 0.0 if kind == "term" else final[s, 0] if kind == "trunc" else after
            total += weight * float(reward[s, 0] + gamma * after - value[s, 0])
            weight *= gamma * lam
            if kind:
                break
        assert found[t, 0].item() == pytest.approx(total, abs=1e-9)


# -- the same numbers, end to end through the learner -----------------------------------------------------

SEEN = [1.0, 2.0, 3.0, 4.0, 5.0]  # a critic that multiplies by 10 gives VALUE and LAST
FINALS = [0.0, 10.0, 0.0, 0.0]  # ... and FINAL at step 1
BOTH = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]


def learner(
    ends: list[str], rewards: list[list[float]] = BOTH, critic: str = "observation", reward: str = "team_mean",
    share: bool = True, **settings: object,
) -> TeamLearner:  # fmt: skip
    """A learner on the script whose critic is V(x) = 10 x exactly (a single linear layer)."""
    base = {
        "num_envs": 1, "rollout_steps": 4, "gamma": GAMMA, "gae_lambda": LAM, "normalise_advantage": "none",
        "normalise_value": False, "hidden": (4,), "critic_hidden": (), "share_parameters": share, "minibatches": 1,
    }  # fmt: skip
    config = PpoConfig(**{**base, **settings})  # type: ignore[arg-type]
    env = Scripted(rewards, SEEN, ends, FINALS)
    made: TeamLearner = find_method({"observation": "ippo", "state": "mappo"}[critic]).learner_class()(
        env, (0,), config, training_reward=reward, total_frames=100
    )
    with torch.no_grad():
        weight, bias = made.critic.parameters()
        weight.zero_()
        weight[:, 0] = 10.0
        bias.zero_()
    return made


@pytest.mark.parametrize("critic", ["observation", "state"])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["", "", "", ""], [-0.359375, -5.4375, -9.75, -11.0]),
        (["", "terminated", "", ""], [-3.5, -18.0, -9.75, -11.0]),
        (["", "truncated", "", ""], [9.0, 32.0, -9.75, -11.0]),
    ],
)
def test_learner_end_to_end(critic: str, share: bool, ends: list[str], expected: list[float]) -> None:
    made = learner(ends, critic=critic, share=share)
    made.collect()
    advantage, returns = made.advantages()
    assert advantage.shape == (4, 1, 1, 2)
    for agent in range(2):
        assert advantage[:, 0, 0, agent].tolist() == expected
    assert returns[:, 0, 0, 0].tolist() == [a + v for a, v in zip(expected, VALUE)]


@pytest.mark.parametrize("critic", ["observation", "state"])
def test_time_limit_bootstraps_from_the_final_observation_and_not_from_the_reset_one(critic: str) -> None:
    """V(final) = 1000 and V(reset) = 30 differ a lot: the advantage of step 1 tells them apart."""
    made = learner(["", "truncated", "", ""], critic=critic)
    assert isinstance(made.env, Scripted)
    made.env.finals = [0.0, 100.0, 0.0, 0.0]
    made.collect()
    advantage, _ = made.advantages()
    assert advantage[1, 0, 0, 0].item() == 2 + 0.5 * 1000 - 20  # 482; from the reset one it would be -3


def test_team_mean_and_individual_rewards() -> None:
    rewards = [[1.0, 3.0], [2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]
    ends = ["terminated"] * 4  # every step its own episode: A = r - V
    for critic in ("observation", "state"):
        team = learner(ends, rewards, critic=critic)
        team.collect()
        assert team.advantages()[0][:2, 0, 0].tolist() == [[2 - 10, 2 - 10], [3 - 20, 3 - 20]]
        own = learner(ends, rewards, critic=critic, reward="individual")
        own.collect()
        if critic == "state":  # a shared central critic has one output per agent; the second is 0 here
            with torch.no_grad():
                next(own.critic.parameters())[:, 0] = 10.0
        assert own.advantages()[0][:2, 0, 0].tolist() == [[1 - 10, 3 - 10], [2 - 20, 4 - 20]]


def test_two_rollouts_join_without_a_seam() -> None:
    """The value after the last step of a rollout is the first value of the next."""
    made = learner([""] * 4)
    made.collect()
    made.frames += made.frames_per_iteration
    assert made.rollout.features[4, 0, 0, 0, 0].item() == SEEN[4]
    assert isinstance(made.env, Scripted)
    made.env.t = 0  # the script starts again, from another observation
    made.now = made.env.current()
    made.collect()
    assert made.rollout.features[0, 0, 0, 0, 0].item() == SEEN[0]


def test_normalised_advantages_per_replica_and_per_agent() -> None:
    rewards = [[1.0, 100.0], [2.0, 300.0], [3.0, 500.0], [4.0, 100.0]]
    both = learner([""] * 4, rewards, reward="individual", normalise_advantage="replica")
    both.collect()
    advantage, _ = both.advantages()
    assert advantage.mean().item() == pytest.approx(0, abs=1e-6)
    assert advantage.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert abs(advantage[..., 0].mean().item()) > 0.5
    each = learner([""] * 4, rewards, reward="individual", normalise_advantage="agent")
    each.collect()
    advantage, _ = each.advantages()
    for agent in range(2):
        assert advantage[..., agent].mean().item() == pytest.approx(0, abs=1e-6)
        assert advantage[..., agent].std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_value_targets_are_normalised_after_the_statistics_are_updated() -> None:
    made = learner(["terminated"] * 4, normalise_value=True)
    made.collect()
    _, targets = made.advantages()  # returns of one-step episodes are the rewards 1, 2, 3, 4, twice
    assert targets[:, 0, 0, 0].tolist() == pytest.approx([(r - 2.5) / 1.25**0.5 for r in REWARD], abs=1e-5)
    mean, std = made.norm.moments()
    assert (mean.item(), std.item()) == pytest.approx((2.5, 1.25**0.5), abs=1e-5)
    # From now on the critic's output is read on that scale: V = 10 x * std + mean.
    assert made.rollout_values()[0][0, 0, 0, 0].item() == pytest.approx(10 * 1.25**0.5 + 2.5, abs=1e-4)
