"""Scripted MPE policies: the reference points of the cards, without learning.

Every script is a pure batched function ``(observation [B, N, O] float32, card) -> actions`` (int64 [B, N] or
float32 [B, N, A] in the task's units). None keeps a state, so a script can be evaluated like any policy.

The control law they share. Per axis, with e the way left and v the velocity, one step moves the agent by
0.1 v and then sets v to 0.75 v + u, where the motor chooses |u| <= 0.5. :func:`_wanted_velocity` is the
largest velocity from which full braking still stops on the target; u is what is missing to reach it. That
is a deadbeat controller near the target (two steps, no overshoot) and full thrust far from it. A discrete
agent pushes the axis that misses more, or none when less than half a push is missing.

``python -m rlnet_bench.envs.mpe.policies TASK --episodes N --seed S`` measures the reference points of a
task and prints their block of ``cards/mpe.yaml`` and the floor.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from functools import cache
from itertools import permutations
from typing import Literal

import torch
import yaml
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput, RlnetError, UnknownName

Script = Callable[[Tensor, TaskCard], Tensor]
Reads = Literal["own", "all"]

PUSH = 0.5  # velocity that one full push adds
CLEARANCE = 0.32  # spread agents touch at 0.30; the rest is what a discrete agent misses its target by
_EXACT = 6  # up to here all N! assignments are compared
_BATCH = 4096


def nearest(observation: Tensor, card: TaskCard) -> Tensor:
    """Spread, uncoordinated: each agent heads for the landmark that is nearest to itself.

    Reads the agent's own observation only and ignores the other agents.
    """
    velocity, _, landmark = _spread_view(observation, card)
    return _push(_take(landmark, _square(landmark).argmin(dim=-1)), velocity, card)


def assignment(observation: Tensor, card: TaskCard) -> Tensor:
    """Spread, coordinated: the assignment of agents to landmarks with the least total squared distance.

    Squared, because such assignments have no crossing ways and so fewer collisions than the plain sum (and
    score higher). All N! assignments are compared for N <= 6; above, agent and landmark of the closest
    pair left are matched, again and again. Targets nearer than ``CLEARANCE`` to each other are moved apart:
    the way lost costs less than a lasting collision. Reads everyone's observation.
    """
    velocity, position, landmark = _spread_view(observation, card)
    cost = _square(landmark)  # [B, N, L]
    chosen = _best_assignment(cost) if card.num_agents <= _EXACT else _greedy_assignment(cost)
    target = list((_take(landmark, chosen) + position).unbind(1))
    for i in range(len(target)):
        for j in range(i + 1, len(target)):
            apart = target[j] - target[i]
            length = torch.sqrt(_square(apart)).clamp(min=1e-6)[:, None]
            target[j] = target[j] + apart / length * (CLEARANCE - length).clamp(min=0.0)
    return _push(torch.stack(target, dim=1) - position, velocity, card)


def silent(observation: Tensor, card: TaskCard) -> Tensor:
    """Speaker-listener and reference, uncoordinated: the best that can be done without a message.

    The mover goes to the point of least expected cost when each of the three landmarks is equally likely:
    their centroid for the squared distance of speaker-listener, their geometric median for the distance of
    reference. Word 0 is all that is ever said. Each agent reads its own observation only.
    """
    move = _push(_uninformed(observation, card), observation[..., 0:2], card)
    return _speak(move, torch.zeros_like(observation[..., 0], dtype=torch.int64), card)


def signal(observation: Tensor, card: TaskCard) -> Tensor:
    """Speaker-listener and reference, coordinated: say the goal's index, go to the landmark that was named.

    Until the first word arrives (it takes one step) the mover does as in :func:`silent`. Each agent reads
    its own observation only: the agreement on what a word means is the coordination.
    """
    if _scenario(card) == "simple_speaker_listener":
        word = observation[..., :3].argmax(dim=-1)  # of the speaker; _speak drops the listener's
        heard = observation[..., 8:11]
    else:
        word, heard = observation[..., 8:11].argmax(dim=-1), observation[..., 11:14]
    named = _take(_landmarks(observation), heard.argmax(dim=-1))
    target = torch.where(heard.sum(dim=-1, keepdim=True) > 0.5, named, _uninformed(observation, card))
    return _speak(_push(target, observation[..., 0:2], card), word, card)


SCRIPTS: dict[str, Script] = {f.__name__: f for f in (nearest, assignment, silent, signal)}
# What an agent's action depends on within one step: its own observation, or all of them.
reads: dict[str, Reads] = {"nearest": "own", "assignment": "all", "silent": "own", "signal": "own"}
_SPREAD_SCRIPTS = ("nearest", "assignment")


def supports(script: str, card: TaskCard) -> bool:
    """Whether a script can play a task.

    Raises:
        UnknownName: for a script that does not exist.
    """
    if script not in SCRIPTS:
        raise UnknownName("script", script, SCRIPTS, hint=f"Known scripts: {', '.join(sorted(SCRIPTS))}.")
    return card.family == "mpe" and (_scenario(card) == "simple_spread") == (script in _SPREAD_SCRIPTS)


# -- pieces ----------------------------------------------------------------------------------------------


def _scenario(card: TaskCard) -> str:
    return str(card.constructor["scenario"])


def _spread_view(observation: Tensor, card: TaskCard) -> tuple[Tensor, Tensor, Tensor]:
    """Own velocity and position [B, N, 2], landmarks relative to the agent [B, N, L, 2]."""
    n = card.num_agents
    landmark = observation[..., 4 : 4 + 2 * n].unflatten(-1, (n, 2))
    return observation[..., 0:2], observation[..., 2:4], landmark


def _landmarks(observation: Tensor) -> Tensor:
    """Landmarks relative to the agent [B, N, 3, 2], in both talking tasks (nonsense for a speaker)."""
    return observation[..., 2:8].unflatten(-1, (3, 2))


def _square(vector: Tensor) -> Tensor:
    return vector[..., 0].square() + vector[..., 1].square()


def _take(point: Tensor, index: Tensor) -> Tensor:
    """[B, N, L, 2] at index [B, N] -> [B, N, 2]."""
    return point.gather(2, index[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]


@cache
def _permutations(n: int, device: torch.device) -> Tensor:
    return torch.tensor(list(permutations(range(n))), device=device)  # [N!, N]


def _best_assignment(cost: Tensor) -> Tensor:
    """Landmark of each agent, int64 [B, N], least in total over all permutations of a cost [B, N, N]."""
    options = _permutations(cost.shape[1], cost.device)
    total = cost[:, 0, options[:, 0]]
    for agent in range(1, cost.shape[1]):
        total = total + cost[:, agent, options[:, agent]]
    return options[total.argmin(dim=1)]


def _greedy_assignment(cost: Tensor) -> Tensor:
    """As :func:`_best_assignment`, matching the cheapest pair left N times."""
    b, n, _ = cost.shape
    cost, chosen = cost.clone(), torch.zeros(b, n, dtype=torch.int64, device=cost.device)
    row = torch.arange(b, device=cost.device)
    for _ in range(n):
        pair = cost.flatten(1).argmin(dim=1)
        agent, landmark = pair // n, pair % n
        chosen[row, agent] = landmark
        cost[row, agent, :] = math.inf
        cost[row, :, landmark] = math.inf
    return chosen


def _uninformed(observation: Tensor, card: TaskCard) -> Tensor:
    """Point of least expected cost over the three landmarks, relative to the agent [B, N, 2]."""
    landmark = _landmarks(observation)
    if _scenario(card) == "simple_speaker_listener":
        return landmark.mean(dim=2)
    # Geometric median (Fermat point). Its barycentric weight at a corner of angle t is proportional to
    # 1 / sin(t + 60 degrees) over the two sides, which is 1 / (|cross| + sqrt(3) dot); at 120 degrees and
    # more the corner itself is the median, which the clamp gives, coincident landmarks included.
    weight = []
    for k in range(3):
        one, two = landmark[:, :, k - 1] - landmark[:, :, k], landmark[:, :, k - 2] - landmark[:, :, k]
        cross = (one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]).abs()
        dot = one[..., 0] * two[..., 0] + one[..., 1] * two[..., 1]
        weight.append(1.0 / (cross + math.sqrt(3.0) * dot).clamp(min=1e-12))
    total = weight[0] + weight[1] + weight[2]
    return sum((landmark[:, :, k] * (weight[k] / total)[..., None] for k in range(3)), start=torch.zeros(()))


def _wanted_velocity(way: Tensor) -> Tensor:
    """Largest velocity that full braking brings to rest within ``way``; inverse of the stopping distance.

    Stopping from v takes 0.1 (v + v' + v'' + ...) with v' = max(0, 0.75 v - 0.5): piecewise linear, three
    pieces up to the greatest possible velocity of 2.
    """
    d = way.abs()
    speed = torch.minimum(10 * d, torch.minimum((d + 0.05) / 0.175, (d + 0.1375) / 0.23125))
    return torch.copysign(speed, way)


def _push(way: Tensor, velocity: Tensor, card: TaskCard) -> Tensor:
    """Motor action towards a point ``way`` [B, N, 2] off: int64 [B, N] or float32 [B, N, 5]."""
    missing = (_wanted_velocity(way - 0.1 * velocity) - 0.75 * velocity) / PUSH  # in full pushes
    if card.action_kind == "continuous":
        plus, minus = missing.clamp(0.0, 1.0), (-missing).clamp(0.0, 1.0)
        still = torch.zeros_like(plus[..., 0])
        return torch.stack((still, minus[..., 0], plus[..., 0], minus[..., 1], plus[..., 1]), dim=-1)
    along_x = missing[..., 0].abs() >= missing[..., 1].abs()
    strength = torch.where(along_x, missing[..., 0], missing[..., 1])
    direction = torch.where(along_x, 1, 3) + (strength > 0).to(torch.int64)
    return torch.where(strength.abs() > 0.5, direction, 0)


def _speak(move: Tensor, word: Tensor, card: TaskCard) -> Tensor:
    """Join motor action and word [B, 2] into the task's actions."""
    discrete = card.action_kind == "discrete"
    if _scenario(card) == "simple_reference":
        return move + 5 * word if discrete else torch.cat((move, _one_hot(word, 10, move)), dim=-1)
    if discrete:
        return torch.stack((word[:, 0], move[:, 1]), dim=1)
    return torch.stack((_one_hot(word[:, 0], 5, move), move[:, 1]), dim=1)


def _one_hot(word: Tensor, size: int, like: Tensor) -> Tensor:
    return (word[..., None] == torch.arange(size, device=word.device)).to(like.dtype)


# -- measuring -------------------------------------------------------------------------------------------


def uniform_actions(keys: Tensor, card: TaskCard) -> Tensor:
    """Uniform-random actions from one int64 key per environment [B] (fold the step in first)."""
    agent = torch.arange(card.num_agents, device=keys.device)
    keys = rng.fold(keys[:, None], agent)
    if card.action_kind == "discrete":
        return rng.integers(keys, torch.tensor(card.action_sizes, device=keys.device))
    return rng.uniform32(rng.fold(keys[..., None], torch.arange(card.action_size, device=keys.device)))


def measure(task: str, script: str | None, episodes: int, seed: int = 0) -> Tensor:
    """Team returns (summed over agents and steps) of a script, or of random play: float64 [episodes]."""
    card, batch = task_card(task), min(_BATCH, episodes)
    env = make_env(card, batch)
    observation = env.reset(rng.env_keys([seed], rng.Stream.USER, batch)).observation
    keys = rng.env_keys([seed], rng.Stream.ACTION, batch)
    returns = []
    for episode in range(math.ceil(episodes / batch)):
        total = torch.zeros(batch, dtype=torch.float64)
        for step in range(card.horizon):
            if script is None:
                actions = uniform_actions(rng.fold(keys, episode, step), card)
            else:
                actions = SCRIPTS[script](observation, card)
            transition = env.step(actions)
            observation = transition.observation
            total += transition.reward.to(torch.float64).sum(dim=1)
        returns.append(total)
    return torch.cat(returns)[:episodes]


def main(arguments: list[str] | None = None) -> int:
    """Measure random, uncoordinated and best script on one task; print the block for ``cards/mpe.yaml``."""
    parser = argparse.ArgumentParser(prog="python -m rlnet_bench.envs.mpe.policies", description=main.__doc__)
    parser.add_argument("task")
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.episodes < 2:
        parser.error("--episodes: a standard error needs at least 2 episodes")
    torch.set_num_threads(1)
    try:
        card = task_card(options.task)
        scripts = [s for s in SCRIPTS if supports(s, card)]  # uncoordinated before best
        if not scripts:
            raise BadInput(f"{options.task}: the scripts play the mpe family, found family {card.family!r}.")
    except RlnetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    command = f"{parser.prog} {options.task} --episodes {options.episodes} --seed {options.seed}"
    points: dict[str, dict[str, float | int | str | bool]] = {}
    for point, script in zip(("random", "uncoordinated", "best"), (None, *scripts)):
        returns = measure(options.task, script, options.episodes, options.seed)
        points[point] = {
            "value": round(float(returns.mean()), 4),
            "se": round(float(returns.std()) / math.sqrt(len(returns)), 4),
            "n": len(returns),
            "policy": script or "random",
            "command": command,
            "provisional": False,
        }
        if script is None:
            print(f"# floor of {options.task}: {math.floor(float(returns.min()))}")
    print(yaml.safe_dump({options.task: points}, sort_keys=False, width=200), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
