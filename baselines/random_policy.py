"""The uniform-random control: 0 on every normalised scale.

Try it: ``rlnet-bench run quick --methods random``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Capabilities, Method, register
from rlnet_bench.vocabulary import TrainingReward

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
    def learner(
        cls,
        card: TaskCard,
        config: MethodConfig,
        seeds: tuple[int, ...],
        *,
        total_frames: int,
        training_reward: TrainingReward,
        device: str = "cpu",
    ) -> Learner:
        """A learner that never learns."""
        from rlnet_bench.learning.untrained import UntrainedLearner

        return UntrainedLearner(cls.rebuild({}, card, seeds, device))

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """From the card alone."""
        from rlnet_bench.learning.untrained import UniformPolicy

        return UniformPolicy(card, len(seeds), device)
