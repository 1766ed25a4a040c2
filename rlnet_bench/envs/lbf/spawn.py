"""Fresh LBF fields, drawn directly: each draw is a function of (environment seed, episode, entity).

The original draws cells until one is acceptable. Conditional on being accepted, such a draw is uniform
over the acceptable cells (every acceptable cell has the same chance in every try), so we draw an index
below the number of acceptable cells and look up which cell that is: same distribution, no loop.

The original gives up on food after 1,000 tries *in total*. Two things follow:

* A field with no acceptable cell left stays under-filled: here, the number of acceptable cells is zero.
* A field with few acceptable cells left may run out of tries. How many tries a food takes is geometric in
  the share of acceptable cells and independent of which cell is taken, so where this can matter
  (:attr:`Spawner.tries_matter`) the number of tries is drawn too, and food that comes too late is left out.

Players get 1,000 tries *each*; the chance that the original fails to place one is below 1e-27 for every
field that a card accepts, and is neglected.

Acceptable cells are kept as bit sets, 64 cells of the interior to an int64 word (food never lies on the
border). A food takes the 3x3 cells around it and the cells two away in its row and column.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.lbf.field import COLUMN, EMPTY, LOW_BITS, ROW, Field, Rules, sort_codes, total

MAX_TRIES = 1000


class _Counts(NamedTuple):
    """Set bits of int64 words [B]: in all, and side by side in one word per 32, 16 and 8 bits."""

    total: Tensor
    per_32: Tensor
    per_16: Tensor
    per_8: Tensor


class Purpose(IntEnum):
    """What a draw is for. Values are part of every published number: append, never renumber."""

    PLAYER = 1  # upper half: cell, lower half: level
    FOOD = 2  # upper half: cell, lower half: level
    TRIES = 3


class Spawner:
    """Draws fields of one task on one device."""

    def __init__(self, rules: Rules, device: torch.device) -> None:
        self.rules = rules
        self.inner = (rules.rows - 2) * (rules.columns - 2)
        self.words = -(-self.inner // 64)
        self.tries_matter = _may_run_out(self.inner, rules.foods, rules.players)
        cells = [(r, c) for r in range(rules.rows) for c in range(rules.columns)]
        inner = [(r, c) for r in range(1, rules.rows - 1) for c in range(1, rules.columns - 1)]
        number = {cell: i for i, cell in enumerate(inner)}

        def keep(taken: list[list[tuple[int, int]]]) -> list[Tensor]:
            """What each of the lists of cells leaves of the interior: bit sets, a table per word."""
            sets = [sum(1 << number[c] for c in cells if c in number) for cells in taken]
            return _words([((1 << self.inner) - 1) & ~s for s in sets], self.words, device)

        reach = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if max(abs(i), abs(j)) < 2 or not i * j]
        self.keep_player = keep([[cell] for cell in cells])
        self.keep_food = keep([[(r + i, c + j) for i, j in reach] for r, c in inner])
        # A cell's number in the interior; cells of the border come after all of them.
        self.number = torch.tensor([number.get(c, self.inner) for c in cells], dtype=torch.int32, device=device)
        self.row = torch.tensor([r for r, _ in cells], dtype=torch.int32, device=device)
        self.column = torch.tensor([c for _, c in cells], dtype=torch.int32, device=device)
        self.code = torch.tensor(
            [((r + 1) << ROW) + ((c + 1) << COLUMN) for r, c in inner], dtype=torch.int32, device=device
        )
        purposes = [(Purpose.PLAYER, i) for i in range(rules.players)]
        purposes += [(Purpose.FOOD, i) for i in range(rules.foods)]
        purposes += [(Purpose.TRIES, i) for i in range(rules.foods)] if self.tries_matter else []
        self.counters = torch.tensor([[64 * p + i] for p, i in purposes], device=device)
        self.free_cells = torch.tensor([[len(cells) - i] for i in range(rules.players)], device=device)
        self.byte_select = _byte_select().to(device)
        # log of the chance that one try fails when v of the inner cells are acceptable
        self.log_failure = torch.tensor(
            [math.log1p(-v / self.inner) if v < self.inner else -math.inf for v in range(self.inner + 1)],
            dtype=torch.float64,
            device=device,
        )

    def draw(self, keys: Tensor, episode: Tensor) -> Field:
        """Draw the first field of an episode.

        Args:
            keys: int64 [B], the environments' seeds.
            episode: int64 [B].
        """
        rules, p = self.rules, self.rules.players
        draws = rng.fold(rng.fold(keys, episode)[None], self.counters)
        cells = self._players(rng.integers(draws[:p], self.free_cells).int())
        level = rules.player_low + _lower(draws[:p], rules.player_high - rules.player_low + 1)
        if rules.food_high is not None:
            high = torch.full_like(level[0], rules.food_high)
        else:
            high = total(sort_codes(list(level))[:3])
        food = torch.stack(sort_codes(self._foods(draws[p:], cells, high)))
        spawned = total([code & LOW_BITS for code in food])
        flat = torch.stack(cells).view(-1)
        row, column = (x.index_select(0, flat).view(p, -1) for x in (self.row, self.column))
        return Field(row, column, level, food, spawned, torch.zeros_like(spawned), episode)

    def _players(self, ranks: Tensor) -> list[Tensor]:
        """Distinct cells [B] each: player i takes the free cell number ``ranks[i]`` (int32 [P, B])."""
        cells: list[Tensor] = []
        for rank in ranks:
            cells.append(_skip(rank, sort_codes(cells)))
        return cells

    def _foods(self, draws: Tensor, players: list[Tensor], high: Tensor) -> list[Tensor]:
        """Food codes [B] each, not sorted."""
        codes: list[Tensor] = []
        tries = torch.zeros_like(draws[0])
        low = high if self.rules.coop else torch.full_like(high, self.rules.food_low)
        free = _intersection(self.keep_player, players)
        for i in range(self.rules.foods):
            if i:
                counts = [_counts(word) for word in free]
                acceptable = total([count[0] for count in counts])
                cell = self._pick(free, counts, rng.integers(draws[i], acceptable))
            else:  # nothing but players in the way: skipping their cells is cheaper than counting bits
                inside = [self.number.index_select(0, player) for player in players]
                acceptable = self.inner - total([n < self.inner for n in inside])
                cell = _skip(rng.integers(draws[0], acceptable), sort_codes(inside))
            cell = cell.clamp(max=self.inner - 1)  # a valid index where nothing is acceptable
            level = low if self.rules.coop else low + _lower(draws[i], high - low + 1)
            code = self.code.index_select(0, cell) + level
            if self.tries_matter:
                tries = tries + self._tries(draws[self.rules.foods + i], acceptable)
                code = code.masked_fill(tries > MAX_TRIES, EMPTY)
            if self.least(i) == 0:
                code = code.masked_fill(acceptable == 0, EMPTY)
            codes.append(code)
            if i + 1 < self.rules.foods:
                kept = _intersection(self.keep_food, [cell])
                free = [a & b for a, b in zip(free, kept)]
        return codes

    def least(self, foods: int) -> int:
        """A number of cells that is acceptable for sure after that many foods."""
        return max(0, self.inner - 13 * foods - self.rules.players)

    def _tries(self, draw: Tensor, acceptable: Tensor) -> Tensor:
        """Tries until the first acceptable cell: geometric, by inversion. Int64 [B]."""
        chance = 1.0 - rng.uniform(draw)  # (0, 1]
        failure = self.log_failure.index_select(0, acceptable)
        # With nothing acceptable the food is left out whatever comes out here; keep it finite.
        count = torch.log(chance) / torch.where(acceptable > 0, failure, -1.0)
        return 1 + count.clamp(max=2.0 * MAX_TRIES).to(torch.int64)

    def _pick(self, free: list[Tensor], counts: list[_Counts], rank: Tensor) -> Tensor:
        """The interior cell that is number ``rank`` (from 0) among the bits set in the words. Int64 [B]."""
        word, chosen, offset = free[0], counts[0], torch.zeros_like(rank)
        rank = rank + 1  # counted from 1: "not among the first n" is then n - rank < 0
        bound = counts[0][0]
        left = rank
        for w in range(1, self.words):
            is_beyond = rank > bound
            left = torch.where(is_beyond, rank - bound, left)
            word = torch.where(is_beyond, free[w], word)
            chosen = _Counts(*(torch.where(is_beyond, a, b) for a, b in zip(counts[w], chosen)))
            offset = torch.where(is_beyond, 64 * w, offset)
            bound = bound + counts[w][0]
        rank, position = left, offset & 0
        for width, count in zip((32, 16, 8), chosen[1:]):
            below = (count >> position) & (2 * width - 1)
            beyond = (below - rank) >> 63  # all ones where the bit lies in the upper half
            rank = rank - (below & beyond)
            position = position + (beyond & width)
        byte = (word >> position) & 255
        return offset + position + self.byte_select.index_select(0, (byte << 3) + rank)


def _lower(draws: Tensor, n: Tensor | int) -> Tensor:
    """A second draw below n, int32, from the lower half of the bits (the upper half drew the cell)."""
    return rng.integers(draws << 32, n).int()


def _skip(rank: Tensor, taken: list[Tensor]) -> Tensor:
    """The number that is number ``rank`` among all those that are not in the sorted list ``taken``."""
    for other in taken:
        rank = rank + (rank >= other)
    return rank


def _intersection(tables: list[Tensor], indices: list[Tensor]) -> list[Tensor]:
    """Per word [B]: the bits that are set in the table's entries of all indices."""
    words = []
    for table in tables:
        word = table.index_select(0, indices[0])
        for index in indices[1:]:
            word = word & table.index_select(0, index)
        words.append(word)
    return words


def _words(sets: list[int], words: int, device: torch.device) -> list[Tensor]:
    """Bit sets as signed 64-bit words: for each word an int64 [len(sets)]."""
    rows = [[(s >> (64 * w)) & ((1 << 64) - 1) for s in sets] for w in range(words)]
    signed = [[x - (1 << 64) if x >> 63 else x for x in row] for row in rows]
    return list(torch.tensor(signed, dtype=torch.int64, device=device))


# Masks of the classic divide-and-conquer bit count (Warren, Hacker's Delight, 5-1), as signed integers.
# Every shift is followed by a mask that clears the bits an arithmetic shift drags in.
_M1, _M2, _M4 = 0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F
_M8, _M16 = 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF


def _counts(x: Tensor) -> _Counts:
    """Count the set bits of int64 words."""
    a = x - ((x >> 1) & _M1)
    b = (a & _M2) + ((a >> 2) & _M2)
    c = (b + (b >> 4)) & _M4
    d = (c + (c >> 8)) & _M8
    e = (d + (d >> 16)) & _M16
    return _Counts((e + (e >> 32)) & 127, e, d, c)


def _byte_select() -> Tensor:
    """Where in a byte its set bit number r (from 1) is, at ``8 * byte + r``. Int64 [2049]."""
    table = [0] * 2049
    for byte in range(256):
        for rank, bit in enumerate(b for b in range(8) if byte >> b & 1):
            table[8 * byte + rank + 1] = bit
    return torch.tensor(table)


def _may_run_out(inner: int, foods: int, players: int) -> bool:
    """Whether 1,000 tries can fail to place ``foods`` while cells are acceptable (chance above 1e-15).

    With at least v acceptable cells, running out is at most as likely as fewer than ``foods`` successes
    in 1,000 tries with chance v / inner each.
    """
    chance = max(1, inner - 13 * (foods - 1) - players) / inner
    if chance >= 1:
        return False
    logs = [
        math.lgamma(MAX_TRIES + 1) - math.lgamma(k + 1) - math.lgamma(MAX_TRIES - k + 1)
        + k * math.log(chance) + (MAX_TRIES - k) * math.log1p(-chance)
        for k in range(foods)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs)) > 1e-15
