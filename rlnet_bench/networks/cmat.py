"""CMAT, the consensus multi-agent transformer (Zhao et al. 2026, arXiv:2604.13472), after its public code.

All agents first agree on a vector, then act at once, so that no order of agents plays a part:

    z_1, ..., z_N = encode(o_1, ..., o_N)          attention among all
    p = pool(z)                                    four weighted sums over agents, mixed; V = V(p), one for the team
    t_0 = p;  t_k = decode(t_0, ..., t_{k-1}; z)   N tokens, one after the other, no sampling between them
    c = sum_k softmax_k(gate(t_k)) t_k             the consensus, over all N + 1 tokens
    pi(u_i) = head[z_i, c]

The team is one agent: the ratio is that of the joint action, a product over agents, with the team's advantage.

Axes: **R** replicas, **n** joint steps, **N** agents, **F** features, **D** numbers of a token, **c** rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.agents import CRITIC, AgentNetwork
from rlnet_bench.learning.attention import Attention, Block, Encoding, Norm, Tokens
from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped
from rlnet_bench.learning.stacked import ACTIVATIONS, copy_keys, named
from rlnet_bench.networks.graph import Graph
from rlnet_bench.networks.models import settled, tokens
from rlnet_bench.networks.whole import WholeLearner

NETWORKS = 40  # the network number for initialisation keys
VIEWS = 4  # weighted sums over agents that are pooled


class Decoder:
    """x <- norm(x + attention among tokens so far), norm(x + attention to z), norm(x + mlp(x))."""

    def __init__(self, width: int, heads: int, keys: Sequence[int], *counters: int, activation: str, device: Any):
        self.parts: dict[str, Any] = {
            "attention": Attention(width, heads, keys, *counters, 0, device=device),
            "attention_norm": Norm(width, len(keys), device),
            "cross": Attention(width, heads, keys, *counters, 1, device=device),
            "cross_norm": Norm(width, len(keys), device),
            "mlp": Tokens((width, width, width), keys, *counters, 2, activation=activation, device=device),
            "mlp_norm": Norm(width, len(keys), device),
        }

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        """Tokens [R, n, k, D] that read what is encoded [R, n, N, D]."""
        part = self.parts
        x = part["attention_norm"](x + part["attention"](x, x, causal=True))
        x = part["cross_norm"](x + part["cross"](x, z))
        return part["mlp_norm"](x + part["mlp"](x))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Of its parts."""
        return named(self.parts)


class Transformer(Encoding, AgentNetwork):
    """[R, n, N, F] -> logits or means [R, n, N, outputs], through a consensus."""

    copies = 1

    def __init__(self, graph: Graph, config: Any, spec: ActorSpec, seeds: Sequence[int], device: Any) -> None:
        """Freshly initialised; widths are those of the graph's file."""
        card, d, heads = graph.card, tokens(graph.spec, config)[-1], config.attention_heads
        self.replicas, self.agents = len(seeds), card.num_agents
        self.activation, self.blocks = ACTIVATIONS[config.activation], range(config.blocks)
        keys = copy_keys(seeds, 1, NETWORKS)
        more = {"activation": config.activation, "device": device}
        self.parts: dict[str, Any] = {
            "observed": Tokens((spec.features(card), d), keys, 0, **more),
            "observed_norm": Norm(d, len(seeds), device),
            **{f"encoder.{k}": Block(d, heads, keys, 1, k, **more) for k in self.blocks},
            "view": Tokens((d, d, VIEWS), keys, 2, gain=1.0, activation="tanh", device=device),
            "pooled": Tokens((VIEWS * d, d, d), keys, 3, gain=1.0, **more),
            **{f"decoder.{k}": Decoder(d, heads, keys, 4, k, **more) for k in self.blocks},
            "token": Tokens((d, d, d), keys, 5, gain=1.0, **more),
            "gate": Tokens((d, d, 1), keys, 6, gain=0.01, **more),
            "choice": Tokens((2 * d, *spec.hidden, Actions(card).outputs), keys, 7, gain=0.01, **more),
        }
        self.place = positions(self.agents, d).to(device)

    def pool(self, z: Tensor) -> Tensor:
        """p [R, n, 1, D]."""
        weight = self.parts["view"](z).softmax(dim=2)  # [R, n, N, VIEWS]
        return self.parts["pooled"]((weight.mT @ z).flatten(2)[:, :, None])

    def consensus(self, z: Tensor, p: Tensor) -> Tensor:
        """c [R, n, 1, D]."""
        said = p
        for k in range(1, self.agents + 1):
            x = said + self.place[:k]
            for block in self.blocks:
                x = self.parts[f"decoder.{block}"](x, z)
            said = torch.cat((said, self.parts["token"](x[:, :, -1:])), dim=2)
        weight = self.parts["gate"](said).softmax(dim=2)
        return (weight * said).sum(dim=2, keepdim=True)

    def choose(self, z: Tensor, p: Tensor) -> Tensor:
        """Logits or means of all agents at once."""
        return self.parts["choice"](torch.cat((z, self.consensus(z, p).expand_as(z)), dim=-1))

    def __call__(self, x: Tensor) -> Tensor:
        """See the class."""
        z = self.encode(x)
        return self.choose(z, self.pool(z))


def positions(count: int, width: int) -> Tensor:
    """Sines and cosines that tell tokens apart, [count, D] (Vaswani et al. 2017, section 3.5)."""
    rate = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(count)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :width]


class CmatActor(Actor):
    """Chooses for all agents at once."""

    network: Transformer

    def __init__(self, graph: Graph, config: Any, seeds: Sequence[int], device: Any = "cpu") -> None:
        spec = ActorSpec.of(settled(graph.spec, config))
        super().__init__(graph.card, spec, seeds, device, Transformer(graph, config, spec, seeds, device))


class PooledCritic(AgentNetwork):
    """V of what is pooled, one for the team; its parameters are the value head's."""

    def __init__(self, network: Transformer, sizes: Sequence[int], seeds: Sequence[int], **more: Any) -> None:
        super().__init__(sizes, copy_keys(seeds, 1, CRITIC), len(seeds), 1, **more)
        self.network = network

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, N, F] -> [R, n, 1, 1]."""
        return self.of(self.network.pool(self.network.encode(x)))

    def of(self, p: Tensor) -> Tensor:
        """[R, n, 1, D] -> [R, n, 1, 1]."""
        return super().__call__(p)


class Learner(WholeLearner):
    """PPO of the joint action."""

    critic_reads = "features"  # through the encoder
    actor_class = CmatActor

    def make_critic(self) -> AgentNetwork:
        """See the base class."""
        sizes = (tokens(self.graph.spec, self.given)[-1], *self.config.critic_hidden, 1)
        network: Any = self.actor.network
        return PooledCritic(network, sizes, self.seeds, activation=self.config.activation, device=self.device)

    def loss(self, batch: Batch) -> Loss:
        """-E[min(r A, clip(r) A)] + c_1 E[(V - R)^2 / 2] - c_2 E[H], r the ratio of the living agents' joint action."""
        network: Any = self.actor.network
        z = network.encode(batch["features"])
        p = network.pool(z)
        said = self.actor.actions.distribution(network.choose(z, p), batch.get("masks"))
        log_p, entropy = self.actor.stats(said, batch["actions"])
        ratio = joint_ratio(log_p, batch.rows)
        advantage = batch["advantage"].mean(dim=-1, keepdim=True)
        policy = -batch.mean(clipped_surrogate(ratio, advantage, self.config.clip))
        bonus = batch.acting_mean(entropy)
        critic: Any = self.critic
        value = batch.mean(half_squared_error(critic.of(p).squeeze(-1), batch["returns"]))
        total = policy + self.config.value_weight * value - self.config.entropy_weight * bonus
        return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))


def joint_ratio(log_p: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
    """pi(u) / pi_old(u) of the joint action [R, c, 1], from log probabilities [R, c, N]; the dead choose nothing."""
    moved = log_p - rows["log_p"]
    return torch.exp((moved * rows["alive"] if "alive" in rows else moved).sum(dim=-1, keepdim=True))
