"""Transfer: a ratio of means over training runs."""

from __future__ import annotations

import numpy as np
import pytest

from rlnet_bench.stats.transfer import transfer

SEVEN = 7


def stream() -> np.random.Generator:
    return np.random.default_rng(SEVEN)


def test_by_hand():
    found = transfer([-60.0, -70.0, -65.0, -65.0, -65.0], [-50.0, -40.0, -45.0, -45.0, -45.0], (-125.0, 0.0), stream())
    assert found.value == pytest.approx(60 / 80)
    assert found.low < found.value < found.high and found.reason is None


@pytest.mark.parametrize(("moved", "value"), [(-10.0, 0.0), (10.0, 1.0), (-20.0, -0.5), (20.0, 1.5)])
def test_nothing_is_cut_at_random_or_at_what_was_trained_there(moved, value):
    assert transfer([moved] * 5, [9.0, 11.0, 10.0, 10.0, 10.0], (-10.0, 0.0), stream()).value == pytest.approx(value)


def test_few_runs_have_a_value_and_no_interval():
    found = transfer([5.0, 6.0], [10.0] * 5, (0.0, 0.1), stream())
    assert found.value == pytest.approx(0.55) and not found.has_interval
    assert "2 runs on one side: an interval needs at least 5" in found.reason


@pytest.mark.parametrize("trained", [[0.1, -0.1, 0.2, 0.0, 0.1], [-5.0] * 5, [3.0, -3.0, 9.0, 1.0, 2.0]])
def test_nothing_is_divided_by_what_is_not_surely_better_than_random(trained):
    found = transfer([1.0] * 5, trained, (0.0, 0.05), stream())
    assert np.isnan(found.value) and not found.has_interval
    assert "random" in found.reason


def test_the_interval_covers():
    """Two sides of five runs, a noisy random point: the true ratio of 0.6 is inside in about 95 of 100 experiments."""
    draw, inside = np.random.default_rng(1), 0
    for _ in range(300):
        moved, trained = draw.normal(6.0, 1.0, 5), draw.normal(10.0, 1.0, 5)
        found = transfer(moved, trained, (draw.normal(0.0, 0.2), 0.2), draw, n_resamples=2000)
        inside += found.low <= 0.6 <= found.high
    assert 0.92 <= inside / 300 <= 0.995


def test_the_random_points_error_counts():
    moved, trained = [5.0, 5.1, 4.9, 5.0, 5.0], [10.0, 10.1, 9.9, 10.0, 10.0]
    sure, unsure = (transfer(moved, trained, (0.0, se), stream()) for se in (0.0, 1.0))
    assert unsure.half_width > 3 * sure.half_width
