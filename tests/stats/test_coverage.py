"""Claims that must hold on average: coverage of intervals, family-wise error of every ranking path.

The fast part runs at each commit with fixed seeds and only fails on strong evidence. The full grid is
``python -m rlnet_bench.stats.coverage``.
"""

import numpy as np
import pytest
from scipy import stats

from rlnet_bench.stats import (
    RunCurve,
    RunCurves,
    RunScores,
    SeedPlan,
    curve_aggregate,
    mean,
    next_batch,
    pairwise_tests,
    performance_profile,
    rank_intervals,
    tied_with_best,
)
from rlnet_bench.stats.coverage import Cell, main, simulate, simulate_improvement


def refuse(hits, trials, nominal):
    """Fail when coverage below nominal - 3 points is beyond doubt."""
    p = stats.binomtest(hits, trials, nominal - 0.03, alternative="less").pvalue
    assert p > 1e-4, f"{hits} of {trials} intervals cover, nominal {nominal}"


@pytest.mark.parametrize("cell", [Cell("normal", (5,) * 4), Cell("bimodal", (5,) * 12), Cell("win", (3, 5, 10) * 2)])
def test_expanded_intervals_cover(cell):
    result = simulate(cell, np.random.default_rng(1), 400, kinds=("expanded",))
    refuse(round(result.share["expanded"] * 400), 400, 0.95)


def test_uncertain_reference_points_are_covered():
    result = simulate(Cell("normal", (6,) * 4, reference_se=0.04), np.random.default_rng(1), 200, kinds=("expanded",))
    refuse(round(result.share["expanded"] * 200), 200, 0.95)


def test_newcombe_covers_where_the_bootstrap_does_not():
    shares = simulate_improvement(0.92, 5, np.random.default_rng(0), 300)
    refuse(round(shares["newcombe"] * 300), 300, 0.95)
    assert shares["percentile"] < 0.8


def test_the_grid_prints_markdown(capsys):
    main(["--simulations", "2", "--seed", "1"])
    out = capsys.readouterr().out
    assert "`python -m rlnet_bench.stats.coverage --simulations 2 --seed 1`" in out
    assert out.count("| normal") >= 4 and "Newcombe" in out


def methods(rng, means, n=6, tasks=2):
    return [
        RunScores.from_arrays(m, {f"t{k}": rng.normal(x, 1, n) for k in range(tasks)}) for m, x in zip("abcd", means)
    ]


def false_claims(path, means, trials, seed):
    rng = np.random.default_rng(seed)
    return sum(path(methods(rng, means), rng, dict(zip("abcd", means))) for _ in range(trials))


def by_tests(adjust):
    def path(runs, rng, truth):
        tests = pairwise_tests(runs, rng, adjust=adjust, n_labellings=999)
        return any(t.adjusted_p <= 0.05 for t in tests if truth[t.a] == truth[t.b])

    return path


def by_ranks(runs, rng, truth):
    ranking = rank_intervals(runs, rng, n_labellings=999)
    for r in ranking.ranks:
        best = 1 + sum(x > truth[r.method] for x in truth.values())
        last = sum(x >= truth[r.method] for x in truth.values())
        if r.low > best or r.high < last:
            return True
    return False


def by_ties(runs, rng, truth):
    tied = tied_with_best(runs, rng, n_labellings=999)
    return any(truth[m] >= truth[tied.best] for m in tied.worse)


def by_plan(runs, rng, truth):
    plan = SeedPlan(tuple(truth), ("t0", "t1"), batch=3, max_looks=2, n_labellings=999, seed=int(rng.integers(2**31)))
    return any(truth[d.better] <= truth[d.worse] for d in next_batch(plan, runs).decisions)


PATHS = {
    "holm": by_tests("holm"),
    "max-t": by_tests("max-t"),
    "ranks": by_ranks,
    "ties": by_ties,
    "seed plan": by_plan,
}


@pytest.mark.parametrize("means", [(0, 0, 0, 0), (0, 0, 0, 4)], ids=["all equal", "one apart"])
@pytest.mark.parametrize("path", PATHS)
def test_family_wise_error(path, means):
    trials = 300
    errors = false_claims(PATHS[path], means, trials, seed=11)
    assert errors / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
@pytest.mark.parametrize("means", [(0, 0, 0, 0), (0, 0, 0, 4), (0, 0, 4, 4), (0, 0, 1, 2)])
@pytest.mark.parametrize("path", PATHS)
def test_family_wise_error_with_more_trials(path, means):
    errors = false_claims(PATHS[path], means, 2000, seed=12)
    assert errors / 2000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_early_stopping_keeps_its_level_and_finds_differences():
    rng = np.random.default_rng(0)
    false = found = used = 0
    for trial in range(200):
        plan = SeedPlan(("a", "b"), ("t0",), n_labellings=999, seed=trial)
        false += bool(next_batch(plan, methods(rng, (0, 0), n=20, tasks=1)).decisions)
        state = next_batch(plan, methods(rng, (0, 1.5), n=20, tasks=1))
        found += bool(state.decisions)
        used += state.runs_used
    assert false / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert found / 200 > 0.9 and used / (200 * 40) < 0.7


@pytest.mark.slow
def test_simultaneous_bands_cover_whole_curves():
    rng, hits, trials = np.random.default_rng(0), 0, 200
    for _ in range(trials):
        runs = {
            f"t{m}": [RunCurve(s, np.arange(20.0), np.cumsum(rng.normal(0.1, 1, 20))) for s in range(6)]
            for m in range(3)
        }
        b = curve_aggregate(RunCurves.from_runs("a", runs), mean, rng, simultaneous=True, n_resamples=2000)
        truth = 0.1 * np.arange(1, 21)
        hits += bool(np.all((b.low_T <= truth) & (truth <= b.high_T)))
    refuse(hits, trials, 0.95)


@pytest.mark.slow
def test_simultaneous_profiles_cover():
    rng, hits, trials = np.random.default_rng(0), 0, 200
    grid = np.linspace(0.1, 0.9, 17)
    for _ in range(trials):
        runs = RunScores.from_arrays("a", {f"t{m}": rng.random(8) for m in range(4)})
        b = performance_profile(runs, rng, thresholds=grid, n_resamples=2000)
        hits += bool(np.all((b.low_T <= 1 - grid) & (1 - grid <= b.high_T)))
    refuse(hits, trials, 0.95)
