"""Counter-based randomness: fixed values, independence of the batch, distributions, disjoint streams."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlnet_bench import rng
from rlnet_bench.rng import Stream

int64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
COUNT = 200_000
LEAST_P = 1e-4
GOLDEN_MIX = [0, 6238072747940578789, -5417735806833148549, 6514504133438201533]
GOLDEN_FOLD = [-4616330145664149646, 7785929458622052174, -4933657081582442174]
GOLDEN_KEYS = [6180444375122719049, 3927533731923444428, -6113004602968767246, -1219076908055168266]
GOLDEN_UNIFORM = [0.470205128153385, 0.908361128907074, 0.43065517329758674, 0.05819487157898928]
GOLDEN_INTEGERS = [470, 908, 430, 58]


def keys(count: int = COUNT, seed: int = 0) -> torch.Tensor:
    return rng.env_keys([seed], Stream.USER, count)


def published_splitmix64(x: int) -> int:
    """The finaliser as Steele, Lea and Flood print it, on unsigned Python integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


# -- fixed values: part of every published number, so a change here breaks every record ------------


def test_golden_values() -> None:
    assert [rng.mix_int(x) for x in (0, 1, -1, 2**63 - 1)] == GOLDEN_MIX
    assert [rng.fold_int(0, 1), rng.fold_int(0, 1, 2), rng.fold_int(-5, 3, 0, 7)] == GOLDEN_FOLD
    assert rng.env_keys([0, 7], Stream.TRAINING_ENV, 2).tolist() == GOLDEN_KEYS
    some = rng.env_keys([3], Stream.EVALUATION_ENV, 4)
    assert rng.uniform(some).tolist() == GOLDEN_UNIFORM
    assert rng.integers(some, 1000).tolist() == GOLDEN_INTEGERS


def test_a_sequence_is_that_of_splitmix() -> None:
    # The first outputs of the published generator from seed 0 (Vigna, splitmix64.c).
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [x % 2**64 for x in rng.sequence(torch.tensor(0), torch.arange(1, 4)).tolist()] == expected


def test_streams_are_never_renumbered() -> None:
    assert {s.name: s.value for s in Stream} == {
        "TRAINING_ENV": 1,
        "EVALUATION_ENV": 2,
        "ABSOLUTE_ENV": 3,
        "ACTION": 4,
        "MINIBATCH": 5,
        "WEIGHTS": 6,
        "USER": 7,
        "REPLAY": 8,
        "EXPLORATION": 9,
        "VERTEX": 10,
    }


def test_splitmix64_sequence() -> None:
    """Seed 0 of the published generator begins with these outputs."""
    golden = 0x9E3779B97F4A7C15
    outputs = [rng.mix_int(golden * k) % 2**64 for k in (1, 2, 3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(int64)
def test_mix_equals_its_definition(x: int) -> None:
    assert rng.mix_int(x) % 2**64 == published_splitmix64(x % 2**64)
    assert rng.mix(torch.tensor([x])).item() == rng.mix_int(x)


@given(int64, st.lists(int64, max_size=4))
def test_tensors_and_integers_fold_alike(key: int, counters: list[int]) -> None:
    expected = rng.fold_int(key, *counters)
    as_tensors = rng.fold(torch.tensor([key]), *(torch.tensor([c]) for c in counters))
    as_integers = rng.fold(torch.tensor([key]), *counters)
    assert as_tensors.item() == as_integers.item() == expected
    assert as_tensors.dtype == torch.int64


@given(int64, int64)
def test_order_of_counters_matters(a: int, b: int) -> None:
    assert (rng.fold_int(0, a, b) == rng.fold_int(0, b, a)) == (a == b)


# -- independence of the batch ---------------------------------------------------------------------


@pytest.mark.parametrize("draw", [rng.uniform, rng.uniform32, rng.normal, lambda k: rng.integers(k, 50)])
def test_a_draw_does_not_depend_on_its_batch(draw) -> None:  # type: ignore[no-untyped-def]
    batch = keys(4099)
    together = draw(batch)
    for start, size in ((0, 1), (17, 1), (4098, 1), (5, 7), (1000, 64)):
        assert torch.equal(draw(batch[start : start + size]), together[start : start + size])
    assert torch.equal(draw(batch.view(-1, 1)), together.view(-1, 1))
    assert torch.equal(draw(batch[::3]), together[::3])  # strided memory takes another loop


def test_an_environment_has_one_key_in_every_batch() -> None:
    alone = rng.env_keys([11], Stream.TRAINING_ENV, 8)
    stacked = rng.env_keys([4, 11, 9], Stream.TRAINING_ENV, 16).view(3, 16)
    assert torch.equal(stacked[1, :8], alone)


def test_broadcasting_equals_folding_one_by_one() -> None:
    batch, agent = keys(5), torch.arange(3)
    together = rng.fold(batch[:, None], agent)
    assert together.shape == (5, 3)
    assert together.tolist() == [[rng.fold_int(k, a) for a in range(3)] for k in batch.tolist()]


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    rng.normal(keys(10))
    assert torch.equal(before, torch.get_rng_state())


# -- distributions (fixed seeds) -------------------------------------------------------------------


@pytest.mark.parametrize("draw", [rng.uniform, rng.uniform32])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_uniform(draw, seed: int) -> None:  # type: ignore[no-untyped-def]
    x = draw(keys(seed=seed)).double().numpy()
    assert x.min() >= 0.0 and x.max() < 1.0
    counts = np.histogram(x, bins=256, range=(0.0, 1.0))[0]
    assert stats.chisquare(counts).pvalue > LEAST_P
    assert stats.kstest(x, "uniform").pvalue > LEAST_P
    pairs = np.histogram2d(x[:-1], x[1:], bins=16, range=((0, 1), (0, 1)))[0]
    assert stats.chisquare(pairs.ravel()).pvalue > LEAST_P, "neighbouring environments are dependent"


def test_extreme_keys_stay_inside_their_intervals() -> None:
    ends = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    assert rng.uniform(ends).min() == 0.0 and rng.uniform(ends).max() < 1.0
    assert rng.uniform32(ends).min() > 0.0 and rng.uniform32(ends).max() < 1.0
    assert torch.isfinite(rng.normal(ends)).all()
    assert rng.integers(ends, 6).min() == 0 and rng.integers(ends, 6).max() == 5


@pytest.mark.parametrize("n", [2, 3, 5, 7, 50, 1000])
def test_integers_are_uniform(n: int) -> None:
    x = rng.integers(keys(), n)
    assert x.min() == 0 and x.max() == n - 1
    assert stats.chisquare(torch.bincount(x, minlength=n).numpy()).pvalue > LEAST_P


def test_integers_take_one_bound_per_draw() -> None:
    bound = torch.tensor([3, 5])
    x = rng.integers(keys(1000)[:, None].expand(-1, 2), bound)
    assert x.amax(dim=0).tolist() == [2, 4] and x.min() == 0


@pytest.mark.parametrize("largest", [2**31 - 1, 2**30 + 7])
def test_integers_with_large_bounds(largest: int) -> None:
    x = rng.integers(keys(), largest)
    assert x.min() >= 0 and x.max() < largest
    assert stats.kstest(x.double().numpy() / largest, "uniform").pvalue > LEAST_P


def test_every_bit_is_fair_and_flips_under_a_change_of_one_counter() -> None:
    a, b = rng.fold(keys(), 0), rng.fold(keys(), 1)
    shift = torch.arange(64)
    for bits in (a, a ^ b):
        ones = ((bits[:, None] >> shift) & 1).sum(dim=0).double().numpy()
        deviation = (ones - COUNT / 2) / math.sqrt(COUNT / 4)
        assert np.abs(deviation).max() < 4.5


def test_normal_moments_and_distribution() -> None:
    x = rng.normal(keys()).double().numpy()
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 4 / math.sqrt(COUNT)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / COUNT)
    assert abs(stats.skew(x)) < 0.03 and abs(stats.kurtosis(x)) < 0.06
    assert stats.kstest(x, "norm").pvalue > LEAST_P


def test_normal_draws_of_neighbouring_keys_are_uncorrelated() -> None:
    x = rng.normal(rng.fold(keys()[:, None], torch.arange(2))).double().numpy()
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / math.sqrt(COUNT)
    assert abs(np.corrcoef(x[:-1, 0], x[1:, 0])[0, 1]) < 4 / math.sqrt(COUNT)


# -- disjoint streams ------------------------------------------------------------------------------


def test_streams_seeds_episodes_and_purposes_do_not_meet() -> None:
    found = []
    for stream in Stream:
        base = rng.env_keys(list(range(20)), stream, 64)
        purposes = rng.fold(base[:, None, None], torch.arange(10)[:, None], torch.arange(5))
        found.append(torch.cat((base, purposes.flatten())))
    everything = torch.cat(found)
    assert len(everything.unique()) == len(everything)


@pytest.mark.parametrize("other", [s for s in Stream if s is not Stream.TRAINING_ENV])
def test_streams_of_one_seed_are_independent(other: Stream) -> None:
    x = rng.uniform(rng.env_keys([0], Stream.TRAINING_ENV, 50_000)).numpy()
    y = rng.uniform(rng.env_keys([0], other, 50_000)).numpy()
    table = np.histogram2d(x, y, bins=10, range=((0, 1), (0, 1)))[0]
    assert stats.chi2_contingency(table).pvalue > LEAST_P


def test_neighbouring_seeds_are_independent() -> None:
    x, y = (rng.uniform(rng.env_keys([s], Stream.ACTION, 50_000)).numpy() for s in (0, 1))
    assert stats.chi2_contingency(np.histogram2d(x, y, bins=10)[0]).pvalue > LEAST_P
