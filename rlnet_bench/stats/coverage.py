"""How often the intervals cover: ``python -m rlnet_bench.stats.coverage`` prints the table of the docs.

Simulated benchmarks with known truth: *normal* scores (task sd 0.05-0.2), *bimodal* ones (a run solves its
task, about 0.9, or fails, about 0.15, odds 0.5-0.9 by task) and *win* rates of 32 episodes. Small cells that
the library refuses (3 seeds on one task) are simulated all the same, to show why.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from rlnet_bench.stats import intervals
from rlnet_bench.stats.aggregate import Aggregate, iqm, mean
from rlnet_bench.stats.bootstrap import enough_resamples, interval_of, jackknife
from rlnet_bench.stats.compare import probability_of_improvement
from rlnet_bench.stats.normalise import Bounds
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.resample import MIN_RESAMPLES, resample
from rlnet_bench.stats.scores import RunScores

KINDS = ("percentile", "bca", "expanded", "student_t")
COMMAND = "python -m rlnet_bench.stats.coverage"


@dataclass(frozen=True)
class Cell:
    """One simulated benchmark: the kind of scores and the seeds of every task."""

    kind: str
    seeds: tuple[int, ...]
    reference_se: float = 0.0

    @property
    def statistic(self) -> Aggregate:
        """IQM for suites, the mean for a single task."""
        return mean if len(self.seeds) == 1 else iqm

    def draw(self, rng: np.random.Generator, seeds: Sequence[int]) -> list[Array]:
        """Draw the scores of each task with ``seeds`` runs; the task's parameters are fixed."""
        world = np.random.default_rng(20_210_813)
        out = []
        for n in seeds:
            level, spread = world.uniform(0.3, 0.8), world.uniform(0.05, 0.2)
            odds = world.uniform(0.5, 0.9)
            if self.kind == "normal":
                out.append(rng.normal(level, spread, n))
            elif self.kind == "bimodal":
                out.append(np.where(rng.random(n) < odds, 0.9, 0.15) + rng.normal(0, 0.02, n))
            else:
                rate = np.clip(rng.normal(level, spread, n), 0, 1)
                out.append(rng.binomial(32, rate) / 32)
        return out

    def truth(self) -> float:
        """Return the true value by a simulation of 200 000 runs."""
        size = [200_000 // len(self.seeds)] * len(self.seeds)
        return self.statistic.of(_pool(self.draw(np.random.default_rng(1), size)))


@dataclass(frozen=True)
class Coverage:
    """Share of simulations whose interval holds the truth, by kind of interval."""

    cell: Cell
    n_simulations: int
    share: dict[str, float]


def simulate(
    cell: Cell,
    rng: np.random.Generator,
    n_simulations: int,
    *,
    kinds: Sequence[str] = KINDS,
    level: float = 0.95,
) -> Coverage:
    """Measure the coverage of single-method intervals in one cell."""
    truth, statistic = cell.truth(), cell.statistic
    hits = dict.fromkeys(kinds, 0)
    for _ in range(n_simulations):
        pooled = _pool(cell.draw(rng, cell.seeds))
        if cell.reference_se:
            pooled = _mismeasured(pooled, cell.reference_se, rng)
        value = statistic.of(pooled)
        correction = intervals.small_sample(pooled.variances_M, pooled.counts_M)
        n_resamples = enough_resamples(MIN_RESAMPLES, correction, level, "expanded")
        draws_B = np.empty(n_resamples)
        for rows, [(values, weights_BN)] in resample([pooled], rng, n_resamples):
            draws_B[rows] = statistic.draws(values, weights_BN, pooled.starts_M)
        left_out = jackknife(pooled, statistic) if "bca" in kinds else []
        for kind in kinds:
            low, high, *_ = interval_of(draws_B, value, correction, level, kind, left_out)
            hits[kind] += low <= truth <= high
    return Coverage(cell, n_simulations, {k: n / n_simulations for k, n in hits.items()})


def simulate_improvement(
    probability: float, n: int, rng: np.random.Generator, n_simulations: int, *, level: float = 0.95
) -> dict[str, float]:
    """Measure the coverage of P(a > b) on one task of normal scores: plain bootstrap against Newcombe."""
    shift = np.sqrt(2) * special.ndtri(probability)
    hits = {"percentile": 0, "newcombe": 0}
    counts = np.array([n])
    for _ in range(n_simulations):
        wins = (rng.normal(shift, 1, n)[:, None] > rng.normal(0, 1, n)).astype(np.float64)
        picks = rng.integers(0, n, (2, MIN_RESAMPLES, n))
        draws_B = wins[picks[0][:, :, None], picks[1][:, None, :]].mean(axis=(1, 2))
        low, high = intervals.percentile(draws_B, level)
        hits["percentile"] += low <= probability <= high
        lows, highs = intervals.newcombe(np.array([wins.mean()]), counts, counts, level)
        hits["newcombe"] += bool(lows[0] <= probability <= highs[0])
    return {k: v / n_simulations for k, v in hits.items()}


def simulate_suite_improvement(
    probability: float, seeds: Sequence[int], rng: np.random.Generator, n_simulations: int, *, level: float = 0.95
) -> float:
    """Measure the coverage of the library's interval of P(a > b) over several tasks of normal scores."""
    shift = np.sqrt(2) * special.ndtri(probability)
    hits = 0
    for _ in range(n_simulations):
        a = RunScores.from_arrays("a", {str(m): rng.normal(shift, 1, n) for m, n in enumerate(seeds)})
        b = RunScores.from_arrays("b", {str(m): rng.normal(0, 1, n) for m, n in enumerate(seeds)})
        result = probability_of_improvement(a, b, rng, level=level, n_resamples=MIN_RESAMPLES)
        hits += not result.excludes(probability)
    return hits / n_simulations


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the coverage tables as Markdown."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure the coverage of the intervals.")
    parser.add_argument("--simulations", type=int, default=500, help="simulated benchmarks per cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    print(f"Nominal 95 %, {options.simulations} simulations per cell, `{_command(options)}`\n")
    print("| scores | tasks | seeds | percentile | BCa | expanded percentile | t with bootstrap se |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = [(kind, tasks) for kind in ("normal", "bimodal", "win") for tasks in (4, 12)]
    for kind, n_tasks in [*rows, ("normal", 1), ("bimodal", 1)]:
        cells = [Cell(kind, (n,) * n_tasks) for n in (3, 5, 10)]
        _print_row(kind, n_tasks, "3 / 5 / 10", [simulate(c, rng, options.simulations) for c in cells])
    for kind in ("normal", "bimodal"):
        cell = Cell(kind, (3, 5, 10) * 4)
        _print_row(f"{kind}, unequal seeds", 12, "3, 5, 10", [simulate(cell, rng, options.simulations)])
    cells = [Cell("normal", (n,) * 4, reference_se=0.05) for n in (3, 5, 10)]
    results = [simulate(c, rng, options.simulations) for c in cells]
    _print_row("normal, reference points with se 0.05", 4, "3 / 5 / 10", results)
    print("\n| true P(a > b) | seeds | one task, percentile | one task, Newcombe | four tasks |")
    print("| --- | --- | --- | --- | --- |")
    for probability in (0.5, 0.76, 0.92):
        shares = [simulate_improvement(probability, n, rng, options.simulations) for n in (3, 5, 10)]
        columns = [" / ".join(f"{100 * s[k]:.0f}" for s in shares) for k in ("percentile", "newcombe")]
        suites = [simulate_suite_improvement(probability, (n,) * 4, rng, options.simulations) for n in (3, 5, 10)]
        columns.append(" / ".join(f"{100 * s:.0f}" for s in suites))
        print(f"| {probability} | 3 / 5 / 10 | {' | '.join(columns)} |", flush=True)


def _print_row(kind: str, n_tasks: int, seeds: str, results: Sequence[Coverage]) -> None:
    columns = [" / ".join(f"{100 * r.share[k]:.0f}" for r in results) for k in KINDS]
    print(f"| {kind} | {n_tasks} | {seeds} | {' | '.join(columns)} |", flush=True)


def _command(options: argparse.Namespace) -> str:
    return f"{COMMAND} --simulations {options.simulations} --seed {options.seed}"


def _pool(scores: Sequence[Array]) -> Pooled:
    names = tuple(f"task{m}" for m in range(len(scores)))
    return Pooled(names, np.concatenate(scores), np.array([len(x) for x in scores]))


def _mismeasured(pooled: Pooled, se: float, rng: np.random.Generator) -> Pooled:
    """Normalise by reference points measured with error; the true ones are 0 and 1."""
    bounds = {}
    for task in pooled.tasks:
        low, high = rng.normal(0, se), rng.normal(1, se)
        bounds[task] = Bounds(low, high, low_se=se, high_se=se)
    low_N = np.repeat([bounds[t].low for t in pooled.tasks], pooled.counts_M)
    gap_N = np.repeat([bounds[t].gap for t in pooled.tasks], pooled.counts_M)
    return Pooled(pooled.tasks, (pooled.values_N - low_N) / gap_N, pooled.counts_M, bounds)


if __name__ == "__main__":
    main()
