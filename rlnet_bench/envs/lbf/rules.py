"""One step of LBF as pure functions of batch-last tensors: moving, loading, legality.

Axes as in :mod:`rlnet_bench.envs.lbf.field`. Everything is integer until the one division that makes a
reward: in float64, of exact integers, so that the float32 rewards equal the original's rounded once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench.envs.lbf.field import COLUMN, EMPTY, LOW_BITS, Field, Rules, cell_code, sort_codes, total

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)


def play(rules: Rules, field: Field, actions: Tensor) -> tuple[Field, Tensor]:
    """Move everyone, load food, advance the clock.

    Args:
        rules: of the task.
        field: before the step.
        actions: int32 [P, B]; illegal ones, and numbers that are no action, do nothing.

    Returns:
        The field after the step (not reset) and the rewards, float32 [P, B].
    """
    row, column = _move(rules, field, actions)
    food, reward = _load(rules, field, actions)
    after = field._replace(row=row, column=column, food=food, time=field.time + 1)
    return after, reward


def is_empty(field: Field) -> Tensor:
    """No food is left: [B] bool. Foods are sorted, so the first slot tells."""
    return field.food[0] >= EMPTY


def _move(rules: Rules, field: Field, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns after all players moved at once.

    A player moves iff nobody else has its target cell, where players who cannot or do not move have their
    own cell as target. So swapping and following work, and a player that enters the cell of one whose
    move fails in a collision elsewhere ends on top of it: that is the original's rule.
    """
    # A step off the grid is illegal, hence no step: clamping to the grid says just that.
    row = (field.row + ((actions == SOUTH).int() - (actions == NORTH).int())).clamp(0, rules.rows - 1)
    column = (field.column + ((actions == EAST).int() - (actions == WEST).int())).clamp(0, rules.columns - 1)
    own, target = cell_code(field.row, field.column), cell_code(row, column)
    food = field.food >> COLUMN
    is_kept = target == food[0]
    for cell in food[1:]:
        is_kept = is_kept | (target == cell)
    target = torch.where(is_kept, own, target)
    is_shared = [torch.zeros_like(is_kept[0])] * rules.players
    for i in range(rules.players):
        for j in range(i):
            is_same = target[i] == target[j]
            is_shared[i], is_shared[j] = is_shared[i] | is_same, is_shared[j] | is_same
    stays = is_kept | torch.stack(is_shared)
    if rules.clean:
        stays = _without_overlap(stays, own, target)
    return torch.where(stays, field.row, row), torch.where(stays, field.column, column)


def _without_overlap(stays: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """The clean variant: who heads for the cell of a player that stays, stays too, along whole chains."""
    players = own.shape[0]
    heads_for = target[:, None] == own[None]  # [P, P, B]
    others = ~torch.eye(players, dtype=torch.bool, device=own.device)[:, :, None]
    for _ in range(players - 1):
        stays = stays | (heads_for & others & stays[None]).any(1)
    return stays


def next_to_food(field: Field) -> Tensor:
    """Who stands beside which food: bool [P, F, B]. EMPTY food is beside nobody."""
    apart = (cell_code(field.row, field.column)[:, None] - (field.food >> COLUMN)[None]).abs()
    return (apart == 1) | (apart == 1 << COLUMN)


def _load(rules: Rules, field: Field, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Food after loading, still sorted, and rewards float32 [P, B].

    Loaders do not move, so who stands beside what may be read from before the step. Food keeps its
    distance, so a player is beside at most one: the sums over food below have at most one term.
    """
    loads = next_to_food(field) & (actions == LOAD)[:, None]  # [P, F, B]
    strength = total(list((loads * field.level[:, None]).unbind(0)))  # [F, B]
    level = field.food & LOW_BITS
    is_eaten = (strength >= level) & (strength > 0)  # EMPTY has level 0, but nobody loads it
    # Both numbers of the player's own food in one sum: its loaders' strength fits into sixteen bits.
    paid = total(list((loads * (((level << 16) + strength) * is_eaten)).unbind(1)))  # [P, B]
    whole = ((paid & 0xFFFF) * field.spawned).clamp(min=1)  # 0 only where nothing is paid
    reward = (field.level * (paid >> 16)).double() / whole.double()
    if rules.penalty:
        has_failed = loads.any(1) & (paid == 0)
        reward = torch.where(has_failed, -rules.penalty, reward)
    food = torch.where(is_eaten, EMPTY, field.food)
    return torch.stack(sort_codes(list(food))), reward.float()


def legal_actions(rules: Rules, field: Field) -> Tensor:
    """The original's ``_valid_actions``: bool [B, P, 6]. Players do not block moves, food does."""
    own, food = cell_code(field.row, field.column), field.food >> COLUMN
    steps = ((-1, 0), (1, 0), (0, -1), (0, 1))
    is_inside = (
        field.row > 0,
        field.row < rules.rows - 1,
        field.column > 0,
        field.column < rules.columns - 1,
    )
    is_free = [
        ((own + (dr << COLUMN) + dc)[:, None] != food[None]).all(1) & inside
        for (dr, dc), inside in zip(steps, is_inside, strict=True)
    ]
    can_load = next_to_food(field).any(1)
    return torch.stack([torch.ones_like(can_load), *is_free, can_load]).permute(2, 1, 0).contiguous()
