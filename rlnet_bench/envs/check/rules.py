"""Checks that read one recording: shapes, flags, horizon, padding, masks, rewards, success, card.

A rule returns a sentence when it holds, and raises :class:`Violation` or :class:`Skip`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.check.play import AT_ENDS, Recording, Subject
from rlnet_bench.envs.contract import Reset, Transition

Rule = Callable[[Subject], str]
RULES: list[Rule] = []  # filled by the decorator below, here and in the other _check modules
_OPTIONAL = ("action_mask", "alive_mask", "final_action_mask", "final_alive_mask")


class Violation(Exception):
    """Raised by a rule that does not hold; lists what was expected, found, and where."""

    def __init__(self, *found: str) -> None:
        more = f"; and {len(found) - 6} more" if len(found) > 6 else ""
        super().__init__("; ".join(found[:6]) + more)


class Skip(Exception):
    """Raised by a rule that does not apply; says why."""


def rule(function: Rule) -> Rule:
    """Register a rule; its function name is the check's name."""
    RULES.append(function)
    return function


def require(found: list[str]) -> None:
    """Raise a :class:`Violation` if anything was found."""
    if found:
        raise Violation(*found)


@rule
def card(subject: Subject) -> str:
    """The card is consistent in itself and is the one that the environment carries."""
    c, n = subject.card, subject.card.num_agents
    found = []

    def expect(claim: bool, sentence: str) -> None:
        if not claim:
            found.append(sentence)

    expect(n >= 1 and len(set(c.agents)) == n, f"agents: expected distinct names, found {c.agents}")
    for name in ("action_sizes", "observation_sizes"):
        sizes = getattr(c, name)
        expect(len(sizes) == n and min(sizes) >= 1, f"{name}: expected {n} positive numbers, found {sizes}")
    expect(c.horizon >= 1, f"horizon: expected at least 1, found {c.horizon}")
    total = sum(c.observation_sizes)
    expect(
        c.state != "concat" or c.state_size == total,
        f"state_size: expected {total} (state is the concatenated observations), found {c.state_size}",
    )
    if c.action_kind == "continuous":
        lows = c.action_lows or ((c.action_low,),)
        highs = c.action_highs or ((c.action_high,),)
        pairs = [(x, y) for row in zip(lows, highs) for x, y in zip(*row)]
        expect(all(x < y for x, y in pairs), f"action bounds: expected low < high, found {pairs[:4]}")
        expect(not c.masked, "masked: expected False for continuous actions")
    expect(torch.isfinite(torch.tensor(c.floor)).item() is True, f"floor: expected a finite score: {c.floor}")
    try:
        c.hash()
    except TypeError as error:
        found.append(f"hash: expected constructor arguments that JSON can hold: {error}")
    with subject.fresh() as env:
        expect(env.num_envs == subject.num_envs, f"num_envs: expected {subject.num_envs}, found {env.num_envs}")
        device = torch.device(subject.device).type
        expect(torch.device(env.device).type == device, f"device: expected {device}, found {env.device}")
        expect(env.card == c, f"card: expected that of {c.id}, the environment carries {env.card.id}")
    require(found)
    return f"{n} agents, {c.action_kind} actions, horizon {c.horizon}"


def _expected(subject: Subject, name: str) -> tuple[tuple[int, ...], torch.dtype]:
    c, b = subject.card, subject.num_envs
    agents = (b, c.num_agents)
    kind = name.removeprefix("final_")
    shapes = {
        "observation": (*agents, c.observation_size),
        "state": (b, c.state_size),
        "reward": agents,
        "agent_terminated": agents,
        "action_mask": (*agents, c.action_size),
        "alive_mask": agents,
    }
    floats = ("observation", "state", "reward", "success")
    return shapes.get(kind, (b,)), torch.float32 if kind in floats else torch.bool


def _misfits(subject: Subject, values: Reset | Transition, where: str) -> list[str]:
    found = []
    for name, value in values._asdict().items():
        shape, dtype = _expected(subject, name)
        if value is None and name in _OPTIONAL:
            continue
        if not isinstance(value, Tensor):
            found.append(f"{where}.{name}: expected a tensor, found {type(value).__name__}")
        elif tuple(value.shape) != shape or value.dtype != dtype:
            found.append(f"{where}.{name}: expected {dtype} {list(shape)}, found {value.dtype} {list(value.shape)}")
        elif value.device.type != torch.device(subject.device).type:
            found.append(f"{where}.{name}: expected on {subject.device}, found on {value.device}")
    return found


@rule
def tensors(subject: Subject) -> str:
    """Shape, dtype and device of every field of ``Reset`` and of every ``Transition``."""
    main = subject.main
    found = _misfits(subject, main.start, "reset()")
    for t, step in enumerate(main.steps):
        found += _misfits(subject, step, f"step {t}")
        if found:
            break  # the same misfit at every later step would only repeat
    for name in _OPTIONAL:
        present = {getattr(step, name) is not None for step in main.steps}
        if hasattr(main.start, name):
            present.add(getattr(main.start, name) is not None)
        if len(present) > 1:
            found.append(f"{name}: expected None always or never, found both")
    require(found)
    return f"all fields over {len(main.steps)} steps"


@rule
def flags(subject: Subject) -> str:
    """``terminated`` and ``truncated`` are never both set."""
    both = subject.main.tensor("terminated") & subject.main.tensor("truncated")
    if bool(both.any()):
        t, i = (int(x) for x in both.nonzero()[0])
        raise Violation(f"step {t}, environment {i}: expected at most one of terminated and truncated, found both")
    return f"{int(subject.main.ended.sum())} episode ends"


@rule
def horizon(subject: Subject) -> str:
    """Truncation exactly at the card's horizon; termination only where the card allows it."""
    c, main, found = subject.card, subject.main, []
    terminated, truncated = main.tensor("terminated").cpu(), main.tensor("truncated").cpu()
    length = torch.zeros(subject.num_envs, dtype=torch.int64)
    for t, (term, trunc) in enumerate(zip(terminated, truncated)):
        length += 1
        at_limit = length >= c.horizon
        for i in (trunc & (length != c.horizon)).nonzero().flatten().tolist():
            found.append(
                f"step {t}, environment {i}: expected truncation after {c.horizon} steps, found after {int(length[i])}"
            )
        for i in (at_limit & ~trunc & ~term).nonzero().flatten().tolist():
            found.append(f"step {t}, environment {i}: expected the end after {c.horizon} steps, found none")
        if not c.can_terminate:
            for i in term.nonzero().flatten().tolist():
                found.append(f"step {t}, environment {i}: terminated, but the card says can_terminate=False")
        length[term | trunc | at_limit] = 0
        if len(found) > 6:
            break
    require(found)
    return f"{int(truncated.sum())} truncations at {c.horizon} steps, {int(terminated.sum())} terminations"


@rule
def finite(subject: Subject) -> str:
    """No NaN and no infinity anywhere in the random play."""
    main, found = subject.main, []
    for name in ("observation", "state"):
        if not bool(torch.isfinite(getattr(main.start, name)).all()):
            found.append(f"reset().{name}: not finite")
    for name in ("observation", "state", "reward", "final_observation", "final_state", "success"):
        bad = ~torch.isfinite(main.tensor(name))
        bad = bad.flatten(2).any(-1) if bad.dim() > 2 else bad
        bad = bad & main.ended if name in AT_ENDS else bad
        if bool(bad.any()):
            t, i = (int(x) for x in bad.nonzero()[0])
            found.append(f"{name}: not finite, first at step {t}, environment {i}")
    require(found)
    return f"{len(main.steps)} random steps of {subject.num_envs} environments"


def _observations(main: Recording) -> list[tuple[str, Tensor, Tensor]]:
    """(name, observations [M, N, O], states [M, S]) of everything that may be looked at."""
    at = main.ended
    return [
        ("reset()", main.start.observation, main.start.state),
        ("observation", main.tensor("observation").flatten(0, 1), main.tensor("state").flatten(0, 1)),
        ("final_observation", main.tensor("final_observation")[at], main.tensor("final_state")[at]),
    ]


@rule
def padding(subject: Subject) -> str:
    """The observations of narrow agents are followed by exact zeros."""
    c, found = subject.card, []
    narrow = [i for i, size in enumerate(c.observation_sizes) if size < c.observation_size]
    if not narrow:
        raise Skip(f"all agents observe {c.observation_size} numbers")
    for name, observation, _ in _observations(subject.main):
        for i in narrow:
            if bool((observation[:, i, c.observation_sizes[i] :] != 0).any()):
                found.append(f"{name}, agent {c.agents[i]}: expected zeros from {c.observation_sizes[i]} on")
    require(found)
    return f"{len(narrow)} narrow agents"


@rule
def concatenated_state(subject: Subject) -> str:
    """Where the card says ``state: concat``, the state is the unpadded observations side by side."""
    c, found = subject.card, []
    if c.state != "concat":
        raise Skip("the task has a state of its own")
    for name, observation, state in _observations(subject.main):
        parts = [observation[:, i, :size] for i, size in enumerate(c.observation_sizes)]
        if not torch.equal(torch.cat(parts, dim=1), state):
            found.append(f"{name}: expected the state to be the concatenated observations")
    require(found)
    return f"{c.state_size} numbers"


@rule
def masks(subject: Subject) -> str:
    """Masked options beyond an agent's own, at least one legal action, a mask where the card has one."""
    c, main, found = subject.card, subject.main, []
    if c.masked and main.start.action_mask is None:
        raise Violation("action_mask: the card says masked=True, expected a mask, found None")
    if main.start.action_mask is None:
        raise Skip("every action is always legal")
    values: list[tuple[str, Any]] = [("reset().action_mask", main.start.action_mask)]
    values.append(("action_mask", main.tensor("action_mask").flatten(0, 1)))
    values.append(("final_action_mask", main.tensor("final_action_mask")[main.ended]))
    for name, mask in values:
        if not bool(mask.any(dim=-1).all()):
            found.append(f"{name}: expected at least one legal action per agent (dead agents too)")
        for i, size in enumerate(c.action_sizes):
            if bool(mask[:, i, size:].any()):
                found.append(f"{name}, agent {c.agents[i]}: expected False from option {size} on")
    require(found)
    return "legal everywhere"


@rule
def shared_reward(subject: Subject) -> str:
    """All agents receive the same number where the card says so."""
    if not subject.card.shared_reward:
        raise Skip("agents are rewarded individually")
    reward = subject.main.tensor("reward")
    unequal = (reward != reward[..., :1]).any(-1)
    if bool(unequal.any()):
        t, i = (int(x) for x in unequal.nonzero()[0])
        raise Violation(f"step {t}, environment {i}: expected one shared number, found {reward[t, i].tolist()}")
    return "equal for all agents"


@rule
def success(subject: Subject) -> str:
    """The success metric is in [0, 1] at every episode end."""
    values = subject.main.tensor("success")[subject.main.ended]
    bad = values[~((values >= 0) & (values <= 1))]
    if bad.numel():
        raise Violation(f"{subject.card.success_metric}: expected numbers in [0, 1], found {bad[:4].tolist()}")
    mean = float(values.mean())
    return f"{subject.card.success_metric}: mean {mean:.3f} over {values.numel()} random episodes"
