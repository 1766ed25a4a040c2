"""IPPO: independent proximal policy optimisation (de Witt et al. 2020, arXiv:2011.09533).

Every agent learns from its own observation, actor and critic alike, as if it were alone. With shared
parameters one network serves all agents, told apart by a one-hot id. With ``observe: all`` actor and
critic read everybody's observation, which is no longer independent learning.

Try it: ``rlnet-bench run quick --methods ippo``
"""

from __future__ import annotations

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Method, register
from rlnet_bench.vocabulary import TrainingClass, TrainingReward


@register(
    "ippo",
    version=1,
    summary="independent PPO: actor and critic read the agent's own observation",
    Config=PpoConfig,
    training="independent",
    citation="dewitt2020ippo",
)
class Ippo(Method):
    """Independent PPO."""

    @classmethod
    def training_class(cls, config: PpoConfig) -> TrainingClass:
        """A critic that reads everybody's observation is a centralised one."""
        return "independent" if config.observe == "own" else "centralised critic"

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
        """PPO whose critic reads what the actor reads."""
        from rlnet_bench.envs.registry import make_env
        from rlnet_bench.learning.ppo import PpoLearner

        env = make_env(card, len(seeds) * config.num_envs, device)
        return PpoLearner(
            env,
            seeds,
            config,
            critic="observation",
            training_reward=training_reward,
            total_frames=total_frames,
        )
