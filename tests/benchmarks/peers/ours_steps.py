"""Our side of a comparison of stepping: uniform play, resets included. Usage: ``ours_steps.py TASK ENVS``."""

from __future__ import annotations

import sys

import torch
from turns import Turns

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env, task_card


def main(task: str, envs: int) -> None:
    """Step for ever, in turns; actions are drawn as they are needed, as the peer does."""
    torch.set_num_threads(1)
    card = task_card(task)
    keys, agents = rng.env_keys([0], rng.Stream.USER, envs), torch.arange(card.num_agents)
    env = make_env(card, envs)
    env.reset(keys)
    turns, step = Turns(), 0
    while True:
        for _ in range(card.horizon):
            env.step(rng.integers(rng.fold(keys[:, None], step, agents), card.action_size))
            step += 1
        turns(card.horizon * envs)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
