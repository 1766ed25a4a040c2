"""Cards of the user's own VMAS tasks, derived by instantiating the scenario once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards.vmas import CLAMPED, KINDS, refuse_known_wrong
from rlnet_bench.envs.registry import make_env
from rlnet_bench.envs.vmas.scenario import build, package, scenario_code
from rlnet_bench.envs.vmas.state import UncapturedState, capture
from rlnet_bench.envs.vmas.stream import Stream
from rlnet_bench.errors import BadInput, RlnetError, said, shown
from rlnet_bench.reading.yaml import load

_HORIZON = 100  # of a task that does not say
_FLOOR_EPISODES = 32
_DRAFTED = 3  # environments of the draft; unlike the two dimensions of a position, so that swapped axes show


def derive_card(task: str) -> TaskCard:
    """The card of ``vmas:<scenario>[:argument=value,...]``, made by instantiating the scenario once.

    ``<scenario>`` is a file with a class ``Scenario`` or the name of a scenario of the package. Two arguments
    are ours: ``max_steps`` (100 by default) and ``action`` (``continuous`` or ``discrete``).

    Raises:
        Untrusted: nobody trusted the file (:mod:`rlnet_bench.trust`).
        BadInput: what is wrong with the id, the file, the arguments or the scenario.
        MissingExtra: when vmas is not installed.
    """
    _, name, *rest = task.split(":")
    if ".py?" in name:
        raise BadInput(f"{task}: expected vmas:<scenario>[:argument=value,...], found a question mark; say a colon.")
    if len(rest) > 1:
        raise BadInput(f"{task}: expected vmas:<scenario>[:argument=value,...], found {len(rest) + 1} colons.")
    refuse_known_wrong(name)
    arguments = _arguments(task, rest[0] if rest else "")
    source = scenario_code(task, name).sha256[:16]
    return _derive(task, name, source, _Frozen(arguments))


def _arguments(task: str, text: str) -> dict[str, Any]:
    arguments = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise BadInput(f"{task}: expected argument=value, found {part!r}.")
        arguments[key] = load(value, f"task {shown(task)}: {key}").data
    return arguments


class _Frozen(dict[str, Any]):
    """Arguments as a cache key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items())))


@cache
def _derive(task: str, name: str, source: str, arguments: Mapping[str, Any]) -> TaskCard:
    ours = dict(arguments)
    kind, horizon = ours.pop("action", "continuous"), ours.pop("max_steps", _HORIZON)
    if kind not in KINDS:
        raise BadInput(f"{task}: action: expected one of {', '.join(KINDS)}, found {kind!r}.")
    if type(horizon) is not int or horizon < 1:
        raise BadInput(f"{task}: max_steps: expected a positive integer, found {horizon!r}.")
    draft = TaskCard(
        id=task,
        family="vmas",
        faithful_to=f"vmas {version('vmas')}",
        description=f"the user's VMAS scenario {name}",
        constructor={"scenario": name, "source": source, **ours},
        agents=(),
        horizon=horizon,
        action_kind=kind,
        action_sizes=(),
        observation_sizes=(),
        state_size=0,
        state="concat",
        reward_scale="the scenario's, per agent",
        shared_reward=False,
        success_metric="done",
        success_description="1 if the scenario's done() ended the episode, else 0",
        floor=0.0,
        batch_invariant=False,
        deviations=(CLAMPED,) if kind == "continuous" else (),
    )
    with Stream(torch.device("cpu")):
        env = build(draft, _DRAFTED, "cpu")
        observations = [env.scenario.observation(agent) for agent in env.agents]
    for agent, observation in zip(env.agents, observations):
        found = tuple(observation.shape) if isinstance(observation, torch.Tensor) else type(observation).__name__
        if len(found) != 2 or found[0] != _DRAFTED:
            raise BadInput(
                f"{task}: observation of {agent.name}: expected a tensor [B, O], a row per environment, found {found} "
                f"where B = {_DRAFTED}."
            )
    return _with_floor(_with_sizes(draft, env, tuple(int(o.shape[1]) for o in observations)))


def _with_sizes(draft: TaskCard, env: Any, sizes: tuple[int, ...]) -> TaskCard:
    """The draft with everything that instantiating shows."""
    spaces = [env.get_agent_action_space(agent) for agent in env.agents]
    discrete = draft.action_kind == "discrete"
    base = package().simulator.scenario.BaseScenario
    return dataclasses.replace(
        draft,
        agents=tuple(agent.name for agent in env.agents),
        observation_sizes=sizes,
        state_size=sum(sizes),
        action_sizes=tuple(int(s.n if discrete else s.shape[0]) for s in spaces),
        action_lows=None if discrete else tuple(tuple(map(float, s.low)) for s in spaces),
        action_highs=None if discrete else tuple(tuple(map(float, s.high)) for s in spaces),
        can_terminate=type(env.scenario).done is not base.done,
        resumable=_can_be_captured(env),
    )


def _can_be_captured(env: Any) -> bool:
    try:
        capture(env)
    except UncapturedState:
        return False
    return True


def _with_floor(card: TaskCard) -> TaskCard:
    """The floor: the lowest of a few random episodes, rounded down to two digits."""
    try:
        lowest = float(_random_returns(card, _FLOOR_EPISODES).min())
    except RlnetError:
        raise
    except Exception as error:
        raise BadInput(f"{card.id}: the scenario raised at random play: {said(error)}.") from error
    if not math.isfinite(lowest):
        raise BadInput(f"{card.id}: random actions give a return of {lowest}; expected finite rewards.")
    unit = 10.0 ** (math.floor(math.log10(abs(lowest))) - 1) if lowest else 1.0
    return dataclasses.replace(card, floor=round(math.floor(lowest / unit) * unit, 12))


def _random_returns(card: TaskCard, episodes: int) -> torch.Tensor:
    """Team returns [E] float64 of uniform-random play; every episode is a first one."""
    env = make_env(card, episodes)
    keys = rng.env_keys((rng.fold_int(0, 0),), rng.Stream.USER, episodes)
    env.reset(keys)
    agents, numbers = torch.arange(card.num_agents), torch.arange(card.action_size)
    own = torch.tensor(card.action_sizes)[:, None]  # [N, 1]
    low, high = (_padded(bounds, card.action_size) for bounds in (card.action_lows, card.action_highs))
    returns, running = torch.zeros(episodes, dtype=torch.float64), torch.ones(episodes, dtype=torch.bool)
    for step in range(card.horizon):
        key = rng.fold(rng.fold(rng.fold(keys, int(rng.Stream.ACTION)), step)[:, None], agents)  # [E, N]
        if card.action_kind == "discrete":
            action = (rng.uniform32(key) * own[:, 0]).long()
        else:
            action = (low + (high - low) * rng.uniform32(rng.fold(key[..., None], numbers))) * (numbers < own)
        played = env.step(action)
        returns += torch.where(running, played.reward.to(torch.float64).sum(dim=1), 0.0)
        running &= ~(played.terminated | played.truncated)
    return returns


def _padded(bounds: tuple[tuple[float, ...], ...] | None, width: int) -> torch.Tensor:
    """Bounds [N, A] of continuous actions, zero where an agent has fewer dimensions."""
    rows = bounds or ()
    return torch.tensor([[*row, *(0.0,) * (width - len(row))] for row in rows])
