"""Counter-based randomness: a draw is a pure function of (seed, index, episode, purpose, agent, ...).

Nothing here keeps a state, so a draw does not depend on the batch it is made in, on the device, or
on what was drawn before it; resuming needs no generator to be saved. Integer and uniform draws are
bit-identical on every device, because they use only wrapping int64 arithmetic and exact scaling.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators"), applied once per counter that is folded into the key.
"""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MUL1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MUL2 = -7723592293110705685  # 0x94D049BB133111EB
_MASK64 = (1 << 64) - 1


class Stream(IntEnum):
    """First counter folded after a replica's seed: keeps uses of one seed disjoint for ever.

    Values are part of every published number: append, never renumber.
    """

    TRAINING_ENV = 1
    EVALUATION_ENV = 2  # episodes that choose the checkpoint and draw the curve
    ABSOLUTE_ENV = 3  # fresh episodes that score the chosen checkpoint
    ACTION = 4
    MINIBATCH = 5
    WEIGHTS = 6
    USER = 7
    REPLAY = 8  # which stored steps an update reads
    EXPLORATION = 9
    VERTEX = 10  # whatever a vertex that learns by another method draws


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch shifts arithmetically)."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 bits: a bijection, elementwise, any shape."""
    x = (x ^ _shift(x, 30)).mul_(_MUL1)
    x.bitwise_xor_(_shift(x, 27)).mul_(_MUL2)
    return x.bitwise_xor_(_shift(x, 31))


def fold(key: Tensor, *counters: Tensor | int) -> Tensor:
    """Derive a new key from ``key`` and counters, broadcasting int64 shapes.

    Args:
        key: int64 tensor of keys.
        counters: int64 tensors or ints that broadcast against ``key``.
    """
    for counter in counters:
        key = mix((key ^ mix_int(counter) if isinstance(counter, int) else key ^ mix(counter)) + _GOLDEN)
    return key


def sequence(key: Tensor, place: Tensor) -> Tensor:
    """The outputs of SplitMix64 started at ``key``, at these places from 1 on: many draws from one key, cheaply."""
    return mix(key + place * _GOLDEN)


def mix_int(x: int) -> int:
    """:func:`mix` for a Python integer; returns the signed 64-bit value."""
    x &= _MASK64
    x = ((x ^ (x >> 30)) * (_MUL1 & _MASK64)) & _MASK64
    x = ((x ^ (x >> 27)) * (_MUL2 & _MASK64)) & _MASK64
    x ^= x >> 31
    return x - (1 << 64) if x >> 63 else x


def fold_int(key: int, *counters: int) -> int:
    """:func:`fold` for Python integers (bit-equal to the tensor version)."""
    for counter in counters:
        x = ((key ^ mix_int(counter)) + _GOLDEN) & _MASK64
        key = mix_int(x)
    return key


def env_keys(seeds: list[int] | tuple[int, ...], stream: Stream, per_seed: int, device: str = "cpu") -> Tensor:
    """Keys for a flat batch of environments: int64 [R*B], replica-major.

    Environment b of the replica with seed s gets the same key in every batch it is part of.
    """
    base = torch.tensor([fold_int(s, int(stream)) for s in seeds], dtype=torch.int64, device=device)
    index = torch.arange(per_seed, dtype=torch.int64, device=device)
    return fold(base[:, None], index[None, :]).reshape(-1)


def uniform(key: Tensor) -> Tensor:
    """Float64 draws in [0, 1) with 53 random bits, one per key (fold distinct counters in first)."""
    return _shift(key, 11).to(torch.float64) * (1.0 / (1 << 53))


def uniform32(key: Tensor) -> Tensor:
    """Float32 draws in (0, 1), never 0 or 1, with 23 random bits: safe under a logarithm."""
    return (_shift(key, 41).to(torch.float32) + 0.5) * (1.0 / (1 << 23))


def integers(key: Tensor, n: int | Tensor) -> Tensor:
    """Int64 draws in [0, n), ``n`` < 2**31, one per key; bias below n * 2**-32.

    Multiply-shift on the upper 32 bits: exact integer arithmetic, so equal on every device.
    """
    return (_shift(key, 32) * n).bitwise_right_shift_(32)


def normal(key: Tensor) -> Tensor:
    """Standard normal draws, float32 (Box-Muller on two draws derived from ``key``)."""
    radius = torch.sqrt(-2.0 * torch.log(uniform32(key)))
    return radius * torch.cos((2.0 * math.pi) * uniform32(mix(key + _GOLDEN)))
