"""Stepping Jumanji's level-based foraging (8x8, two players, two foods, cooperation forced, full sight, 50 steps).

Runs in an environment of its own (``jumanji.txt``). One jitted call is an episode's length of uniform play under
``lax.scan``, with automatic resets. Usage: ``jumanji_lbf.py ENVS``.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
from jumanji.environments.routing.lbf.env import LevelBasedForaging
from jumanji.environments.routing.lbf.generator import RandomGenerator
from jumanji.wrappers import VmapAutoResetWrapper
from turns import Turns

STEPS, AGENTS, ACTIONS = 50, 2, 6


def main(envs: int) -> None:
    """Step for ever, in turns."""
    generator = RandomGenerator(grid_size=8, fov=8, num_agents=AGENTS, num_food=2, force_coop=True)
    env: Any = VmapAutoResetWrapper(LevelBasedForaging(generator=generator, time_limit=STEPS))

    def step(carry: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], Any]:
        state, key = carry
        key, own = jax.random.split(key)
        state, timestep = env.step(state, jax.random.randint(own, (envs, AGENTS), 0, ACTIONS))
        return (state, key), timestep.reward.sum()

    play = jax.jit(lambda carry: jax.lax.scan(step, carry, None, STEPS), donate_argnums=0)
    turns, key = Turns(), jax.random.PRNGKey(0)
    carry = (env.reset(jax.random.split(key, envs))[0], key)
    while True:
        carry, _ = jax.block_until_ready(play(carry))
        turns(STEPS * envs)


if __name__ == "__main__":
    main(int(sys.argv[1]))
