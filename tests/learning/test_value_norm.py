"""Running statistics of value targets, by hand and per replica."""

from __future__ import annotations

import pytest
import torch

from rlnet_bench.learning.value_norm import DECAY, ValueNorm


def laid(rows: list[list[float]]) -> torch.Tensor:
    """[R][n] -> returns [T = 1, R, B = n, V = 1]."""
    return torch.tensor(rows)[None, :, :, None]


def test_before_the_first_update_nothing_changes() -> None:
    mean, std = ValueNorm(2, "cpu").moments()
    assert mean.tolist() == [0.0, 0.0] and std.tolist() == [1.0, 1.0]


def test_first_update_is_debiased() -> None:
    norm = ValueNorm(2, "cpu")
    norm.update(laid([[1.0, 3.0], [10.0, 10.0]]))
    mean, std = norm.moments()
    assert mean.tolist() == pytest.approx([2.0, 10.0], rel=1e-5)
    assert std[0].item() == pytest.approx(1.0, rel=1e-4)
    assert std[1].item() == pytest.approx(0.01, rel=0.5)  # a constant target: the floor of the variance


def test_weighted_average_of_two_updates() -> None:
    norm = ValueNorm(1, "cpu")
    norm.update(laid([[0.0, 0.0]]))
    norm.update(laid([[4.0, 8.0]]))
    old, new = DECAY * (1 - DECAY), 1 - DECAY
    mean = 6 * new / (old + new)
    square = 40 * new / (old + new)
    found_mean, found_std = norm.moments()
    assert found_mean.item() == pytest.approx(mean, rel=1e-5)
    assert found_std.item() == pytest.approx((square - mean**2) ** 0.5, rel=1e-4)


def test_replicas_do_not_mix_and_the_state_comes_back() -> None:
    returns = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [9.0], [50.0]])
    together = ValueNorm(3, "cpu")
    together.update(laid(returns.tolist()))
    for k in range(3):
        alone = ValueNorm(1, "cpu")
        alone.update(laid(returns[k : k + 1].tolist()))
        found = [x[k].item() for x in together.moments()]
        assert found == pytest.approx([x.item() for x in alone.moments()])
    loaded = ValueNorm(3, "cpu")
    loaded.load_state_dict(together.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(loaded.moments(), together.moments()))


def test_a_diverged_replica_poisons_only_itself() -> None:
    norm = ValueNorm(2, "cpu")
    norm.update(laid([[1.0, 3.0], [float("nan"), 1.0]]))
    mean, std = norm.moments()
    assert mean[0].item() == pytest.approx(2.0, rel=1e-5) and bool(std[0].isfinite())


def test_only_weighted_returns_count_and_a_replica_without_any_keeps_what_it_has() -> None:
    norm, plain = ValueNorm(2, "cpu"), ValueNorm(2, "cpu")
    norm.update(laid([[1.0, 99.0], [5.0, 7.0]]), laid([[1.0, 0.0], [1.0, 1.0]]))
    plain.update(laid([[1.0, 1.0], [5.0, 7.0]]))
    assert [x.tolist() for x in norm.moments()] == [pytest.approx(x.tolist(), rel=1e-5) for x in plain.moments()]
    before = [x[1].item() for x in norm.moments()]
    norm.update(laid([[3.0, 3.0], [1e6, 1e6]]), laid([[1.0, 1.0], [0.0, 0.0]]))
    assert [x[1].item() for x in norm.moments()] == before


def test_critics_speak_in_normalised_units_unless_told_not_to() -> None:
    norm, off = ValueNorm(1, "cpu"), ValueNorm(1, "cpu", enabled=False)
    returns = laid([[2.0, 4.0, 9.0]])
    for one in (norm, off):
        one.update(returns)
        torch.testing.assert_close(one.to_reward(one.to_target(returns)), returns)
    assert norm.to_target(returns).mean().item() == pytest.approx(0.0, abs=1e-5)
    assert torch.equal(off.to_target(returns), returns)
