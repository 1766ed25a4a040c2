"""CommNet: agents tell each other their hidden layer, and hear the mean (Sukhbaatar et al. 2016, arXiv:1605.07736).

A team is one network, through which gradients flow from every agent's choice into what all others said. Agent j encodes
its observation, then K rounds of talk, then a choice (their eqs. 1 and 2):

    h_j^0 = f(o_j),     c_j^k = mean over i != j of h_i^k,     h_j^{k+1} = g(H^k h_j^k + C^k c_j^k),     pi(. | h_j^K)

It acts with an allowance of messages: with ``graph: all`` every agent's H numbers go to every other agent, in every
round of every step. Tables count them (bits, hops), and a run also records what is left of the score when messages are
cut, late or coarse. ``graph: ring`` lets an agent hear its two neighbours only.

It is trained like MAPPO (its file has the loss): PPO with a critic of the state, so that the two differ by talk alone.

Departures: PPO where they have REINFORCE with a baseline; rounds have parameters of their own and no skip connection.

Try it: ``rlnet-bench run quick --methods commnet``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import TalkConfig
from rlnet_bench.methods import Method, find_method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.actor import Actor
    from rlnet_bench.learning.on_policy import TeamLearner
    from rlnet_bench.learning.policy import Policy
    from rlnet_bench.learning.talking import Talking


@register(
    "commnet",
    version=1,
    summary="agents hear the mean of what all others tell, in rounds; PPO with a critic of the state",
    Config=TalkConfig,
    training="gradients across agents",
    citation="sukhbaatar2016commnet",
)
class CommNet(Method):
    """Agents that hear the mean of the others."""

    @classmethod
    @cache
    def network_class(cls) -> type[Talking]:
        """The team's network."""
        import torch
        from torch import Tensor

        from rlnet_bench.learning.talking import Talking

        class CommNetwork(Talking):
            """Rounds of h' = H h + C c."""

            def sizes(self) -> Mapping[str, tuple[int, ...]]:
                """(H, C) side by side."""
                return {"mix": (2 * self.width, self.width)}

            def listen(self, k: int, own: Tensor, heard: Tensor) -> Tensor:
                """H h_j + C c_j."""
                c = self.weight @ heard  # the mean over others (or neighbours)
                return self.parts[f"mix.{k}"](torch.cat((own, c), dim=-1))

        return CommNetwork

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """See :class:`~rlnet_bench.methods.Method`."""
        from rlnet_bench.learning.talking import TalkingPolicy, talking_actor

        return TalkingPolicy(talking_actor(cls.network_class(), card, spec, seeds, device), spec)

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """MAPPO whose actors talk."""
        from rlnet_bench.learning.talking import TalkingPolicy, talking_actor, talking_spec

        network = cls.network_class()

        class TalkingLearner(find_method("mappo").learner_class()):  # type: ignore[misc]
            """PPO for a team that talks."""

            def make_actor(self) -> Actor:
                """pi(. | h_j^K)."""
                return talking_actor(network, self.env.card, talking_spec(self.config), self.seeds, self.device)

            def policy(self) -> Policy:
                """With its channel."""
                return TalkingPolicy(self.actor, talking_spec(self.config))

        return TalkingLearner
