"""Cards of the VMAS family, faithful to vmas 1.5.2.

Ids: ``vmas/<name>-<kind>-v1``; kind is ``continuous`` or ``discrete``. ``vmas/<name>-n<N>-<kind>-v1`` has N agents
(2 to 16), where the scenario takes another number, with everything else as it is. Arguments, numbers of agents and
horizons are BenchMARL's, so that its published curves can be compared; where that package rewards agents
individually, a shared variant has an id of its own (``navigation-shared``, ``sampling``).

``vmas:my_scenario.py`` names a scenario file of the user, ``vmas:football`` any scenario of the package;
arguments follow a colon: ``vmas:my_scenario.py:n_agents=3,max_steps=200,action=discrete``. Such a card is
derived by making the scenario once.

The sizes below are data, so that listing tasks needs neither vmas nor torch; a test compares them with the
real scenarios.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards import references
from rlnet_bench.envs.vmas.tasks import FLOORS, KNOWN_WRONG, TASKS, Task
from rlnet_bench.errors import BadInput, UnknownName

FAITHFUL = "vmas 1.5.2"
KINDS = ("continuous", "discrete")
CLAMPED = "continuous actions beyond the bounds are clamped to them (VMAS raises an error)"
INDEPENDENT = (
    "VMAS draws once per reset what this scenario spawns for the whole batch ({what}); here every environment "
    "draws its own at reset(seeds), and those that end an episode on the same step share one draw"
)
_PATTERN = re.compile(r"vmas/(?P<name>[a-z_-]+?)(-n(?P<agents>\d+))?-(?P<kind>continuous|discrete)-v1")


ONCE_PER_BATCH = frozenset(t.scenario for t in TASKS.values() if t.once_per_batch)
_VARIANTS = {"navigation": ("navigation-shared", "navigation-individual")}


def ids() -> list[str]:
    """The published ids."""
    return [f"vmas/{name}-{kind}-v1" for name in TASKS for kind in KINDS]


def refuse_known_wrong(scenario: str) -> None:
    """Raise :class:`BadInput` for a scenario whose rewards or goals are known to be wrong."""
    name = scenario.removeprefix("mpe/").removesuffix(".py")
    if name in KNOWN_WRONG:
        raise BadInput(f"VMAS's {name} is not offered: {KNOWN_WRONG[name]}.")


def card(task: str) -> TaskCard:
    """The card of a published id, or of a user's ``vmas:`` task.

    Raises:
        UnknownName: with the nearest known id.
        BadInput: for scenarios that are known to be wrong, and for user's tasks that cannot be made.
        MissingExtra: for user's tasks, when vmas is not installed.
    """
    if task.startswith("vmas:"):
        from rlnet_bench.envs.vmas.user import derive_card

        return derive_card(task)
    return _published(task)


@cache
def _published(task: str) -> TaskCard:
    match = _PATTERN.fullmatch(task)
    name = match["name"] if match else task.removeprefix("vmas/").split("-")[0]
    refuse_known_wrong(name)
    if match is not None and name in _VARIANTS:
        known = " and ".join(f"vmas/{v}-{match['kind']}-v1" for v in _VARIANTS[name])
        raise BadInput(f"{task}: comes in two variants, {known}; name one of them.")
    if match is None or name not in TASKS:
        raise UnknownName("task", task, ids())
    published = TASKS[name]
    if match["agents"] is None:
        return _build(task, published, match["kind"])
    if "n_agents" not in published.arguments:
        raise BadInput(f"{task}: its agents have roles; {name} does not take another number of them.")
    agents, usual = int(match["agents"]), f"vmas/{name}-{match['kind']}-v1"
    if not 2 <= agents <= 16:
        raise BadInput(f"{task}: expected 2 to 16 agents, found {agents}.")
    if agents == published.agents:
        raise BadInput(f"{task}: {agents} agents are the default; use {usual!r}.")
    arguments = {**published.arguments, "n_agents": agents}
    floor = FLOORS.get(usual, 0.0) * agents / published.agents
    return _build(task, replace(published, arguments=arguments, agents=agents), match["kind"], floor)


def resized(task: str, agents: int) -> str:
    """The id of the same task with another number of agents; raises BadInput where that is part of the rules."""
    match = _PATTERN.fullmatch(task)
    if match is None or "n_agents" not in TASKS[match["name"]].arguments:
        raise BadInput(f"{task}: its number of agents cannot be changed.")
    usual = agents == TASKS[match["name"]].agents
    return f"vmas/{match['name']}{'' if usual else f'-n{agents}'}-{match['kind']}-v1"


def _build(task: str, t: Task, kind: str, floor: float | None = None) -> TaskCard:
    deviations: tuple[str, ...] = (CLAMPED,) if kind == "continuous" else ()
    if t.once_per_batch:
        deviations += (INDEPENDENT.format(what=t.once_per_batch),)
    return TaskCard(
        id=task,
        family="vmas",
        faithful_to=FAITHFUL,
        description=t.description if floor is None else f"{t.description} (with {t.agents} agents instead)",
        constructor={"scenario": t.scenario, **t.arguments},
        agents=tuple(f"agent_{i}" for i in range(t.agents)),
        horizon=t.horizon,
        action_kind=kind,  # type: ignore[arg-type]
        action_sizes=(9 if kind == "discrete" else 2,) * t.agents,
        action_low=0.0 if kind == "discrete" else -t.force,
        action_high=0.0 if kind == "discrete" else t.force,
        observation_sizes=(t.observation,) * t.agents,
        state_size=t.observation * t.agents,
        state="concat",
        reward_scale=t.reward,
        shared_reward=t.shared,
        success_metric=t.success,
        success_description=t.success_description,
        floor=FLOORS.get(task, 0.0) if floor is None else floor,
        can_terminate=t.terminates,
        batch_invariant=False,
        references=references("vmas").get(task, {}),
        deviations=deviations,
    )
