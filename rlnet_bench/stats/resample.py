"""Stratified resampling: the only place of the package that draws bootstrap samples.

A resample is a row of weights over the runs: how often each run was drawn, times 1/(M n_m). One index is
drawn per run and serves every aggregate and every point of that run's curve. Uniform numbers are consumed
row by row, so the result does not depend on how the rows are cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array, Pooled

DEFAULT_RESAMPLES = 5000
MIN_RESAMPLES = 2000
# All temporaries of one chunk together. Small enough to stay in cache, large enough to amortise the calls.
DEFAULT_MAX_BYTES = 8 * 2**20
_TEMPORARIES = 4

# Task -> errors of its low and high reference point, one per resample.
ReferenceErrors = dict[str, tuple[Array, Array]]


def stratified_indices(
    rng: np.random.Generator, counts: Sequence[int] | npt.NDArray[np.int64], n_resamples: int
) -> npt.NDArray[np.int64]:
    """Draw, for each of ``n_resamples`` rows, n_m runs with replacement from each stratum's own n_m runs.

    Returns indices [B, N] into the pooled runs, N = sum of ``counts``; the columns of a stratum only hold
    indices of that stratum.

    >>> stratified_indices(np.random.default_rng(0), [2, 3], 2).tolist()
    [[1, 0, 2, 2, 4], [1, 1, 4, 3, 4]]
    """
    counts = np.asarray(counts, dtype=np.int64)
    size = np.repeat(counts, counts)
    start = np.repeat(np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    uniform_BN = rng.random((n_resamples, size.size))
    uniform_BN *= size
    # Truncating before the offset is added: u * n rounds to less than n for every double u < 1.
    indices_BN = uniform_BN.astype(np.int64)
    indices_BN += start
    return indices_BN


def resample_counts(indices_BN: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count how often each run occurs in each row of ``indices_BN``; returns [B, N]."""
    n_rows, n_runs = indices_BN.shape
    flat = indices_BN + np.arange(0, n_rows * n_runs, n_runs)[:, None]
    return np.bincount(flat.ravel(), minlength=n_rows * n_runs).reshape(n_rows, n_runs)


def chunks(n_resamples: int, n_columns: int, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[slice]:
    """Cut ``n_resamples`` rows of ``n_columns`` doubles into slices that stay below ``max_bytes``."""
    rows = max(1, max_bytes // (8 * max(1, n_columns) * _TEMPORARIES))
    for first in range(0, n_resamples, rows):
        yield slice(first, min(first + rows, n_resamples))


def resample(
    groups: Sequence[Pooled],
    rng: np.random.Generator,
    n_resamples: int,
    *,
    paired: bool = False,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Iterator[tuple[slice, list[tuple[Array, Array]]]]:
    """Yield chunks of stratified resamples of several methods' runs, drawn independently of each other.

    Each item is ``(rows, [(values, weights_BN), ...])``, one pair per group. ``values`` is [N], or [B, N]
    when the scores were normalised with uncertain reference points: those are then drawn anew for each
    resample, shared by all groups that have the task. ``paired=True`` uses the same indices for every
    group, which must have equal counts.
    """
    for rows, weights, errors in resample_weights(groups, rng, n_resamples, paired=paired, max_bytes=max_bytes):
        yield rows, [(redraw_values(g, errors), w) for g, w in zip(groups, weights)]


def resample_weights(
    groups: Sequence[Pooled],
    rng: np.random.Generator,
    n_resamples: int,
    *,
    paired: bool = False,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Iterator[tuple[slice, list[Array], ReferenceErrors]]:
    """Yield ``(rows, weights_BN of each group, errors of the reference points)``; see :func:`resample`.

    For statistics of several values per run (curves): apply :func:`redraw_values` to each of them.
    """
    if paired and any(not np.array_equal(g.counts_M, groups[0].counts_M) for g in groups):
        raise BadInput("paired resampling needs the same number of runs per task for every method.")
    drawn = groups[:1] if paired else groups
    counts = np.concatenate([g.counts_M for g in drawn])
    edges = np.cumsum([0, *(g.values_N.size for g in drawn)])
    errors = _draw_reference_errors(groups, rng, n_resamples)
    for rows in chunks(n_resamples, int(edges[-1]), max_bytes):
        multiplicity_BN = resample_counts(stratified_indices(rng, counts, rows.stop - rows.start))
        spans = [(0, edges[1]) if paired else (edges[g], edges[g + 1]) for g in range(len(groups))]
        weights = [multiplicity_BN[:, i:j] * g.weights_N for (i, j), g in zip(spans, groups)]
        yield rows, weights, {t: (low[rows, None], high[rows, None]) for t, (low, high) in errors.items()}


def redraw_values(group: Pooled, errors: ReferenceErrors) -> Array:
    """Return the values [N], or [B, N] normalised by reference points that are off by ``errors``."""
    moved = [t for t in group.tasks if t in errors and t in group.bounds]
    if not moved:
        return group.values_N
    values_BN = np.repeat(group.values_N[None], len(errors[moved[0]][0]), axis=0)
    for task, start, count in zip(group.tasks, group.starts_M, group.counts_M):
        if task in moved:
            error_low, error_high = errors[task]
            gap = group.bounds[task].gap
            columns = slice(start, start + count)
            # y = (x - low) / gap, hence (x - low*) / gap* = (y gap - (low* - low)) / gap*.
            values_BN[:, columns] = (values_BN[:, columns] * gap - error_low) / (gap + error_high - error_low)
    return values_BN


def resample_tasks(
    group: Pooled, rng: np.random.Generator, n_resamples: int, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Iterator[tuple[slice, Array, Array, npt.NDArray[np.int64]]]:
    """Yield chunks of two-level resamples: M tasks with replacement, then each drawn task's runs.

    Items are ``(rows, values, weights, starts)``, values and weights [B, M * max n] with weight 0 on
    padding. Answers the question "what about other tasks of this kind"; see :mod:`.estimate`.
    """
    n_tasks, width = len(group.tasks), int(group.counts_M.max())
    starts_M = np.arange(n_tasks) * width
    errors = _draw_reference_errors([group], rng, n_resamples)
    for rows in chunks(n_resamples, n_tasks * (width + 1), max_bytes):
        uniform = rng.random((rows.stop - rows.start, n_tasks, width + 1))
        task = (uniform[..., 0] * n_tasks).astype(np.int64)
        size = group.counts_M[task][..., None]
        run = (uniform[..., 1:] * size).astype(np.int64)
        run += group.starts_M[task][..., None]
        here = {t: (low[rows, None], high[rows, None]) for t, (low, high) in errors.items()}
        values = redraw_values(group, here)
        if values.ndim == 1:
            picked = values[run].reshape(len(run), -1)
        else:
            picked = np.take_along_axis(values, run.reshape(len(run), -1), axis=1)
        weights = np.where(np.arange(width) < size, 1.0 / (n_tasks * size), 0.0)
        yield rows, picked, weights.reshape(len(run), -1), starts_M


def _draw_reference_errors(groups: Sequence[Pooled], rng: np.random.Generator, n_resamples: int) -> ReferenceErrors:
    """Draw errors of (low, high), each [B], for every task whose reference points are uncertain.

    All of them are drawn before the first chunk, which keeps the result independent of the chunk size.
    """
    uncertain = {t: b for g in groups for t, b in g.bounds.items() if not b.is_exact}
    return {
        t: (b.low_se * rng.standard_normal(n_resamples), b.high_se * rng.standard_normal(n_resamples))
        for t, b in uncertain.items()
    }
