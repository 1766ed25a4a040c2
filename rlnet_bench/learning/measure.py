"""Reference points of a card: mean team return of random play and of the task's scripts, and the floor.

``python -m rlnet_bench.learning.measure TASK --policy ROLE --episodes N`` prints the points of ``envs/cards/*.yaml``.
"""

from __future__ import annotations

import argparse
import math
import sys

import torch
import yaml
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.envs.scripts import ROLES, script, scripts_of
from rlnet_bench.errors import BadInput, RlnetError
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.untrained import ScriptPolicy, UniformPolicy

_BATCH = 512


def script_of(card: TaskCard, role: str) -> str:
    """Name of the script that plays a task uncoordinated or coordinated.

    Raises:
        BadInput: for tasks that have none.
    """
    known = dict(zip(ROLES, scripts_of(card)))
    if role not in known:
        raise BadInput(f"{card.id}: expected a task with a script for `{role}` play, found {known or 'no script'}.")
    return known[role]


def measured(card: TaskCard, name: str | None, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Team returns and success, float64 [episodes] each; every episode is a first one.

    Args:
        card: the task.
        name: a script's, or None for uniform-random play.
        episodes: how many.
        seed: of the initial states and of random play.
    """
    batch, returns, success = min(_BATCH, episodes), [], []
    env = make_env(card, batch)
    for round_ in range(math.ceil(episodes / batch)):
        key = rng.fold_int(seed, round_)
        policy = UniformPolicy(card, 1) if name is None else ScriptPolicy(script(card, name), card, 1)
        played = evaluate(policy, card, [key], batch, stream=rng.Stream.USER, mode="sampled", env=env)
        returns.append(torch.from_numpy(played.team[0]))
        success.append(torch.from_numpy(played.success[0]).to(torch.float64))
    return torch.cat(returns)[:episodes], torch.cat(success)[:episodes]


def main(arguments: list[str] | None = None) -> int:
    """Measure a policy on tasks; print its points, and the floors of random play."""
    parser = argparse.ArgumentParser(prog="python -m rlnet_bench.learning.measure", description=main.__doc__)
    parser.add_argument("task", nargs="+")
    parser.add_argument("--policy", choices=("random", *ROLES), default="random")
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.episodes < 2:
        parser.error("--episodes: a standard error needs at least 2 episodes")
    torch.set_num_threads(1)
    try:
        for task in options.task:
            card = task_card(task)
            name = None if options.policy == "random" else script_of(card, options.policy)
            returns, success = measured(card, name, options.episodes, options.seed)
            which = f"--policy {options.policy} " if name else ""
            command = f"{parser.prog} {task} {which}--episodes {options.episodes} --seed {options.seed}"
            point = {
                "value": round(float(returns.mean()), 4),
                "se": round(float(returns.std()) / math.sqrt(len(returns)), 4),
                "n": len(returns),
                "policy": name or "random",
                "command": command,
                "provisional": False,
            }
            lowest = "" if name else f"floor of {task}: {_round_down(float(returns.min()))}; "
            print(f"# {lowest}success {float(success.mean()):.4f}")
            print(yaml.safe_dump({task: {options.policy: point}}, sort_keys=False, width=1000), end="", flush=True)
    except RlnetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _round_down(value: float) -> float:
    """To a tenth, away from zero where it is negative."""
    return math.floor(value * 10) / 10


if __name__ == "__main__":
    raise SystemExit(main())
