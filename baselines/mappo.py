"""MAPPO: PPO with a centralised critic (Yu et al. 2022, arXiv:2103.01955).

Actors read their own observations; the critic, used only in training, reads the state of the task. With
shared parameters and a team reward there is one value per state; otherwise one per agent.

Try it: ``rlnet-bench run quick --methods mappo``
"""

from __future__ import annotations

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Method, register
from rlnet_bench.vocabulary import TrainingReward


@register(
    "mappo",
    version=1,
    summary="PPO with a centralised critic that reads the state",
    Config=PpoConfig,
    training="centralised critic",
    citation="yu2022mappo",
)
class Mappo(Method):
    """Multi-agent PPO."""

    @classmethod
    def learner(
        cls,
        card: TaskCard,
        config: PpoConfig,
        seeds: tuple[int, ...],
        *,
        total_frames: int,
        training_reward: TrainingReward,
        device: str = "cpu",
    ) -> Learner:
        """PPO whose critic reads the state."""
        from rlnet_bench.envs.registry import make_env
        from rlnet_bench.learning.ppo import PpoLearner

        env = make_env(card, len(seeds) * config.num_envs, device)
        return PpoLearner(
            env, seeds, config, critic="state", training_reward=training_reward, total_frames=total_frames
        )
