"""Scripted LBF policies: the reference points of the cards, without learning.

``forage`` is what a player can do on its own; ``rally`` plans for all of them. Both are pure batched
functions without memory. Ties are broken at random, which also undoes the deadlocks of two players who
keep bumping into each other; the randomness is a function of the keys that the caller passes.

``python -m rlnet_bench.envs.lbf.policies TASK --episodes N`` measures the reference points of a task and
prints their block of ``cards/lbf.yaml``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import product
from typing import Literal

import torch
import yaml
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.lbf.env import LbfEnv
from rlnet_bench.envs.lbf.field import COLUMN, EMPTY, ROW, Field, Rules, decode, rules
from rlnet_bench.envs.lbf.rules import LOAD, NONE
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput, RlnetError, UnknownName

Script = Callable[[Tensor, TaskCard, Tensor], Tensor]

_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # north, south, west, east: actions 1 to 4
_BLOCKED, _FAR = 1000.0, 10_000
_POLICY_DRAWS = 1 << 20  # counters above all of the environment's own
_WALL = 126  # plus one is still an int8
_MOST_PLANNED = 6  # teams are all subsets of the players


def forage(observation: Tensor, card: TaskCard, keys: Tensor) -> Tensor:
    """Uncoordinated: walk to the nearest food that one can load alone, else to the nearest, and load.

    Players are walked around like walls and otherwise ignored. Where no food is in sight, walk at random.
    Each agent reads its own vector observation only.

    Args:
        observation: [B, N, O] float32.
        card: of the task.
        keys: int64 [B], new ones in every step.

    Returns:
        Actions, int64 [B, N].
    """
    foods = int(card.constructor["max_num_food"])
    things = observation.unflatten(-1, (-1, 3))  # [B, N, F + N, 3]
    food, own = things[:, :, :foods], things[:, :, foods]
    is_seen = food[..., 2] > 0
    apart = (food[..., :2] - own[:, :, None, :2]).abs().sum(-1)  # [B, N, F]
    is_strong = food[..., 2] > own[:, :, None, 2]
    cost = torch.where(is_seen, apart + 100.0 * is_strong, float(_FAR))
    nearest = cost.argmin(-1)[:, :, None]
    target = food.gather(2, nearest[..., None].expand(-1, -1, -1, 3))[:, :, 0]
    sees_food, distance = is_seen.any(-1), apart.gather(2, nearest)[:, :, 0]

    score = rng.uniform32(_noise(keys, card.num_agents))  # [B, N, 5]: four steps and staying
    for k, (dr, dc) in enumerate(_STEPS):
        cell = own[..., :2] + torch.tensor([dr, dc], dtype=own.dtype, device=own.device)
        is_wall = (cell[:, :, None] == things[..., :2]).all(-1).any(-1)
        after = (cell - target[..., :2]).abs().sum(-1)
        score[..., k] = 0.9 * score[..., k] + sees_food * after + _BLOCKED * is_wall
    score[..., 4] = distance * sees_food + 1.5
    walk = (score.argmin(-1) + 1) % 5
    return torch.where(sees_food & (distance == 1), LOAD, walk)


def rally(observation: Tensor, card: TaskCard, keys: Tensor) -> Tensor:
    """Coordinated: :func:`rally_on_field` on the field as agent 0 observes it.

    Only for tasks in which everyone sees everything; arguments and result as in :func:`forage`.
    """
    r = rules(card)
    row, column, level = observation[:, 0].t().to(torch.int32).unflatten(0, (-1, 3)).unbind(1)
    food = ((row + 1) << ROW) + ((column + 1) << COLUMN) + level
    food = torch.where(level > 0, food, EMPTY)[: r.foods]
    none = torch.zeros_like(row[0])
    field = Field(row[r.foods :], column[r.foods :], level[r.foods :], food, none, none, none)
    return rally_on_field(field, r, keys)


def rally_on_field(field: Field, rules: Rules, keys: Tensor) -> Tensor:
    """Coordinated: teams that are strong enough go to the foods they reach first; the rest follows.

    Of all pairs of a food and a team of still unassigned players that can load it, the one that is there
    first (of equals the smaller team) is fixed, again and again. Players left over walk to the nearest
    food nobody goes to. Steps are chosen in order of index, around those already chosen; food is loaded
    when those beside it suffice. Reads the whole field, whatever the task's sight.

    Args:
        field: batch-last state, see :class:`~rlnet_bench.envs.lbf.field.Field`.
        rules: of the task.
        keys: int64 [B], new ones in every step.

    Returns:
        Actions, int64 [B, N].
    """
    row, column, level = field.row.t(), field.column.t(), field.level.t()  # [B, N]
    food_row, food_column, food_level = (x.t() for x in decode(field.food))  # [B, F]
    exists = food_level > 0
    apart = (row[:, :, None] - food_row[:, None]).abs() + (column[:, :, None] - food_column[:, None]).abs()
    target = _targets(apart, level, food_level, exists)  # [B, N]

    strength = ((apart == 1) * level[:, :, None]).sum(1)  # [B, F] of all beside it
    is_enough = (strength >= food_level).gather(1, target)
    is_there = apart.gather(2, target[:, :, None])[:, :, 0] == 1

    width = rules.columns + 2  # of the board with its border
    own = ((row + 1) * width + column + 1).long()  # [B, N]
    food = torch.where(exists, (food_row + 1) * width + food_column + 1, 0).long()
    way = _ways(rules, own, food, target, is_there)  # [B, N, cells]
    taken = own.clone()  # where everyone stands, then the cells chosen for the next step
    noise = 0.9 * rng.uniform32(_noise(keys, rules.players))
    actions = []
    for i in range(rules.players):
        cells = own[:, i, None] + torch.tensor([-width, width, -1, 1, 0], device=own.device)  # [B, 5]
        others = torch.cat([taken[:, :i], taken[:, i + 1 :]], 1)
        is_taken = (cells[:, :, None] == others[:, None]).any(2)
        score = way[:, i].gather(1, cells) + noise[:, i] + _BLOCKED * is_taken
        score[:, 4] = way[:, i].gather(1, own[:, i, None])[:, 0] + 1.5
        choice = torch.where(is_there[:, i], 4, score.argmin(1))
        taken[:, i] = cells.gather(1, choice[:, None])[:, 0]
        stay = torch.where(is_there[:, i] & is_enough[:, i], LOAD, NONE)
        actions.append(torch.where(choice == 4, stay, choice + 1))
    return torch.stack(actions, 1)


def _ways(rules: Rules, own: Tensor, food: Tensor, target: Tensor, is_there: Tensor) -> Tensor:
    """Steps from every cell of the bordered board to a free cell beside each player's target.

    Food, the border and players who have arrived are walls (``_WALL``, larger than any way); the others
    will move. Cells are numbered row by row. Int8 [B, N, cells].
    """
    batch, players = own.shape
    height, width = rules.rows + 2, rules.columns + 2
    wall = torch.ones(height, width, dtype=torch.bool, device=own.device)
    wall[1:-1, 1:-1] = False
    wall = wall.view(1, 1, -1).repeat(batch, players, 1)
    wall.scatter_(2, food[:, None].expand(-1, players, -1), True)  # missing food is in the border's corner
    arrived = torch.where(is_there, own, 0)
    for i in range(players):
        wall[:, i].scatter_(1, torch.cat([arrived[:, :i], arrived[:, i + 1 :]], 1), True)
    goal = torch.zeros_like(wall).scatter_(2, food.gather(1, target)[:, :, None], True)
    goal = goal.view(batch, players, height, width)
    beside = torch.zeros_like(goal)
    beside[:, :, 1:-1, 1:-1] = (
        goal[:, :, :-2, 1:-1] | goal[:, :, 2:, 1:-1] | goal[:, :, 1:-1, :-2] | goal[:, :, 1:-1, 2:]
    )
    wall = wall.view_as(goal)
    way = torch.full(goal.shape, _WALL, dtype=torch.int8, device=own.device)
    way = way.masked_fill(beside & ~wall, 0)
    inner = way[:, :, 1:-1, 1:-1]
    is_wall = wall[:, :, 1:-1, 1:-1]
    for _ in range(rules.rows + rules.columns):
        near = torch.minimum(
            torch.minimum(way[:, :, :-2, 1:-1], way[:, :, 2:, 1:-1]),
            torch.minimum(way[:, :, 1:-1, :-2], way[:, :, 1:-1, 2:]),
        )
        inner.copy_(torch.minimum(inner, near + 1).masked_fill(is_wall, _WALL))
    return way.flatten(2)


def _targets(apart: Tensor, level: Tensor, food_level: Tensor, exists: Tensor) -> Tensor:
    """Index of the food that each player goes for: int64 [B, N]."""
    batch, players, foods = apart.shape
    planned = min(players, _MOST_PLANNED)
    teams = [t + (False,) * (players - planned) for t in product((False, True), repeat=planned) if any(t)]
    team = torch.tensor(teams, device=apart.device)  # [S, N]
    size = team.sum(1)
    arrival = torch.where(team[None, :, :, None], apart[:, None], 0).amax(2)  # [B, S, F]
    suffices = (team[None] * level[:, None]).sum(2)[:, :, None] >= food_level[:, None]
    cost = arrival * (players + 1) + size[None, :, None]
    cost = torch.where(suffices & exists[:, None], cost, _FAR)

    target = torch.full((batch, players), -1, dtype=torch.int64, device=apart.device)
    is_open = exists.clone()
    for _ in range(min(players, foods)):
        best, index = cost.flatten(1).min(1)
        chosen, food = team[index // foods], index % foods
        is_valid = (best < _FAR)[:, None]
        target = torch.where(chosen & is_valid, food[:, None], target)
        is_food = torch.nn.functional.one_hot(food, foods).bool() & is_valid
        is_open &= ~is_food
        clash = (team[None] & (chosen & is_valid)[:, None]).any(2)  # [B, S]
        cost = torch.where(clash[:, :, None] | is_food[:, None], _FAR, cost)
    rest = torch.where(is_open[:, None], apart, apart + 100)
    rest = torch.where(exists[:, None], rest, _FAR)
    return torch.where(target < 0, rest.argmin(2), target)


def _noise(keys: Tensor, players: int) -> Tensor:
    """Keys for every player's five options, int64 [B, N, 5]."""
    counters = torch.arange(players * 5, device=keys.device).view(1, players, 5)
    return rng.fold(keys[:, None, None], counters)


SCRIPTS: dict[str, Script] = {"forage": forage, "rally": rally}
# What an agent's action depends on within one step: its own observation, or all of them.
reads: dict[str, Literal["own", "all"]] = {"forage": "own", "rally": "all"}


def supports(script: str, card: TaskCard) -> bool:
    """Whether a script can play a task from its observations.

    Raises:
        UnknownName: for a script that does not exist.
    """
    if script not in SCRIPTS:
        raise UnknownName("script", script, SCRIPTS, hint=f"Known scripts: {', '.join(sorted(SCRIPTS))}.")
    if card.family != "lbf" or card.constructor["grid_observation"]:
        return False
    return script == "forage" or rules(card).sees_everything


def random_actions(env: LbfEnv, keys: Tensor) -> Tensor:
    """Uniform actions, legal or not: int64 [B, N]."""
    return rng.integers(_noise(keys, env.rules.players)[..., 0], 6)


def step_keys(env: LbfEnv) -> Tensor:
    """Keys int64 [B] for a script's next actions: a function of seed, episode and time."""
    return rng.fold(env.keys, env.field.episode, env.field.time.long() + _POLICY_DRAWS)


def play_episodes(env: LbfEnv, policy: Callable[[LbfEnv, Tensor], Tensor], seeds: Tensor) -> Tensor:
    """Team returns of one episode per environment: float64 [B]."""
    env.reset(seeds)
    score = torch.zeros(env.num_envs, dtype=torch.float64)
    is_running = torch.ones(env.num_envs, dtype=torch.bool)
    for _ in range(env.card.horizon):
        out = env.step(policy(env, step_keys(env)))
        score += torch.where(is_running, out.reward.double().sum(1), 0.0)
        is_running &= ~(out.terminated | out.truncated)
    return score


def measure(task: str, episodes: int, seed: int = 0) -> dict[str, dict[str, object]]:
    """The reference points of a task, as stored in ``cards/lbf.yaml``."""
    card = task_card(task)
    if card.family != "lbf" or card.constructor["grid_observation"]:
        raise BadInput(f"{task}: the scripts read vector observations of LBF tasks.")
    policies: dict[str, tuple[str, Callable[[LbfEnv, Tensor], Tensor]]] = {
        "random": ("random", random_actions),
        "uncoordinated": ("forage", lambda env, keys: forage(env.current().observation, card, keys)),
        "best": ("rally", lambda env, keys: rally_on_field(env.field, env.rules, keys)),
    }
    env = make_env(card, episodes)
    assert isinstance(env, LbfEnv)
    seeds = rng.env_keys([seed], rng.Stream.USER, episodes)
    command = f"python -m rlnet_bench.envs.lbf.policies {task} --episodes {episodes} --seed {seed}"
    block: dict[str, dict[str, object]] = {}
    for point, (name, policy) in policies.items():
        score = play_episodes(env, policy, seeds)
        whole_field = point == "best" and not rules(card).sees_everything
        block[point] = {
            "value": round(float(score.mean()), 5),
            "se": round(float(score.std()) / episodes**0.5, 5),
            "n": episodes,
            "policy": name + " (sees the whole field)" * whole_field,
            "command": command,
            "provisional": False,
        }
    return block


def main(arguments: list[str] | None = None) -> int:
    """Measure one task and print its YAML block."""
    parser = argparse.ArgumentParser(prog="python -m rlnet_bench.envs.lbf.policies", description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        block = measure(options.task, options.episodes, options.seed)
    except RlnetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(yaml.safe_dump({options.task: block}, sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
