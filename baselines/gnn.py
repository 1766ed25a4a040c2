"""GNN: agents as the nodes of a graph that pass messages before they act (Gilmer et al. 2017, arXiv:1704.01212).

Where CommNet hears a mean, a node of a message-passing network weighs what each neighbour says against what it knows
itself. Agent i encodes its observation, then K rounds (their eqs. 1 and 2; a mean instead of the sum, so that teams of
any size speak at one volume), then a choice:

    h_i^0 = f(o_i),     m_i = mean over neighbours j of g(M^k (h_i, h_j)),     h_i^{k+1} = g(U^k (h_i, m_i))
    pi(. | h_i^K)

Agent j sends h_j, and M is computed where it is heard: H numbers per edge and round, counted in tables. ``graph: all``
is the complete graph, ``ring`` connects each agent with the two beside it. A run also records what is left of the score
when messages are cut, late or coarse.

It is trained like MAPPO (its file has the loss): PPO with a critic of the state, and gradients through all messages.

Departures: no edge features and no readout over the graph, as every node acts.

Try it: ``rlnet-bench run quick --methods gnn``
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from rlnet_bench.baselines.commnet import CommNet

from rlnet_bench.learning.config import TalkConfig
from rlnet_bench.methods import register

if TYPE_CHECKING:
    from rlnet_bench.learning.talking import Talking


@register(
    "gnn",
    version=1,
    summary="agents are nodes of a graph and pass messages, in rounds; PPO with a critic of the state",
    Config=TalkConfig,
    training="gradients across agents",
    citation="gilmer2017mpnn",
)
class Gnn(CommNet):
    """Agents that pass messages along the edges of a graph; else as CommNet."""

    @classmethod
    @cache
    def network_class(cls) -> type[Talking]:
        """The team's network."""
        import torch
        from torch import Tensor

        from rlnet_bench.learning.talking import Talking

        class GraphNetwork(Talking):
            """Rounds of h' = U (h, mean of g(M (h_i, h_j)))."""

            def sizes(self) -> Mapping[str, tuple[int, ...]]:
                """M reads two nodes, U a node and what it heard."""
                return {"message": (2 * self.width, self.width), "node": (2 * self.width, self.width)}

            def listen(self, k: int, own: Tensor, heard: Tensor) -> Tensor:
                """U (h_i, m_i)."""
                r, n, agents, width = own.shape
                at, of = own[:, :, None], heard[:, :, :, None]  # [R, n, from j, at i, H]
                shape = (r, n, agents, agents, width)
                pairs = torch.cat((at.expand(shape), of.expand(shape)), dim=-1)
                said = self.activation(self.parts[f"message.{k}"](pairs.flatten(1, 2))).view(shape)
                m = (said * self.weight.T[..., None]).sum(dim=2)  # weight [at i, from j]
                return self.parts[f"node.{k}"](torch.cat((own, m), dim=-1))

        return GraphNetwork
