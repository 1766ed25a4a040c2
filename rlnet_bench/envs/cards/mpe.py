"""Cards of the MPE family, faithful to mpe2 1.1.1.

Ids: ``mpe/simple_spread-<kind>-v1`` (three agents), ``mpe/simple_spread-n<N>-<kind>-v1`` (any N >= 2),
``mpe/simple_speaker_listener-<kind>-v1``, ``mpe/simple_reference-<kind>-v1``; kind is ``discrete`` or
``continuous``.
"""

from __future__ import annotations

import re
from functools import cache

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards import references
from rlnet_bench.errors import BadInput, UnknownName

_FAITHFUL = "mpe2 1.1.1"
_HORIZON = 25
_KINDS = ("discrete", "continuous")
_GUARD = "coincident agents exert no contact force on each other (mpe2 divides by zero and stays NaN)"
_PATTERN = re.compile(r"mpe/(?P<name>[a-z_]+?)(-n(?P<agents>\d+))?-(?P<kind>discrete|continuous)-v1")


def ids() -> list[str]:
    """The published ids."""
    names = ("simple_spread", "simple_spread-n4", "simple_speaker_listener", "simple_reference")
    return [f"mpe/{name}-{kind}-v1" for name in names for kind in _KINDS]


@cache
def card(task: str) -> TaskCard:
    """The card of an MPE task id; spread is parametrised by its number of agents."""
    match = _PATTERN.fullmatch(task)
    builders = {
        "simple_spread": _spread,
        "simple_speaker_listener": _speaker_listener,
        "simple_reference": _reference,
    }
    if match is None or match["name"] not in builders:
        raise UnknownName("task", task, ids())
    if match["agents"] is not None and match["name"] != "simple_spread":
        raise BadInput(f"{task}: only simple_spread takes a number of agents (-n<N>); remove it.")
    agents = int(match["agents"] or 3)
    if not 2 <= agents <= 64:
        raise BadInput(f"{task}: simple_spread takes 2 to 64 agents, found {agents}.")
    if match["agents"] == "3":
        raise BadInput(f"{task}: three agents are the default; use {task.replace('-n3', '')!r}.")
    return builders[match["name"]](task, match["kind"], agents)


def resized(task: str, agents: int) -> str:
    """The id of the same task with another number of agents; raises BadInput where that is part of the rules."""
    match = _PATTERN.fullmatch(task)
    if match is None or match["name"] != "simple_spread":
        raise BadInput(f"{task}: its agents have roles; only simple_spread takes another number of them.")
    return f"mpe/simple_spread{'' if agents == 3 else f'-n{agents}'}-{match['kind']}-v1"


def _spread(task: str, kind: str, n: int) -> TaskCard:
    size = 4 + 2 * n + 2 * (n - 1) + 2 * (n - 1)
    return TaskCard(
        id=task,
        family="mpe",
        faithful_to=_FAITHFUL,
        description=f"{n} agents cover {n} landmarks without colliding",
        constructor={"scenario": "simple_spread", "N": n, "local_ratio": 0.5, "max_cycles": _HORIZON},
        agents=tuple(f"agent_{i}" for i in range(n)),
        horizon=_HORIZON,
        action_kind=kind,  # type: ignore[arg-type]
        action_sizes=(5,) * n,
        action_low=0.0,
        action_high=0.0 if kind == "discrete" else 1.0,
        observation_sizes=(size,) * n,
        state_size=size * n,
        state="concat",
        reward_scale="per agent 0.5 * (minus the sum over landmarks of the nearest agent's distance) "
        "+ 0.5 * (minus the number of agents it collides with)",
        shared_reward=False,
        success_metric="landmarks_covered",
        success_description="share of landmarks with an agent within 0.1 at the end of the episode",
        floor=_floor(task, -60.0 * n),
        references=references("mpe").get(task, {}),
        deviations=(_GUARD,),
    )


def _speaker_listener(task: str, kind: str, _: int) -> TaskCard:
    return TaskCard(
        id=task,
        family="mpe",
        faithful_to=_FAITHFUL,
        description="a speaker that sees the goal signals it to a listener that moves",
        constructor={"scenario": "simple_speaker_listener", "max_cycles": _HORIZON},
        agents=("speaker_0", "listener_0"),
        horizon=_HORIZON,
        action_kind=kind,  # type: ignore[arg-type]
        action_sizes=(3, 5),
        action_low=0.0,
        action_high=0.0 if kind == "discrete" else 1.0,
        observation_sizes=(3, 11),
        state_size=14,
        state="concat",
        reward_scale="per agent minus the squared distance from the listener to the goal landmark",
        shared_reward=True,
        success_metric="goal_reached",
        success_description="1 if the listener ends within 0.1 of the goal landmark, else 0",
        floor=_floor(task, -600.0),
        channel=True,
        references=references("mpe").get(task, {}),
    )


def _reference(task: str, kind: str, _: int) -> TaskCard:
    sizes = (50, 50) if kind == "discrete" else (15, 15)
    return TaskCard(
        id=task,
        family="mpe",
        faithful_to=_FAITHFUL,
        description="each of two agents knows only the other's goal landmark and must signal it",
        constructor={"scenario": "simple_reference", "local_ratio": 0.5, "max_cycles": _HORIZON},
        agents=("agent_0", "agent_1"),
        horizon=_HORIZON,
        action_kind=kind,  # type: ignore[arg-type]
        action_sizes=sizes,
        action_factors=(5, 10) if kind == "discrete" else None,  # a move and a word
        action_low=0.0,
        action_high=0.0 if kind == "discrete" else 1.0,
        observation_sizes=(21, 21),
        state_size=42,
        state="concat",
        reward_scale="per agent 0.5 * (mean over agents) + 0.5 * (own): minus the distance of the other "
        "agent to the landmark that this agent knows",
        shared_reward=False,
        success_metric="goals_reached",
        success_description="share of agents that end within 0.1 of their goal landmark",
        floor=_floor(task, -300.0),
        channel=True,
        references=references("mpe").get(task, {}),
    )


def _floor(task: str, fallback: float) -> float:
    """The worst of the random policy's measured episodes where it was measured, else a bound by hand."""
    return _FLOORS.get(task, fallback)


# Minimum team return of 100,000 episodes of the uniform-random policy, rounded down (see cards/mpe.yaml).
_FLOORS: dict[str, float] = {
    "mpe/simple_spread-discrete-v1": -286.0,
    "mpe/simple_spread-continuous-v1": -278.0,
    "mpe/simple_spread-n4-discrete-v1": -491.0,
    "mpe/simple_spread-n4-continuous-v1": -445.0,
    "mpe/simple_spread-n5-discrete-v1": -471.0,
    "mpe/simple_speaker_listener-discrete-v1": -521.0,
    "mpe/simple_speaker_listener-continuous-v1": -476.0,
    "mpe/simple_reference-discrete-v1": -135.0,
    "mpe/simple_reference-continuous-v1": -128.0,
}
