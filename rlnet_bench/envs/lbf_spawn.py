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

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.lbf_field import COLUMN, EMPTY, ROW, Field, Rules, sort_codes

MAX_TRIES = 1000


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

        def keep(taken: list[list[tuple[int, int]]]) -> Tensor:
            """Complements of bit sets, [words, len(taken)]."""
            sets = [sum(1 << number[c] for c in cells if c in number) for cells in taken]
            return _words([~s for s in sets], self.words, device)

        reach = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if max(abs(i), abs(j)) < 2 or not i * j]
        self.all = _words([(1 << self.inner) - 1], self.words, device)  # [words, 1]
        self.keep_player = keep([[cell] for cell in cells])  # [words, cells]
        self.keep_food = keep([[(r + i, c + j) for i, j in reach] for r, c in inner])  # [words, inner]
        self.row = torch.tensor([r for r, _ in cells], dtype=torch.int32, device=device)
        self.column = torch.tensor([c for _, c in cells], dtype=torch.int32, device=device)
        self.code = torch.tensor(
            [((r + 1) << ROW) + ((c + 1) << COLUMN) for r, c in inner], dtype=torch.int32, device=device
        )
        purposes = [(Purpose.PLAYER, i) for i in range(rules.players)]
        purposes += [(Purpose.FOOD, i) for i in range(rules.foods)]
        purposes += [(Purpose.TRIES, i) for i in range(rules.foods)] if self.tries_matter else []
        self.counters = torch.tensor([[64 * p + i] for p, i in purposes], device=device)
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
        cells = self._players(draws[:p])
        level = rules.player_low + _lower(draws[:p], rules.player_high - rules.player_low + 1)
        if rules.food_high is not None:
            high = torch.full_like(level[0], rules.food_high)
        else:
            high = sum(sort_codes(list(level))[:3], torch.zeros_like(level[0]))
        free = self.all & self._taken(cells)
        food = self._foods(draws[p:], free, high)
        spawned = torch.where(food < EMPTY, food & 255, 0).sum(0, dtype=torch.int32)
        flat = cells.reshape(-1)
        return Field(
            self.row.index_select(0, flat).view_as(cells),
            self.column.index_select(0, flat).view_as(cells),
            level.to(torch.int32),
            food,
            spawned,
            torch.zeros_like(spawned),
            episode,
        )

    def _players(self, draws: Tensor) -> Tensor:
        """Distinct uniform cells [P, B]: each player takes the k-th cell that is still free."""
        total = self.rules.rows * self.rules.columns
        taken: list[Tensor] = []  # sorted
        cells: list[Tensor] = []
        for i in range(self.rules.players):
            cell = rng.integers(draws[i], total - i)
            for other in taken:
                cell = cell + (cell >= other)
            cells.append(cell)
            for k, other in enumerate(taken):
                taken[k], cell = torch.minimum(other, cell), torch.maximum(other, cell)
            taken.append(cell)
        return torch.stack(cells)

    def _taken(self, cells: Tensor) -> Tensor:
        """Bit sets without the players' cells, [words, B]."""
        free = self.keep_player.index_select(1, cells[0])
        for cell in cells[1:]:
            free = free & self.keep_player.index_select(1, cell)
        return free

    def _foods(self, draws: Tensor, free: Tensor, high: Tensor) -> Tensor:
        """Sorted food codes [F, B]."""
        foods = self.rules.foods
        codes: list[Tensor] = []
        tries = torch.zeros_like(draws[0])
        low = high if self.rules.coop else torch.full_like(high, self.rules.food_low)
        for i in range(foods):
            counts = _popcount(free)
            acceptable = counts.sum(0) if self.words > 1 else counts[0]
            cell = self._pick(free, counts, rng.integers(draws[i], acceptable))
            is_placed = acceptable > 0
            if self.tries_matter:
                tries = tries + self._tries(draws[foods + i], acceptable)
                is_placed = is_placed & (tries <= MAX_TRIES)
            level = low if self.rules.coop else low + _lower(draws[i], high - low + 1)
            code = self.code.index_select(0, cell) + level.to(torch.int32)
            codes.append(torch.where(is_placed, code, EMPTY))
            if i + 1 < foods:
                free = free & self.keep_food.index_select(1, cell)
        return torch.stack(sort_codes(codes))

    def _tries(self, draw: Tensor, acceptable: Tensor) -> Tensor:
        """Tries until the first acceptable cell: geometric, by inversion. Int64 [B]."""
        chance = 1.0 - rng.uniform(draw)  # (0, 1]
        failure = self.log_failure.index_select(0, acceptable)
        # With nothing acceptable the food is left out whatever comes out here; keep it finite.
        count = torch.log(chance) / torch.where(acceptable > 0, failure, -1.0)
        return 1 + count.clamp(max=2.0 * MAX_TRIES).to(torch.int64)

    def _pick(self, free: Tensor, counts: Tensor, rank: Tensor) -> Tensor:
        """The interior cell that is number ``rank`` (from 0) among the set bits. Int64 [B]."""
        word, base = free[0], torch.zeros_like(rank)
        before = counts[0]
        for w in range(1, self.words):
            is_beyond = rank >= before
            word = torch.where(is_beyond, free[w], word)
            base = torch.where(is_beyond, before, base)
            before = before + counts[w]
        offset = torch.zeros_like(rank)
        if self.words > 1:
            bound = counts[0]
            for w in range(1, self.words):
                offset = offset + 64 * (rank >= bound)
                bound = bound + counts[w]
        cell = offset + _select(word, rank - base)
        return cell.clamp(max=self.inner - 1)  # only where nothing is acceptable


def _lower(draws: Tensor, n: Tensor | int) -> Tensor:
    """A second draw below n from the lower half of each draw's bits (the upper half drew the cell)."""
    return rng.integers(draws << 32, n)


def _words(sets: list[int], words: int, device: torch.device) -> Tensor:
    """Bit sets as signed 64-bit words, [words, len(sets)]."""
    rows = [[(s >> (64 * w)) & ((1 << 64) - 1) for s in sets] for w in range(words)]
    signed = [[x - (1 << 64) if x >> 63 else x for x in row] for row in rows]
    return torch.tensor(signed, dtype=torch.int64, device=device)


# Masks of the classic divide-and-conquer bit count (Warren, Hacker's Delight, 5-1), as signed integers.
# Every shift is followed by a mask that clears the bits an arithmetic shift drags in.
_M1, _M2, _M4 = 0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F
_M8, _M16 = 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF


def _partial_counts(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Set bits per 2, 4, 8, 16 and 32 bits of int64 words."""
    a = x - ((x >> 1) & _M1)
    b = (a & _M2) + ((a >> 2) & _M2)
    c = (b + (b >> 4)) & _M4
    d = (c + (c >> 8)) & _M8
    return a, b, c, d, (d + (d >> 16)) & _M16


def _popcount(x: Tensor) -> Tensor:
    """Set bits of int64 words, any shape."""
    e = _partial_counts(x)[-1]
    return (e + (e >> 32)) & 127


def _select(x: Tensor, rank: Tensor) -> Tensor:
    """Position of the set bit number ``rank`` (from 0) of int64 words: a binary search over counts."""
    position = torch.zeros_like(rank)
    a, b, c, d, e = _partial_counts(x)
    for width, counts in ((32, e), (16, d), (8, c), (4, b), (2, a), (1, x)):
        below = (counts >> position) & (2 * width - 1)
        is_above = rank >= below
        rank = rank - torch.where(is_above, below, 0)
        position = position + torch.where(is_above, width, 0)
    return position


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
