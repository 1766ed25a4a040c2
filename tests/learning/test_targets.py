"""Off-policy targets, computed by hand: ends of episodes, time limits, masks, schedules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlnet_bench.learning.targets import (
    chosen,
    follow,
    greedy,
    lambda_return,
    linear,
    look_ahead,
    n_step,
    one_step,
)


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[:, None]


def flags(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.bool)[:, None]


def test_one_step_bootstraps_a_time_limit_and_not_an_end() -> None:
    target = one_step(torch.tensor([1.0, 1.0]), torch.tensor([10.0, 10.0]), torch.tensor([False, True]), 0.5)
    assert target.tolist() == [6.0, 1.0]


def test_looking_ahead_over_a_whole_window() -> None:
    ahead = look_ahead(column(1, 2, 4), flags(0, 0, 0), flags(0, 0, 0), 0.5)
    assert (ahead.reward.item(), ahead.discount.item(), ahead.last.item()) == (1 + 1 + 1, 0.125, 2)


def test_looking_ahead_stops_where_the_task_ended() -> None:
    ahead = look_ahead(column(1, 2, 4), flags(0, 1, 0), flags(0, 1, 0), 0.5)
    assert (ahead.reward.item(), ahead.discount.item(), ahead.last.item()) == (2.0, 0.0, 1)


def test_looking_ahead_bootstraps_where_the_clock_cut() -> None:
    ahead = look_ahead(column(1, 2, 4), flags(0, 0, 0), flags(0, 1, 0), 0.5)
    assert (ahead.reward.item(), ahead.discount.item(), ahead.last.item()) == (2.0, 0.25, 1)


def test_an_agent_that_died_gets_nothing_more_while_the_episode_goes_on() -> None:
    reward = torch.tensor([[[1.0, 1.0]], [[2.0, 2.0]], [[4.0, 4.0]]])  # [3, 1, 2]: agent 1 dies with step 1
    died = torch.tensor([[[False, False]], [[False, True]], [[False, True]]])
    ahead = look_ahead(reward, died, torch.zeros(3, 1, 1, dtype=torch.bool), 0.5)
    assert ahead.reward.tolist() == [[3.0, 2.0]] and ahead.discount.tolist() == [[0.125, 0.0]]
    assert ahead.last.tolist() == [2]


def test_n_step_targets_of_a_sequence_across_an_end() -> None:
    reward, following = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    terminated, ended = torch.tensor([False, True, False, False]), torch.tensor([False, True, False, False])
    target = n_step(reward, following, terminated, ended, 0.5, 3)
    # step 0: 1 + .5 * 2, the task ended; 1: 2; 2: 4 + .5 * 8 + .25 * 40 (the sequence ends); 3: 8 + .5 * 40
    assert target.tolist() == [2.0, 2.0, 18.0, 28.0]
    cut = n_step(reward, following, torch.zeros(4, dtype=torch.bool), ended, 0.5, 3)
    assert cut.tolist() == [1 + 1 + 0.25 * 20, 2 + 0.5 * 20, 18.0, 28.0]


def test_lambda_returns_by_hand() -> None:
    reward, following = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([10.0, 20.0, 30.0])
    none, last = torch.zeros(3, dtype=torch.bool), torch.tensor([False, False, True])
    two = 4 + 0.5 * 30
    one = 2 + 0.5 * (0.75 * 20 + 0.25 * two)
    assert lambda_return(reward, following, none, last, 0.5, 0.25).tolist() == [
        1 + 0.5 * (0.75 * 10 + 0.25 * one), one, two,
    ]  # fmt: skip
    ended = lambda_return(reward, following, last, last, 0.5, 1.0)
    assert ended.tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 7))
def test_the_sequence_form_and_the_window_form_agree(seed: int, n: int, steps: int) -> None:
    g = torch.Generator().manual_seed(seed)
    reward, following = torch.randn(steps, 5, generator=g), torch.randn(steps, 5, generator=g)
    ended = torch.rand(steps, 5, generator=g) < 0.3
    terminated = ended & (torch.rand(steps, 5, generator=g) < 0.5)
    target = n_step(reward, following, terminated, ended, 0.9, n)
    for t in range(steps):
        window = slice(t, t + n)
        ahead = look_ahead(reward[window, :, None], terminated[window, :, None], ended[window, :, None], 0.9)
        value = following[t + ahead.last, torch.arange(5)][:, None]
        torch.testing.assert_close(target[t][:, None], ahead.reward + ahead.discount * value)
    torch.testing.assert_close(
        lambda_return(reward, following, terminated, ended, 0.9, 0.0),
        one_step(reward, following, terminated, 0.9),
    )
    torch.testing.assert_close(
        lambda_return(reward, following, terminated, ended, 0.9, 1.0),
        n_step(reward, following, terminated, ended, 0.9, steps),
    )


def test_the_greedy_action_is_legal() -> None:
    q = torch.tensor([[1.0, 5.0, 3.0]])
    assert greedy(q, None).tolist() == [1]
    assert greedy(q, torch.tensor([[True, False, True]])).tolist() == [2]
    assert greedy(-1e6 + q, torch.tensor([[True, False, False]])).tolist() == [0]
    assert chosen(q, torch.tensor([2])).tolist() == [3.0]


def test_double_q_values_the_online_choice_by_the_target_network() -> None:
    online, target = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[7.0, 4.0, 5.0]])
    assert chosen(target, greedy(online, None)).tolist() == [5.0]
    assert chosen(target, greedy(online, torch.tensor([[True, True, False]]))).tolist() == [4.0]


def test_targets_follow_softly_or_at_once() -> None:
    slow, fast = [torch.zeros(2)], [torch.tensor([1.0, 2.0])]
    follow(slow, fast, 0.25)
    assert slow[0].tolist() == [0.25, 0.5]
    follow(slow, fast, 1)
    assert slow[0].tolist() == [1.0, 2.0] and slow[0] is not fast[0]
    with pytest.raises(ValueError):
        follow(slow, [], 1)


def test_a_linear_schedule() -> None:
    assert [linear(f, 1.0, 0.0, 100) for f in (0, 50, 100, 1000)] == [1.0, 0.5, 0.0, 0.0]
    assert linear(0, 1.0, 0.25, 0) == 0.25
