"""Reference points of VMAS tasks: the random policy's mean team return, and the floor."""

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
from rlnet_bench.errors import RlnetError
from rlnet_bench.learning.fixed import UniformPolicy
from rlnet_bench.runs.evaluate import evaluate

_BATCH = 512


def random_returns(card: TaskCard, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Team returns and success of uniform-random play, float64 [episodes] each; every episode is a first one."""
    batch, returns, success = min(_BATCH, episodes), [], []
    env = make_env(card, batch)
    for round_ in range(math.ceil(episodes / batch)):
        key = rng.fold_int(seed, round_)
        policy = UniformPolicy(card, 1)
        played = evaluate(policy, card, [key], batch, stream=rng.Stream.USER, mode="sampled", env=env)
        returns.append(torch.from_numpy(played.team[0]))
        success.append(torch.from_numpy(played.success[0]).to(torch.float64))
    return torch.cat(returns)[:episodes], torch.cat(success)[:episodes]


def main(arguments: list[str] | None = None) -> int:
    """Measure the random policy on VMAS tasks; print their blocks of ``cards/vmas.yaml`` and the floors."""
    parser = argparse.ArgumentParser(prog="python -m rlnet_bench.envs.vmas", description=main.__doc__)
    parser.add_argument("task", nargs="+")
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.episodes < 2:
        parser.error("--episodes: a standard error needs at least 2 episodes")
    torch.set_num_threads(1)
    try:
        for task in options.task:
            returns, success = random_returns(task_card(task), options.episodes, options.seed)
            command = f"python -m rlnet_bench.envs.vmas {task} --episodes {options.episodes} --seed {options.seed}"
            point = {
                "value": round(float(returns.mean()), 4),
                "se": round(float(returns.std()) / math.sqrt(len(returns)), 4),
                "n": len(returns),
                "policy": "random",
                "command": command,
                "provisional": False,
            }
            print(f"# floor of {task}: {_round_down(float(returns.min()))}; success {float(success.mean()):.4f}")
            print(yaml.safe_dump({task: {"random": point}}, sort_keys=False, width=1000), end="", flush=True)
    except RlnetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _round_down(value: float) -> float:
    """To a tenth, away from zero where it is negative."""
    return math.floor(value * 10) / 10
