"""What changes do to numbers, by hand."""

from __future__ import annotations

import pytest
import torch

from rlnet_bench.learning.edits import Dropped, Habit, Noise, nothing, shuffled


def test_changes_by_hand() -> None:
    x = torch.arange(24.0).view(1, 4, 2, 3)  # [R, B, K, F]
    mask = torch.tensor([[True, False, True], [False, True, False]])
    assert torch.equal(nothing(mask)(x, None), x * ~mask)
    assert torch.equal(shuffled(mask, 1)(x, None)[0, 1, 0], torch.tensor([0.0, 7.0, 2.0]))
    lost = Dropped(mask, 0.5, 1)
    many = torch.ones(1, 500, 2, 3)
    one, two = lost(many, None), lost(many, None)
    gone = (one == 0)[0]
    assert torch.equal(gone[:, 0, 0], gone[:, 0, 2]) and not bool(gone[:, 0, 1].any())  # a reader loses all or nothing
    assert 0.4 < float(gone[:, 0, 0].float().mean()) < 0.6 and not torch.equal(one, two)
    assert torch.equal(one, Dropped(mask, 0.5, 1)(many, None))
    habit = Habit(torch.full((1, 1, 2, 3), 2.0), torch.zeros(1), torch.ones(1), torch.full((1, 1, 2, 3), 3.0))
    loud = Noise(mask, habit)(torch.zeros(1, 4000, 2, 3), None)
    assert float(loud[..., 0, 0].mean()) == pytest.approx(2, abs=0.2)
    assert float(loud[..., 0, 0].std()) == pytest.approx(3, abs=0.2)
    assert not bool(loud[..., 0, 1].any())
