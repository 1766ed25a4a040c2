"""The uniform-random control: 0 on every normalised scale.

Try it: ``rlnet-bench run quick --methods random``
"""

from __future__ import annotations

from typing import Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Capabilities, Method, register
from rlnet_bench.vocabulary import TrainingReward


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
        from rlnet_bench.learning.fixed import FixedLearner, UniformPolicy

        policy: Any = UniformPolicy(card, len(seeds), device)
        return FixedLearner(policy)
