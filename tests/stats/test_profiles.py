import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import Bounds, RunScores, mean, normalise, performance_profile, profile_grid


def suite(n=6, tasks=4, seed=0):
    rng = np.random.default_rng(seed)
    return RunScores.from_arrays("a", {f"t{m}": rng.beta(4, 2, n) for m in range(tasks)})


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_profile_never_increases_and_its_area_is_the_mean(tasks):
    runs = RunScores.from_arrays("a", {str(m): x for m, x in enumerate(tasks)})
    profile = performance_profile(runs, np.random.default_rng(0), thresholds=np.linspace(0, 1, 2001), n_resamples=2000)
    assert np.all(np.diff(profile.value_T) <= 1e-12)
    assert np.trapezoid(profile.value_T, profile.x_T) == pytest.approx(mean(runs), abs=1e-3)


def test_threshold_itself_does_not_count():
    runs = RunScores.from_arrays("a", {"t": [0.5, 1.0]})
    profile = performance_profile(runs, np.random.default_rng(0), thresholds=[0.4, 0.5, 1.0])
    assert profile.value_T.tolist() == [1.0, 0.5, 0.0] and not profile.has_interval


def test_bands_stay_in_the_unit_interval_and_simultaneous_is_wider():
    whole = performance_profile(suite(), np.random.default_rng(0))
    point = performance_profile(suite(), np.random.default_rng(0), simultaneous=False)
    assert whole.low_T.min() >= 0 and whole.high_T.max() <= 1
    assert np.all(whole.low_T <= whole.value_T) and np.all(whole.value_T <= whole.high_T)
    assert np.mean(whole.high_T - whole.low_T) > np.mean(point.high_T - point.low_T)
    assert whole.low_T[-1] == whole.high_T[-1] == 0.0


def test_grid_spans_the_reference_points_and_the_data():
    raw = RunScores.from_arrays("a", {"t": [2.0, 12.0]})
    assert profile_grid([raw])[[0, -1]].tolist() == [2.0, 12.0]
    assert profile_grid([normalise(raw, {"t": Bounds(0, 10)})])[[0, -1]].tolist() == [0.0, 1.2]


def test_uncertain_reference_points_enter_the_band():
    raw = suite(n=10)
    exact = normalise(raw, dict.fromkeys(raw.tasks, Bounds(0, 1)))
    rough = normalise(raw, dict.fromkeys(raw.tasks, Bounds(0, 1, low_se=0.1, high_se=0.1)))
    widths = []
    for runs in (exact, rough):
        p = performance_profile(runs, np.random.default_rng(0), thresholds=np.linspace(0.3, 0.9, 7), simultaneous=False)
        widths.append(np.mean(p.high_T - p.low_T))
    assert widths[1] > 1.05 * widths[0]


@pytest.mark.parametrize("bad", [[1.0, 0.0], [], [np.nan]])
def test_thresholds_must_increase(bad):
    with pytest.raises(BadInput, match="thresholds"):
        performance_profile(suite(), np.random.default_rng(0), thresholds=bad)
