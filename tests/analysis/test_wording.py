"""Numbers become text in one place."""

from __future__ import annotations

import math

import pytest

from rlnet_bench.analysis.wording import (
    decimals,
    duration,
    fixed,
    p_text,
    rounded,
    short_count,
    significant,
    typographic,
)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (-54.6131, -55.9, -53.1, "-54.6 [-55.9, -53.1]"),
        (0.81234, 0.79, 0.83, "0.812 [0.790, 0.830]"),
        (12345.0, 11111.0, 13579.0, "12300 [11100, 13600]"),
        (0.004, -0.0961, 0.1041, "0.00 [-0.10, 0.10]"),
        (-0.0004, -0.1, 0.1, "0.00 [-0.10, 0.10]"),
        (5.0, 5.0, 5.0, "5.00 [5.00, 5.00]"),
        (5.0, None, None, "5.00"),
        (1e-9, 0.5e-9, 1.5e-9, "0.00000000100 [0.00000000050, 0.00000000150]"),
    ],
)
def test_two_digits_of_the_half_width(value: float, low: float | None, high: float | None, expected: str) -> None:
    assert str(rounded(value, low, high)) == expected


def test_the_half_width_never_shows_three_digits() -> None:
    for half in (0.0996, 0.00995, 9.96, 99.6, 0.5, 1.0, 1234.5):
        digits = rounded(0.0, -half, half).half.replace(".", "").strip("0")
        assert len(digits) <= 2, (half, digits)
    assert decimals(0.0996) == 2


def test_not_finite_and_zero() -> None:
    assert (fixed(math.nan, 2), fixed(-math.inf, 2), significant(0.0)) == ("nan", "-inf", "0")
    assert rounded(1.0, math.nan, 2.0).bracket == ""


def test_units() -> None:
    assert [short_count(x) for x in (950, 12_345, 1_500_000, 2e9)] == ["950", "12.3k", "1.5M", "2G"]
    assert [duration(x) for x in (None, 0, 59.4, 60, 200, 3600, 3725, 172_800)] == [
        "?", "0 s", "59 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "1 h 02 min", "2 d 00 h",
    ]  # fmt: skip
    assert (p_text(0.00001), p_text(0.031)) == ("p < 0.001", "p = 0.031")


def test_true_minus_only_before_numbers() -> None:
    assert typographic("-5 [-6, -4] simple-spread -x 3-5") == "−5 [−6, −4] simple-spread -x 3-5"


def test_an_interval_below_float32_is_rounding_and_not_spread() -> None:
    found = rounded(1.0000000197, 1.0000000191, 1.0000000205)
    assert (found.value, found.low, found.high) == ("1.00", "1.00", "1.00")
    assert rounded(1.00003, 1.00001, 1.00005).value == "1.000030"
