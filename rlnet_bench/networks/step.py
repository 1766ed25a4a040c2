"""What one step of a network leaves behind, and a step in the making.

Axes: **R** replicas, **B** environments per replica, **K** vertices of a stack, **F** features, **A** actions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.noise import Draws

Memory = dict[str, Tensor]  # each [R * B, ...]


@dataclass
class Taken:
    """What one stack read and chose in one step; None where it had nothing to do.

    ``features`` [R, B, K, F]; ``critic`` likewise, where critics read something else; ``reported`` what messages
    were made of; ``env`` and ``own`` raw choices; ``mask`` [R, B, K, A]; ``log_p`` [R, B, K] of a vertex
    that is no motor; ``due`` [R, B] where a slow vertex decided.
    """

    features: Tensor | None = None
    critic: Tensor | None = None
    reported: Tensor | None = None
    env: Tensor | None = None
    own: Tensor | None = None
    mask: Tensor | None = None
    log_p: Tensor | None = None
    due: Tensor | None = None


@dataclass
class Step:
    """A step in the making: what is on the bus, what is remembered before and after it, what was chosen so far."""

    bus: Tensor
    memory: Memory
    held: Memory
    draws: Draws
    mask: Tensor | None
    look: bool
    record: bool
    taken: list[Taken]
    actions: list[tuple[StackNet, Tensor]] = field(default_factory=list)
    decided: set[int] = field(default_factory=set)


def hidden_key(stack: int) -> str:
    """Under which name the memory holds what a recurrent stack remembers, [R * B, K, H]."""
    return f"hidden.{stack}"
