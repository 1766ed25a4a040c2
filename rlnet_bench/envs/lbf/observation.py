"""What players see: the original's vector observation and its three-layer grid observation.

Axes as in :mod:`rlnet_bench.envs.lbf.field`; **i** is the observer. Both return float32 [B, P, O].
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench.envs.lbf.field import COLUMN, EMPTY, ROW, Field, Rules, decode, sort_codes


class Observer:
    """Makes the observations of one task on one device."""

    def __init__(self, rules: Rules, device: torch.device) -> None:
        self.rules = rules
        p = rules.players
        others = [[j for j in range(p) if j != i] for i in range(p)]
        self.others = torch.tensor(others, dtype=torch.int64, device=device).reshape(-1)  # [P * (P - 1)]
        seen = [[j + rules.foods for j in (i, *others[i])] for i in range(p)]
        self.lines = torch.tensor([[*range(rules.foods), *s] for s in seen], device=device).reshape(-1)
        self.tag = (torch.arange(p, dtype=torch.int32, device=device) << 24)[:, None]
        self.steps = torch.arange(-rules.sight, rules.sight + 1, dtype=torch.int32, device=device)

    def __call__(self, field: Field) -> Tensor:
        """Observations of a batch, float32 [B, P, O]."""
        if self.rules.grid:
            return self._grid(field)
        if self.rules.sees_everything:
            return self._whole(field)
        return self._cropped(field)

    def _whole(self, field: Field) -> Tensor:
        """Everyone sees everything in absolute coordinates: the same triples in different order."""
        rows, columns, levels = decode(field.food)
        lines = torch.stack(
            [
                torch.cat([rows, field.row]),
                torch.cat([columns, field.column]),
                torch.cat([levels, field.level]),
            ],
            1,
        ).float()  # [F + P, 3, B]
        return self._batch_first(lines.index_select(0, self.lines))

    def _cropped(self, field: Field) -> Tensor:
        """What lies in the crop around each player, in coordinates relative to the crop's corner.

        The crop is cut off at the border, so its corner is ``max(position - sight, 0)``. Food must lie in
        the crop; for players the original tests only 0 <= relative <= 2 * sight, so that near the top or
        left edge (where the corner is cut) players outside the crop are seen too.
        """
        p, sight = self.rules.players, self.rules.sight
        row0, column0 = (field.row - sight).clamp(min=0), (field.column - sight).clamp(min=0)
        corner = (row0 << ROW) + (column0 << COLUMN)

        food_row, food_column, _ = decode(field.food)
        is_seen = (
            ((food_row[None] - field.row[:, None]).abs() <= sight)
            & ((food_column[None] - field.column[:, None]).abs() <= sight)
            & (field.food < EMPTY)[None]
        )  # [i, F, B]
        food = torch.where(is_seen, field.food[None] - corner[:, None], EMPTY)
        codes = sort_codes(list(food.unbind(1)))

        player = ((field.row + 1) << ROW) + ((field.column + 1) << COLUMN) + field.level
        codes.append(player - corner)
        if p > 1:
            # The tag above the code's 24 bits keeps the players in order of index when packed.
            tagged = (player + self.tag).index_select(0, self.others).view(p, p - 1, -1)
            row = field.row.index_select(0, self.others).view(p, p - 1, -1)
            column = field.column.index_select(0, self.others).view(p, p - 1, -1)
            if self.rules.clean:
                is_seen = ((row - field.row[:, None]).abs() <= sight) & (
                    (column - field.column[:, None]).abs() <= sight
                )
            else:
                row, column = row - row0[:, None], column - column0[:, None]
                is_seen = (row >= 0) & (row <= 2 * sight) & (column >= 0) & (column <= 2 * sight)
            other = torch.where(is_seen, tagged - corner[:, None], EMPTY)
            codes += sort_codes(list(other.unbind(1)))
        lines = torch.stack(decode(torch.stack(codes, 1)), 2)  # [i, F + P, 3, B]
        return self._batch_first(lines.float())

    def _batch_first(self, lines: Tensor) -> Tensor:
        """[..., B] with the observations' numbers in order -> [B, P, O]."""
        batch = lines.shape[-1]
        return lines.reshape(-1, batch).t().contiguous().view(batch, self.rules.players, -1)

    def _grid(self, field: Field) -> Tensor:
        """Agent levels, food levels and accessible cells of the (2 sight + 1)^2 window around a player."""
        p, sight = self.rules.players, self.rules.sight
        width = 2 * sight + 1
        batch = field.time.shape[0]
        row, column = field.row.t().long(), field.column.t().long()  # [B, P]
        food_row, food_column, food_level = (x.t().long() for x in decode(field.food))  # [B, F]

        def window(r: Tensor, c: Tensor, exists: Tensor | bool) -> Tensor:
            """Index of a thing [B, 1] in every observer's window [B, P, 1]; outside: one past the end."""
            r, c = r - row + sight, c - column + sight
            is_inside = (r >= 0) & (r < width) & (c >= 0) & (c < width) & exists
            return torch.where(is_inside, r * width + c, width * width)[:, :, None]

        steps = self.steps.long()
        row_exists = (row[:, :, None] + steps >= 0) & (row[:, :, None] + steps < self.rules.rows)
        column_exists = (column[:, :, None] + steps >= 0) & (column[:, :, None] + steps < self.rules.columns)
        layers = torch.zeros(3, batch, p, width * width + 1, device=row.device)
        agents, foods, access = layers
        access[:, :, :-1] = (row_exists[:, :, :, None] & column_exists[:, :, None, :]).flatten(2)
        zero = torch.zeros(batch, p, 1, device=row.device)
        for j in range(p):  # in order: where players share a cell, the last one is drawn
            where = window(row[:, j : j + 1], column[:, j : j + 1], True)
            agents.scatter_(2, where, field.level[j].float()[:, None, None].expand(-1, p, 1))
            access.scatter_(2, where, zero)
        for k in range(self.rules.foods):
            level = food_level[:, k : k + 1]
            where = window(food_row[:, k : k + 1], food_column[:, k : k + 1], level > 0)
            foods.scatter_(2, where, level.float()[:, :, None].expand(-1, p, 1))
            access.scatter_(2, where, zero)
        return layers[..., :-1].permute(1, 2, 0, 3).reshape(batch, p, -1)
