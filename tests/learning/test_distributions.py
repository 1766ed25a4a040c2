"""Distributions against torch.distributions, and sampling frequencies against probabilities."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from rlnet_bench import rng
from rlnet_bench.learning.actions import joint_logits
from rlnet_bench.learning.distributions import (
    ILLEGAL,
    categorical_sample,
    categorical_stats,
    gaussian_stats,
    mask_logits,
    squash,
)

GENERATOR = torch.Generator().manual_seed(0)


def test_categorical_stats_equal_torch() -> None:
    logits = torch.randn(6, 4, 5, generator=GENERATOR) * 3
    action = torch.randint(5, (6, 4), generator=GENERATOR)
    log_p, entropy = categorical_stats(logits, action)
    theirs = Categorical(logits=logits)
    torch.testing.assert_close(log_p, theirs.log_prob(action))
    torch.testing.assert_close(entropy, theirs.entropy())


def test_gaussian_stats_equal_torch() -> None:
    mean, u = (torch.randn(6, 4, 3, generator=GENERATOR) for _ in range(2))
    log_std = torch.randn(1, 1, 3, generator=GENERATOR) * 0.3
    log_p, entropy = gaussian_stats(mean, log_std, u, None)
    theirs = Independent(Normal(mean, log_std.exp().expand_as(mean)), 1)
    torch.testing.assert_close(log_p, theirs.log_prob(u))
    torch.testing.assert_close(entropy, theirs.entropy())


def test_gaussian_stats_of_a_narrow_agent_ignore_the_dimensions_it_lacks() -> None:
    mean, u = (torch.randn(5, 2, 3, generator=GENERATOR) for _ in range(2))
    log_std = torch.zeros(1, 1, 3)
    used = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    log_p, entropy = gaussian_stats(mean, log_std, u, used)
    narrow, narrow_entropy = gaussian_stats(mean[:, :1, :2], log_std[..., :2], u[:, :1, :2], None)
    torch.testing.assert_close(log_p[:, :1], narrow)
    torch.testing.assert_close(entropy[:, :1], narrow_entropy)


@pytest.mark.parametrize("logits", [[0.0, 0.0], [1.0, -1.0, 0.5, 3.0], [10.0, 0.0, 0.0], [0.0, ILLEGAL, 0.0, 2.0]])
def test_inverse_cdf_frequencies(logits: list[float]) -> None:
    n = 200_000
    draws = rng.uniform32(rng.fold(torch.arange(n), 9))
    found = categorical_sample(torch.tensor(logits).expand(n, -1), draws)
    p = torch.softmax(torch.tensor(logits), dim=0)
    frequency = torch.bincount(found, minlength=len(logits)) / n
    assert ((frequency - p).abs() <= 4 * (p * (1 - p) / n).sqrt() + 1e-9).all(), (frequency, p)


def test_sampling_is_the_inverse_of_the_cumulative_sum() -> None:
    logits = torch.log(torch.tensor([0.25, 0.5, 0.25])).expand(5, -1)
    assert categorical_sample(logits, torch.tensor([0.01, 0.2, 0.3, 0.7, 0.9])).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("legal", [[0], [3], [0, 2], [1, 2], [2, 3], [0, 1, 2, 3]])
def test_masked_options_are_never_sampled_nor_most_likely(legal: list[int]) -> None:
    mask = torch.zeros(4, dtype=torch.bool)
    mask[legal] = True
    logits = mask_logits(torch.randn(20_000, 4, generator=GENERATOR) * 20, mask)
    draws = rng.uniform32(rng.fold(torch.arange(20_000), 3))
    for extreme in (draws, torch.full_like(draws, 0.5**24), torch.full_like(draws, 1 - 0.5**24)):
        assert set(categorical_sample(logits, extreme).tolist()) <= set(legal)
    assert set(logits.argmax(dim=-1).tolist()) <= set(legal)


def test_masked_logits_give_no_gradient_and_no_nan() -> None:
    logits = torch.randn(3, 4, generator=GENERATOR).requires_grad_()
    mask = torch.tensor([True, False, True, False])
    log_p, entropy = categorical_stats(mask_logits(logits, mask), torch.tensor([0, 2, 0]))
    (log_p + entropy).sum().backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all()) and not logits.grad[:, ~mask].any()
    theirs = Categorical(logits=logits[:, mask].detach())
    torch.testing.assert_close(entropy.detach(), theirs.entropy())


def test_no_mask_changes_nothing() -> None:
    logits = torch.randn(2, 3, generator=GENERATOR)
    assert mask_logits(logits, None) is logits


def test_squash_maps_the_line_into_the_box() -> None:
    u = torch.tensor([-100.0, 0.0, 100.0])
    assert squash(u, -2.0, 6.0).tolist() == [-2.0, 2.0, 6.0]
    low, high = torch.tensor([0.0, -1.0]), torch.tensor([1.0, 1.0])
    assert squash(torch.zeros(2), low, high).tolist() == [0.5, 0.0]


def test_factors_are_independent_and_the_first_is_fastest() -> None:
    out = torch.randn(7, 5, generator=GENERATOR)
    joint = joint_logits(out, (2, 3))
    first, second = Categorical(logits=out[:, :2]), Categorical(logits=out[:, 2:])
    for option in range(6):
        parts = first.log_prob(torch.tensor(option % 2)) + second.log_prob(torch.tensor(option // 2))
        torch.testing.assert_close(torch.log_softmax(joint, dim=-1)[:, option], parts)
    torch.testing.assert_close(categorical_stats(joint, torch.zeros(7).long())[1], first.entropy() + second.entropy())
    assert torch.equal(joint_logits(out, (5,)), out)


def test_factors_of_a_task_are_those_that_it_decodes() -> None:
    """A message that only the second factor chooses leaves the move alone, and the other way round."""
    from rlnet_bench.envs.registry import make_env, task_card

    card = task_card("mpe/simple_reference-discrete-v1")
    assert card.action_factors == (5, 10)
    moves, words = [], []
    for option in (1, 1 + 5, 2):  # move 1 word 0; move 1 word 1; move 2 word 0
        env = make_env(card, 1)
        env.reset(torch.tensor([3]))
        step = env.step(torch.full((1, 2), option))
        moves.append(step.observation[0, 0, :2].tolist())
        words.append(step.observation[0, 0, -10:].argmax().item())
    assert moves[0] == moves[1] != moves[2] and words[0] == words[2] != words[1]
