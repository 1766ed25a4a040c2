"""Cards of foreign tasks: any PettingZoo ``ParallelEnv``, named by where its factory is.

This family is a door, not a catalogue: it publishes no ids. See :mod:`rlnet_bench.envs.pettingzoo.door`
for the form of an id, for instance ``mpe2.simple_spread_v3:parallel_env?N=4`` or
``my_env.py:make?horizon=100``.
"""

from __future__ import annotations

from functools import cache

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.pettingzoo.door import build, parse, source
from rlnet_bench.envs.pettingzoo.surface import describe
from rlnet_bench.trust import Code, demand


def ids() -> list[str]:
    """None: every importable environment is one."""
    return []


def card(task: str) -> TaskCard:
    """The card of a ParallelEnv, derived by building it once and resetting it with seed 0.

    Raises:
        Untrusted: nobody trusted this code (:mod:`rlnet_bench.trust`).
        BadInput: it cannot be found, is not a ParallelEnv, has unsupported spaces or no known horizon.
        MissingExtra: pettingzoo is not installed.
    """
    parse(task)
    return _derived(task, demand(task))


@cache
def _derived(task: str, code: Code) -> TaskCard:
    door = parse(task)
    env = build(door)
    try:
        plan = describe(door, env)
    finally:
        env.close()
    lows, highs = plan.lows or ((0.0,),), plan.highs or ((0.0,),)
    return TaskCard(
        id=task,
        family="pettingzoo",
        faithful_to=source(door),
        description=f"{door.factory} of {door.target}",
        constructor={"target": door.target, "factory": door.factory, "arguments": dict(door.arguments)},
        agents=plan.agents,
        horizon=plan.horizon,
        action_kind=plan.action_kind,  # type: ignore[arg-type]
        action_sizes=plan.action_sizes,
        observation_sizes=plan.observation_sizes,
        state_size=plan.state_size,
        state=door.state,  # type: ignore[arg-type]
        reward_scale="the environment's own, per agent; 0 for an agent that is not alive",
        shared_reward=False,
        success_metric="success",
        success_description="info['success'] at the end of the episode, averaged over the agents that "
        "report it; 0 where none does",
        floor=door.floor,
        action_low=min(min(row) for row in lows),
        action_high=max(max(row) for row in highs),
        action_lows=plan.lows,
        action_highs=plan.highs,
        masked=plan.masked,
        can_terminate=True,
        deviations=(
            "continuous actions are clipped to their bounds",
            "episodes are cut at the horizon even if the environment would go on",
        ),
    )
