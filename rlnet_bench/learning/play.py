"""Evaluation: play whole episodes with a frozen policy, on seeds that training never sees.

Axes: **R** replicas, **E** episodes, **N** agents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import unwrap

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Scene, VectorEnv
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.policy import Policy
from rlnet_bench.trust import typed
from rlnet_bench.vocabulary import Mode

CHUNK = 32  # original environments per replica that are alive at a time


@dataclass(frozen=True)
class Episodes:
    """What evaluation keeps of every episode."""

    returns: np.ndarray  # [R, E, N] float64, undiscounted, in the task's own reward scale
    success: np.ndarray  # [R, E] float32, the card's success metric
    length: np.ndarray  # [R, E] int64

    @property
    def team(self) -> np.ndarray:
        """[R, E] team returns, summed over agents."""
        return self.returns.sum(axis=2)


@torch.no_grad()
def evaluate(
    policy: Policy,
    card: TaskCard | str | None = None,
    seeds: Sequence[int] | None = None,
    episodes: int = 32,
    *,
    stream: rng.Stream = rng.Stream.EVALUATION_ENV,
    mode: Mode = "deterministic",
    device: str = "cpu",
    env: VectorEnv | None = None,
    keys: Tensor | None = None,
    on_step: Callable[[], None] | None = None,
) -> Episodes:
    """Play ``episodes`` episodes per replica, all at once.

    Args:
        policy: acts for R = len(seeds) replicas.
        card: the task, or its id; the one that a loaded policy was trained on by default.
        seeds: one per replica; 0, 1, ... by default.
            Episode e of seed s is the same initial state every time it is played
            under one ``stream``, for every method.
        episodes: E.
        stream: which family of initial states; disjoint from training's.
        mode: most likely actions, or sampled ones.
        device: torch device.
        env: a batch of R*E environments to reuse; made here when not given.
        keys: int64 [R*E] environment seeds; derived from ``seeds`` and ``stream`` when not given.
        on_step: called after the reset and after every step (recording).

    Raises:
        BadInput: for a policy that knows no task when none is given, a wrong number of seeds, no episodes, and
            actions that the task does not take.

    >>> evaluate(load_policy("my-store/runs/3f2a"), episodes=4).team.shape  # doctest: +SKIP
    (5, 4)
    """
    card = _played(policy, card)
    seeds = range(policy.replicas) if seeds is None else seeds
    if len(seeds) != policy.replicas:
        raise BadInput(f"seeds: expected one for each of the policy's {policy.replicas} replicas, found {len(seeds)}.")
    if episodes < 1:
        raise BadInput(f"episodes: expected at least 1, found {episodes}.")
    r = len(seeds)
    env = env or make_env(card, r * episodes, device)
    if keys is None:
        keys = rng.env_keys(tuple(seeds), stream, episodes, device)
    now = env.reset(keys)
    state = policy.initial_state(r * episodes, rng.fold(keys, int(rng.Stream.ACTION)))
    running = torch.ones(r * episodes, dtype=torch.bool, device=device)
    reset = running.clone()
    returns = torch.zeros(r * episodes, card.num_agents, dtype=torch.float64, device=device)
    length = torch.zeros(r * episodes, dtype=torch.int64, device=device)
    success = torch.zeros(r * episodes, device=device)
    if on_step:
        on_step()
    finite = torch.ones((), dtype=torch.bool, device=device)
    for _ in range(card.horizon):
        action, state = policy.act(now.observation, state, now.action_mask, reset, mode == "deterministic")
        check_shape(policy, action, card, r * episodes)
        finite = finite & action.isfinite().all()
        step = env.step(action)
        returns += torch.where(running[:, None], step.reward.to(torch.float64), 0.0)
        length += running
        done = step.terminated | step.truncated
        success = torch.where(running & done, step.success, success)
        running = running & ~done
        reset = done
        now = step  # type: ignore[assignment]
        if on_step:
            on_step()
        if card.can_terminate and not bool(running.any()):
            break
    # A diverged replica has no finite weights; whoever has, and acts in NaN, is mistaken.
    if not bool(finite) and all(bool(w.isfinite().all()) for w in policy.state_dict().values()):
        raise BadInput(f"{_act_of(policy)} returned actions that are not finite, though its weights are.")
    shape = (r, episodes)
    return Episodes(
        returns.view(*shape, -1).cpu().numpy(),
        success.view(shape).cpu().numpy(),
        length.view(shape).cpu().numpy(),
    )


def _played(policy: Policy, card: TaskCard | str | None) -> TaskCard:
    """The task as a card: the given one, else the policy's own."""
    found = policy.plays if card is None else card
    if found is None:
        raise BadInput(
            f"card: {type(policy).__name__} was not loaded from a run and knows no task; give one, such as "
            "evaluate(policy, 'mpe/simple_spread-discrete-v1')."
        )
    if isinstance(found, str):
        typed(found)
        return task_card(found)
    return found


def check_shape(policy: Policy, action: Tensor, card: TaskCard, num_envs: int) -> None:
    """Raise BadInput, naming the policy's file and line, when actions have another shape or type than the task's."""
    discrete = card.action_kind == "discrete"
    shape: tuple[int, ...] = (num_envs, card.num_agents) if discrete else (num_envs, card.num_agents, card.action_size)
    dtype = torch.int64 if discrete else torch.float32
    if tuple(action.shape) != shape or action.dtype != dtype:
        raise BadInput(
            f"{_act_of(policy)} returned actions of another kind than {card.id} takes: "
            f"expected {_kind(dtype, shape)}, found {_kind(action.dtype, tuple(action.shape))}."
        )


def _kind(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"


def _act_of(policy: Policy) -> str:
    code = unwrap(type(policy).act).__code__
    return f"{type(policy).__name__}.act ({code.co_filename}, line {code.co_firstlineno})"


def evaluate_on_reference(
    policy: Policy,
    card: TaskCard,
    seeds: Sequence[int],
    episodes: int,
    *,
    mode: Mode = "deterministic",
    device: str = "cpu",
) -> Episodes:
    """Play fresh episodes on the original package (see :func:`evaluate`).

    Initial states come from the original's own generators, so episodes are not those of the batched
    score: the two agree in distribution.
    """
    original = f"rlnet_bench.envs.reference:parallel_env?task={card.id}&horizon={card.horizon}"
    typed(original)
    door = task_card(original)
    r, chunk = len(seeds), min(CHUNK, episodes)
    env = make_env(door, r * chunk, device)
    keys = rng.env_keys(tuple(seeds), rng.Stream.ABSOLUTE_ENV, -(-episodes // chunk) * chunk, device).view(r, -1, chunk)
    playing = replace(card, can_terminate=True)
    try:
        parts = [
            evaluate(policy, playing, seeds, chunk, mode=mode, device=device, env=env, keys=keys[:, k].reshape(-1))
            for k in range(keys.shape[1])
        ]
    finally:
        env.close()
    torch.set_num_threads(1)
    joined = [np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ("returns", "success", "length")]
    return Episodes(*(x[:, :episodes] for x in joined))


def record_episode(
    policy: Policy, card: TaskCard, seed: int, mode: Mode = "deterministic"
) -> tuple[list[Scene], float]:
    """The scenes of one whole episode of a single-replica policy, one more than steps, and its team return."""
    scenes: list[Scene] = []
    env = make_env(card, 1)

    def look() -> None:
        scenes.append(env.scene(0))

    env.at_end = look
    played = evaluate(policy, card, [seed], 1, stream=rng.Stream.ABSOLUTE_ENV, mode=mode, env=env, on_step=look)
    # The last step resets at once: after how the episode ended comes how the next one begins.
    return scenes[:-1], float(played.team[0, 0])
