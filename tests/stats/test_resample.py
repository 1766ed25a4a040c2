import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import Bounds, RunScores, iqm, normalise, stratified_indices
from rlnet_bench.stats.resample import chunks, resample, resample_counts, resample_tasks


def pooled(counts, bounds=None):
    rng = np.random.default_rng(0)
    runs = RunScores.from_arrays("a", {f"t{m}": rng.random(n) for m, n in enumerate(counts)})
    return (normalise(runs, dict.fromkeys(runs.tasks, bounds)) if bounds else runs).pooled()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_indices_stay_in_their_stratum(counts, seed):
    indices = stratified_indices(np.random.default_rng(seed), counts, 50)
    edges = np.cumsum([0, *counts])
    assert indices.shape == (50, sum(counts))
    for m in range(len(counts)):
        block = indices[:, edges[m] : edges[m + 1]]
        assert block.min() >= edges[m] and block.max() < edges[m + 1]


def test_every_run_is_equally_likely():
    counts = resample_counts(stratified_indices(np.random.default_rng(0), [3, 5], 20_000))
    assert np.all(counts.sum(axis=1) == 8)
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.02)


def test_the_largest_uniform_number_stays_inside():
    class Largest:
        def random(self, shape):
            return np.full(shape, np.nextafter(1.0, 0.0))

    for n in (1, 2, 3, 7, 8, 10, 1000, 1023):
        indices = stratified_indices(Largest(), [5, n], 1)  # type: ignore[arg-type]
        assert indices.max() == 5 + n - 1


@pytest.mark.parametrize("bounds", [None, Bounds(0, 1, low_se=0.02, high_se=0.05)])
@pytest.mark.parametrize("max_bytes", [1, 5_000, 10**9])
def test_chunk_size_is_irrelevant(bounds, max_bytes):
    groups = [pooled([3, 4, 5], bounds), pooled([2, 6, 3], bounds)]

    def draws(size):
        out = np.empty((2, 300))
        for rows, parts in resample(groups, np.random.default_rng(4), 300, max_bytes=size):
            for g, (values, weights) in enumerate(parts):
                out[g, rows] = iqm.draws(values, weights, groups[g].starts_M)
        return out

    np.testing.assert_array_equal(draws(max_bytes), draws(100_000))


@pytest.mark.parametrize("bounds", [None, Bounds(0, 1, low_se=0.02, high_se=0.05)])
def test_chunk_size_is_irrelevant_for_task_resampling(bounds):
    group = pooled([3, 4, 5], bounds)
    results = []
    for size in (1, 10**9):
        parts = list(resample_tasks(group, np.random.default_rng(4), 100, max_bytes=size))
        results.append(np.concatenate([iqm.draws(v, w, s) for _, v, w, s in parts]))
    np.testing.assert_array_equal(*results)


def test_chunks_respect_the_memory_cap():
    parts = list(chunks(1000, 100, max_bytes=8 * 100 * 4 * 30))
    assert max(p.stop - p.start for p in parts) == 30 and parts[-1].stop == 1000
    assert sum(p.stop - p.start for p in parts) == 1000


def test_weights_sum_to_one_per_resample_and_share_per_task():
    group = pooled([3, 5])
    for _, [(_, weights)] in resample([group], np.random.default_rng(0), 100):
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)
        np.testing.assert_allclose(weights[:, :3].sum(axis=1), 0.5)
    for _, values, weights, starts in resample_tasks(group, np.random.default_rng(0), 100):
        np.testing.assert_allclose(np.add.reduceat(weights, starts, axis=1), 0.5)
        assert np.all(np.isin(values[weights > 0], group.values_N))


def test_paired_resampling_shares_indices_and_needs_equal_counts():
    group = pooled([3, 5])
    for _, [(_, a), (_, b)] in resample([group, group], np.random.default_rng(0), 50, paired=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(BadInput, match="same number of runs per task"):
        next(resample([group, pooled([5, 3])], np.random.default_rng(0), 50, paired=True))


def test_reference_points_are_shared_by_all_methods():
    bounds = Bounds(0, 1, low_se=0.1, high_se=0.1)
    group = pooled([4, 4], bounds)
    for _, [(a, _), (b, _)] in resample([group, group], np.random.default_rng(0), 50):
        assert a.shape == (50, 8)
        np.testing.assert_array_equal(a, b)
