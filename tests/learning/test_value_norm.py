"""Running statistics of value targets, by hand and per replica."""

from __future__ import annotations

import pytest
import torch

from rlnet_bench.learning.value_norm import DECAY, ValueNorm


def test_before_the_first_update_nothing_changes() -> None:
    mean, std = ValueNorm(2, "cpu").moments()
    assert mean.tolist() == [0.0, 0.0] and std.tolist() == [1.0, 1.0]


def test_first_update_is_debiased() -> None:
    norm = ValueNorm(2, "cpu")
    norm.update(torch.tensor([[1.0, 3.0], [10.0, 10.0]]))
    mean, std = norm.moments()
    assert mean.tolist() == pytest.approx([2.0, 10.0], rel=1e-5)
    assert std[0].item() == pytest.approx(1.0, rel=1e-4)
    assert std[1].item() == pytest.approx(0.01, rel=0.5)  # a constant target: the floor of the variance


def test_weighted_average_of_two_updates() -> None:
    norm = ValueNorm(1, "cpu")
    norm.update(torch.tensor([[0.0, 0.0]]))
    norm.update(torch.tensor([[4.0, 8.0]]))
    old, new = DECAY * (1 - DECAY), 1 - DECAY
    mean = 6 * new / (old + new)
    square = 40 * new / (old + new)
    found_mean, found_std = norm.moments()
    assert found_mean.item() == pytest.approx(mean, rel=1e-5)
    assert found_std.item() == pytest.approx((square - mean**2) ** 0.5, rel=1e-4)


def test_replicas_do_not_mix_and_the_state_comes_back() -> None:
    returns = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [9.0], [50.0]])
    together = ValueNorm(3, "cpu")
    together.update(returns)
    for k in range(3):
        alone = ValueNorm(1, "cpu")
        alone.update(returns[k : k + 1])
        found = [x[k].item() for x in together.moments()]
        assert found == pytest.approx([x.item() for x in alone.moments()])
    loaded = ValueNorm(3, "cpu")
    loaded.load_state_dict(together.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(loaded.moments(), together.moments()))


def test_a_diverged_replica_poisons_only_itself() -> None:
    norm = ValueNorm(2, "cpu")
    norm.update(torch.tensor([[1.0, 3.0], [float("nan"), 1.0]]))
    mean, std = norm.moments()
    assert mean[0].item() == pytest.approx(2.0, rel=1e-5) and bool(std[0].isfinite())
