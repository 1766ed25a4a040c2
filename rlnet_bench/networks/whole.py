"""What a model in one piece is to everybody else: a policy with a graph, and its learner.

Axes: **R** replicas, **N** agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.learning.actor import Actor
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.learning.policy import ActorPolicy
from rlnet_bench.networks.graph import Graph, expand
from rlnet_bench.networks.models import CONFIGS, settled
from rlnet_bench.networks.policy import ARCHITECTURE
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.vocabulary import ExecutionClass, TrainingReward


class WholePolicy(ActorPolicy):
    """An actor whose costs and class are those of the graph in its zoo file."""

    def __init__(self, actor: Actor, graph: Graph, config: Any) -> None:
        """``config``: the settings, as they were given."""
        settings = config.model_dump(mode="json")
        kept = (*ARCHITECTURE, "blocks", "attention_heads")
        data = {
            "kind": "network",
            "network": graph.spec.to_json(),
            "settings": {k: settings[k] for k in kept if k in settings},
        }
        super().__init__(actor, data)
        self.graph = graph

    @property
    def execution_floor(self) -> ExecutionClass:  # type: ignore[override]
        """What the graph allows."""
        return self.graph.execution_class

    def columns(self) -> Mapping[str, float]:
        """What the graph tells, at most, and trained numbers of one replica."""
        graph, numbers = self.graph, sum(x.numel() for x in self.state_dict().values())
        return {
            "bits_up": graph.bits_up, "bits_down": graph.bits_down, "hops": graph.hops, "vertices": len(graph.nodes),
            "edges": len(graph.links), "actor_parameters": numbers // self.replicas, "message_parameters": 0,
        }  # fmt: skip


class WholeLearner(TeamLearner):
    """PPO for a model in one piece; a subclass says how its actor is made, and what is minimised."""

    actor_class: ClassVar[type[Actor]]
    policy_class: ClassVar[type[WholePolicy]] = WholePolicy

    def __init__(
        self, env: VectorEnv, seeds: Sequence[int], graph: Graph, config: Any, *, training_reward: TrainingReward,
        total_frames: int,
    ) -> None:  # fmt: skip
        """See :class:`~rlnet_bench.learning.on_policy.OnPolicyLearner`; ``graph``: the zoo file laid over the task."""
        self.graph, self.given = graph, config
        super().__init__(
            env, seeds, settled(graph.spec, config), training_reward=training_reward, total_frames=total_frames
        )

    def make_actor(self) -> Actor:
        """See :class:`~rlnet_bench.learning.on_policy.TeamLearner`."""
        return self.actor_class(self.graph, self.given, self.seeds, self.device)  # type: ignore[arg-type]

    def policy(self) -> WholePolicy:
        """The policy as it stands (sharing its weights)."""
        return self.policy_class(self.actor, self.graph, self.given)

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> WholePolicy:
        """A policy from its ``spec()``, with fresh weights."""
        network = NetworkSpec.from_json(spec["network"])
        hidden = spec["settings"]["hidden"]
        settings = {**spec["settings"], "hidden": None if hidden is None else tuple(hidden)}
        config, graph = CONFIGS[network.model].model_validate(settings), expand(network, card)
        actor = cls.actor_class(graph, config, seeds, device)  # type: ignore[arg-type]
        return cls.policy_class(actor, graph, config)
