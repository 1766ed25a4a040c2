import numpy as np
import pytest
from scipy import stats

from rlnet_bench.errors import BadInput
from rlnet_bench.stats import (
    RunScores,
    power_to_detect,
    run_sd,
    seeds_for_family,
    seeds_needed,
    seeds_to_tell,
    smallest_detectable_difference,
    variance_components,
)


def test_variance_components_recover_the_simulation():
    rng = np.random.default_rng(0)
    episodes = [rng.normal(rng.normal(0, 0.3), 1.0, 40) for _ in range(2000)]
    parts = variance_components(episodes)
    assert parts.run_variance == pytest.approx(0.09, abs=0.01)
    assert parts.episode_variance == pytest.approx(1.0, abs=0.03)
    assert parts.noise_share == pytest.approx(0.025 / 0.115, abs=0.03)
    assert "only more seeds help" in parts.advice


def test_pure_evaluation_noise_never_gives_a_negative_variance():
    rng = np.random.default_rng(1)
    parts = [variance_components([rng.normal(size=8) for _ in range(5)]) for _ in range(50)]
    assert min(p.run_variance for p in parts) == 0.0 and all(p.noise_share <= 1 for p in parts)
    assert any("more episodes help most" in p.advice for p in parts)
    constant = variance_components([[1.0, 1.0], [1.0, 1.0]])
    assert (constant.run_variance, constant.noise_share) == (0.0, 1.0)


def test_variance_components_explain_what_is_missing():
    with pytest.raises(BadInput, match="at least 2 runs of at least 2 episodes"):
        variance_components([[1.0, 2.0]])
    with pytest.raises(BadInput, match="finite"):
        variance_components([[1.0, 2.0], [1.0, np.nan]])


def test_seeds_needed_for_the_worked_example():
    assert seeds_needed(0.05, 0.15) == 143 and seeds_needed(0.05, 0.15, n_tasks=10) == 15
    assert seeds_needed(10.0, 0.01) == 2


@pytest.mark.parametrize("n_tasks", [1, 4])
def test_seeds_needed_reach_the_power_asked_for(n_tasks):
    n = seeds_needed(0.1, 0.1, n_tasks)
    assert power_to_detect(0.1, n - 1, 0.1, n_tasks) < 0.81 and power_to_detect(0.1, n, 0.1, n_tasks) > 0.78
    assert smallest_detectable_difference(n, 0.1, n_tasks) <= 0.1


def test_power_agrees_with_simulated_t_tests():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1.0, 1, (20_000, 8)), rng.normal(0.0, 1, (20_000, 8))
    simulated = np.mean(stats.ttest_ind(x, y, axis=1).pvalue < 0.05)
    assert power_to_detect(1.0, 8, 1.0) == pytest.approx(simulated, abs=0.01)
    assert power_to_detect(0.0, 8, 1.0) == pytest.approx(0.05, abs=1e-6)
    assert power_to_detect(1.0, 8, 0.0) == 1.0


def test_seeds_to_tell_and_pooled_sd():
    rng = np.random.default_rng(0)
    a = RunScores.from_arrays("a", {"t": rng.normal(0.2, 0.1, 6), "u": rng.normal(0.2, 0.1, 9)})
    b = RunScores.from_arrays("b", {"t": rng.normal(0.0, 0.1, 6), "u": rng.normal(0.0, 0.1, 9)})
    assert run_sd([a, b]) == pytest.approx(0.1, abs=0.03)
    assert 2 <= seeds_to_tell(a, b) <= 10 and seeds_to_tell(a, a) is None
    with pytest.raises(BadInput, match="at least two runs"):
        run_sd([RunScores.from_arrays("a", {"t": [1.0]})])


def test_family_needs_more_seeds():
    assert [seeds_for_family(n) for n in (1, 10, 45)] == [4, 6, 7]
    assert seeds_for_family(45, n_tasks=3) < 7


@pytest.mark.parametrize(
    "call",
    [
        lambda: seeds_needed(0.0, 1.0),
        lambda: seeds_needed(1.0, -1.0),
        lambda: seeds_needed(1.0, 1.0, power=1.0),
        lambda: smallest_detectable_difference(1, 1.0),
        lambda: power_to_detect(1.0, 1, 1.0),
        lambda: seeds_needed(1.0, 1.0, level=0.2),
    ],
)
def test_bad_questions_are_explained(call):
    with pytest.raises(BadInput, match="found"):
        call()
