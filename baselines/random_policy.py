"""The uniform-random control: 0 on every normalised scale.

Try it: ``rlnet-bench run quick --methods random``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.policy import Policy


@register(
    "random",
    version=1,
    summary="uniform-random legal actions (control)",
    capabilities=Capabilities(trains=False),
)
class RandomMethod(Method):
    """Uniform over the legal actions of every agent."""

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """From the card alone."""
        from rlnet_bench.learning.untrained import UniformPolicy

        return UniformPolicy(card, len(seeds), device)
