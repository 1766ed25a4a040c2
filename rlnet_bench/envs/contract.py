"""The contract between environments and everything else: ``VectorEnv``, ``Reset``, ``Transition``.

Axes, used in every docstring: **R** replicas, **B** environments (here the flat batch, R*B when
replicas are stacked), **N** agents, **O** observation width, **A** actions, **S** state width.

Obligations of an implementation (:func:`rlnet_bench.envs.check.check_env` tests them):

* Every tensor lives on ``env.device``; observations, states and rewards are float32; flags are bool.
* A time limit sets ``truncated``, never ``terminated``; the two are never both set.
* Same-step auto-reset: where an episode ended, ``observation`` and ``state`` already belong to the next
  episode and the ``final_*`` fields hold the last values of the ended one. Where no episode ended,
  the ``final_*`` fields are unspecified (they may be the same tensors as the plain ones).
* Narrow agents are zero-padded up to O. With ``action_mask=None`` agent i may choose among its first
  ``card.action_sizes[i]`` options; a mask is given only where legality changes over time.
* An agent that is cut off while others go on leaves ``alive_mask`` without ``agent_terminated``.
* Inputs are neither modified nor kept. Returned tensors may be read until the next ``step`` and must
  not be written to: an environment may share them between steps.
* ``step`` never branches in Python on a tensor's value and never copies to the host; ``at_end`` may make it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard


class Reset(NamedTuple):
    """What a policy sees at the start of episodes."""

    observation: Tensor  # [B, N, O] float32
    state: Tensor  # [B, S] float32
    action_mask: Tensor | None  # [B, N, A] bool, True = legal; None when everything is legal
    alive_mask: Tensor | None  # [B, N] bool; None when all agents live for the whole episode


class Transition(NamedTuple):
    """What one step of a batch of environments returns."""

    observation: Tensor  # [B, N, O] float32, after auto-reset
    state: Tensor  # [B, S] float32, after auto-reset
    reward: Tensor  # [B, N] float32, of the step just taken
    terminated: Tensor  # [B] bool: the task ended (no bootstrap)
    truncated: Tensor  # [B] bool: the time limit cut the episode (bootstrap from final_*)
    agent_terminated: Tensor  # [B, N] bool
    action_mask: Tensor | None  # [B, N, A] bool for the next action
    alive_mask: Tensor | None  # [B, N] bool
    final_observation: Tensor  # [B, N, O], valid where terminated or truncated
    final_state: Tensor  # [B, S], valid where terminated or truncated
    final_action_mask: Tensor | None  # [B, N, A]
    final_alive_mask: Tensor | None  # [B, N]
    success: Tensor  # [B] float32 in [0, 1], the card's success metric, valid where the episode ended


@dataclass(frozen=True)
class Shape:
    """One drawable thing of a scene, in world units (x right, y up).

    ``kind``: "circle" (size = radius), "rectangle" (size = width, extra = height), "line" (size =
    length, centred, thin), "text" (extra = the string, size = height), "ring" (outline of a circle).
    ``colour`` is an (r, g, b) triple in 0..255; ``angle`` in radians, counter-clockwise.
    """

    kind: Literal["circle", "rectangle", "line", "text", "ring"]
    x: float
    y: float
    size: float
    angle: float = 0.0
    colour: tuple[int, int, int] = (0, 0, 0)
    extra: float | str | None = None


@dataclass(frozen=True)
class Scene:
    """A picture of one environment: the visible world rectangle and its shapes, back to front."""

    bounds: tuple[float, float, float, float]  # x_min, y_min, x_max, y_max
    shapes: tuple[Shape, ...]
    caption: str = ""


class VectorEnv(ABC):
    """A flat batch of B environments of one task, stepped together on one device."""

    card: TaskCard
    num_envs: int
    device: torch.device
    at_end: Callable[[], None] | None = None
    """Called within a step in which episodes end, before the next ones begin: :meth:`scene` shows how they ended.

    For people who look; an environment without scenes never calls it.
    """

    @abstractmethod
    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 of every environment.

        Args:
            seeds: int64 [B], one seed per environment (see :func:`rlnet_bench.rng.env_keys`). With the
                same seeds and the same actions everything that follows repeats to the bit.
        """

    @abstractmethod
    def step(self, actions: Tensor) -> Transition:
        """Advance every environment by one step.

        Args:
            actions: int64 [B, N] for discrete tasks, float32 [B, N, A] in the task's own units for
                continuous ones. Out-of-range actions are the task's to define (see its card).
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue to the bit: tensors, ints, floats, strings, nested dicts."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict` of an environment of the same card and batch size."""

    @abstractmethod
    def scene(self, index: int) -> Scene:
        """The picture of environment ``index`` as it stands now (host side, for people)."""

    def current(self) -> Reset:
        """What a policy sees now, without stepping (after ``reset`` or ``load_state_dict``)."""
        raise NotImplementedError(f"{type(self).__name__} does not offer current()")

    def close(self) -> None:  # noqa: B027 (most batches hold nothing to release)
        """Release worker processes and windows, where there are any."""
