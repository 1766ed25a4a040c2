"""How a batch of LBF fields is laid out, and the one sorting trick that packs lists without branches.

Axes: **P** players, **F** food slots, **B** environments. Tensors are batch-last, so that every operation
runs over contiguous memory whatever P and F are.

A thing on the grid is one int32 *code*: ``row + 1 | column + 1 | level`` in eight bits each. Codes order
things row by row, subtracting ``row << 16 | column << 8`` moves them to relative coordinates, and
``EMPTY``, which is larger than all of them, decodes to (-1, -1, 0): exactly what the original writes for
what is not there. A list is packed to the front, in order, by sorting its codes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard

ROW, COLUMN, LOW_BITS = 16, 8, 255
EMPTY = 1 << 30


class Field(NamedTuple):
    """The whole state of a batch of environments except their seeds."""

    row: Tensor  # [P, B] int32
    column: Tensor  # [P, B] int32
    level: Tensor  # [P, B] int32
    food: Tensor  # [F, B] int32 codes, in row-major order, eaten and never placed ones EMPTY at the end
    spawned: Tensor  # [B] int32, sum of the food levels at the start of the episode
    time: Tensor  # [B] int32, steps taken in this episode
    episode: Tensor  # [B] int64


class Rules(NamedTuple):
    """The numbers of a task that its pure functions need."""

    rows: int
    columns: int
    players: int
    foods: int
    sight: int
    coop: bool
    player_low: int
    player_high: int
    food_low: int
    food_high: int | None
    penalty: float
    horizon: int
    grid: bool
    masked: bool
    clean: bool

    @property
    def sees_everything(self) -> bool:
        """The crop around every cell holds the whole field."""
        return self.sight >= max(self.rows, self.columns) - 1


def rules(card: TaskCard) -> Rules:
    """The rules of a card of :mod:`rlnet_bench.envs.cards.lbf`."""
    c: dict[str, Any] = dict(card.constructor)
    rows, columns = c["field_size"]
    return Rules(
        rows, columns, c["players"], c["max_num_food"], c["sight"], c["force_coop"], c["min_player_level"],
        c["max_player_level"], c["min_food_level"], c["max_food_level"], c["penalty"],
        c["max_episode_steps"], c["grid_observation"], c["masked"], c["clean"],
    )  # fmt: skip


def cell_code(row: Tensor, column: Tensor) -> Tensor:
    """``row + 1 | column + 1``: the code without its level (``code >> 8``). Any integer shape."""
    return ((row + 1) << COLUMN) + (column + 1)


def decode(code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and level of codes of any shape; (-1, -1, 0) for EMPTY."""
    return ((code >> ROW) & LOW_BITS) - 1, ((code >> COLUMN) & LOW_BITS) - 1, code & LOW_BITS


def _network(n: int) -> tuple[tuple[int, int], ...]:
    """Comparators of Batcher's odd-even merge sort for n items (Knuth vol. 3, 5.2.2, algorithm M)."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return tuple(pairs)


_NETWORKS = tuple(_network(n) for n in range(33))  # cards allow up to 32 foods


def sort_codes(codes: list[Tensor]) -> list[Tensor]:
    """Sort a list of equally shaped tensors elementwise, smallest first, without looking at values."""
    codes = list(codes)
    for i, j in _NETWORKS[len(codes)]:
        codes[i], codes[j] = torch.minimum(codes[i], codes[j]), torch.maximum(codes[i], codes[j])
    return codes


def total(parts: list[Tensor]) -> Tensor:
    """The elementwise sum of a list of tensors; counts where they are bool.

    Written out, because the compiler fuses additions but not reductions over so short a dimension.
    """
    result = parts[0].int() if parts[0].dtype == torch.bool else parts[0]
    for part in parts[1:]:
        result = result + part
    return result
