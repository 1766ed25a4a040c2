"""lbforaging's environment and ours in the same state: copied in, made by hand, read out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench.envs.lbf.field import EMPTY, Field, decode


def copy_in(reference: Any, field: Field, index: int) -> None:
    """Make the original stand where environment ``index`` of our batch stands."""
    board, positions, levels = read_field(field, index, reference.field_size)
    reference.field = board
    for player, position, level in zip(reference.players, positions, levels):
        player.setup(position, level, reference.field_size)
    reference._food_spawned = int(field.spawned[index])
    reference.current_step = int(field.time[index])
    reference._game_over = False
    reference._gen_valid_moves()


def read_field(field: Field, index: int, size: tuple[int, int]) -> tuple[np.ndarray, list[tuple[int, int]], list[int]]:
    """Our board (int32 [rows, columns]), positions and levels of environment ``index``."""
    board = np.zeros(size, np.int32)
    for row, column, level in zip(*(x.tolist() for x in decode(field.food[:, index]))):
        if level:
            board[row, column] = level
    positions = list(zip(field.row[:, index].tolist(), field.column[:, index].tolist()))
    return board, positions, field.level[:, index].tolist()


def read_original(reference: Any) -> tuple[np.ndarray, list[tuple[int, int]], list[int]]:
    """The original's board, positions and levels."""
    players = reference.players
    positions = [(int(p.position[0]), int(p.position[1])) for p in players]
    return reference.field, positions, [int(p.level) for p in players]


def original_observations(reference: Any) -> np.ndarray:
    """The original's observations, float32 [N, O], grids flattened layer, row, column."""
    return np.stack([np.asarray(o, np.float32).reshape(-1) for o in reference._make_gym_obs()])


def original_masks(reference: Any) -> np.ndarray:
    """The original's legal actions, bool [N, 6]."""
    legal = [{action.value for action in reference._valid_actions[p]} for p in reference.players]
    return np.array([[a in options for a in range(6)] for options in legal])


def field_of(
    players: list[tuple[int, int, int]], foods: list[tuple[int, int, int]], slots: int, time: int = 0
) -> Field:
    """A batch of one hand-made field: (row, column, level) of each player and each food."""
    codes = sorted(((r + 1) << 16) + ((c + 1) << 8) + level for r, c, level in foods)
    codes += [EMPTY] * (slots - len(codes))

    def column(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32)[:, None]

    rows, columns, levels = (list(x) for x in zip(*players))
    return Field(
        column(rows),
        column(columns),
        column(levels),
        column(codes),
        torch.tensor([sum(level for *_, level in foods)], dtype=torch.int32),
        torch.tensor([time], dtype=torch.int32),
        torch.zeros(1, dtype=torch.int64),
    )
