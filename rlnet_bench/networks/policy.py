"""A network as a policy: acts step by step from observations, loads from weights without a trainer.

Axes: **R** replicas, **B** environments per replica, **N** agents, **O** observation width, **A** actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.policy import Policy, PolicyState
from rlnet_bench.learning.stacked import load_tensors
from rlnet_bench.methods import find_method
from rlnet_bench.networks.execute import Executor
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.recipe import settled
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.stacks import Wiring
from rlnet_bench.networks.tenancy import level_card
from rlnet_bench.networks.wiring import wire

if TYPE_CHECKING:
    from rlnet_bench.learning.protocol import Channel
    from rlnet_bench.networks.method import NetworkConfig
    from rlnet_bench.vocabulary import ChannelKind, ExecutionClass

ARCHITECTURE = (
    "hidden",
    "activation",
    "share_parameters",
    "normalise_observation",
    "encoder",
)  # settings that a policy is rebuilt from


def build_nets(
    wiring: Wiring,
    config: NetworkConfig,
    seeds: Sequence[int],
    device: str | torch.device,
    *,
    with_critic: bool = False,
) -> list[StackNet]:
    """Freshly initialised networks of every stack, superiors first."""
    return [
        StackNet(
            s,
            wiring.graph.card,
            seeds,
            hidden=s.vertex.hidden if config.hidden is None else config.hidden,
            critic_hidden=s.vertex.hidden if config.critic_hidden is None else config.critic_hidden,
            activation=config.activation,
            normalise=config.normalise_observation,
            recipe=settled(s, config),
            device=device,
            with_critic=with_critic,
        )
        for s in wiring.stacks
    ]


class NetworkPolicy(Policy):
    """A Reinforcement Network of R replicas; see :class:`rlnet_bench.learning.policy.Policy`."""

    def __init__(self, wiring: Wiring, nets: Sequence[StackNet], replicas: int, config: NetworkConfig) -> None:
        self.wiring, self.nets, self.replicas, self.config = wiring, tuple(nets), replicas, config
        self.graph = wiring.graph
        device = self.nets[0].progress.device
        self.executor = Executor(wiring, nets, replicas, device)
        self.executor.evaluates = True
        motors = [n for n in self.nets if n.stack.is_motor]
        # Motors of one stack carry the names that an ordinary actor's weights have.
        self.prefix = {n: "" if [n] == motors else f"{n.stack.number}." for n in self.nets}

    @property
    def execution_floor(self) -> ExecutionClass:  # type: ignore[override]
        """What the graph allows: an experiment with untrained messages could miss it."""
        return self.graph.execution_class

    @property
    def competes(self) -> bool:  # type: ignore[override]
        """It may become the best checkpoint: its graph is the declared one, no sparse edge is still half open."""
        return all(n.is_hard for n in self.nets if n.stack.sparse)

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With the network's memory."""
        return super().initial_state(num_envs, seeds)._replace(memory=self.executor.initial_memory(num_envs))

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """Choose actions; see :class:`rlnet_bench.learning.policy.Policy`."""
        memory = state.memory
        if reset is not None and memory:
            memory = self.executor.restarted(memory, reset)
        draws = self.executor.draws(state.keys, state.step[None], sampled=not deterministic)[0]
        actions, memory, _ = self.executor.step(observation, None, memory, draws, mask)
        assert actions is not None
        return actions, PolicyState(state.keys, state.step + 1, memory)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of everything that acts."""
        return {self.prefix[n] + k: v for n in self.nets for k, v in n.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the weights (of a learner's policy, too); raises ValueError naming a tensor that does not fit."""
        load_tensors(self.state_dict(), state)

    def spec(self) -> dict[str, Any]:
        """Architecture."""
        settings = self.config.model_dump(mode="json")
        tenants = {str(n.stack.number): n.tenant.spec() for n in self.nets if n.tenant is not None}
        return {
            "kind": "network",
            "network": self.graph.spec.to_json(),
            "settings": {k: settings[k] for k in ARCHITECTURE if k in settings},
            **({"tenants": tenants} if tenants else {}),
        }

    def columns(self) -> dict[str, float]:
        """What the graph alone tells, and trained numbers of one replica, actors and messages apart."""
        graph, actors, messages = self.graph, 0, 0
        for net in self.nets:
            for name, tensor in net.state_dict().items():
                count = tensor.numel() // self.replicas
                if name.startswith("message."):
                    messages += count
                elif name != "progress":
                    actors += count
        return {
            "bits_up": graph.bits_up, "bits_down": graph.bits_down, "hops": graph.hops, "vertices": len(graph.nodes),
            "edges": len(graph.links), "actor_parameters": actors, "message_parameters": messages,
        }  # fmt: skip

    def channel(self, card: TaskCard, device: str = "cpu") -> Channel:
        """Its edges between places."""
        from rlnet_bench.networks.ablation import channel_of

        return channel_of(self)

    def degraded(self, card: TaskCard, device: str = "cpu") -> Iterator[tuple[ChannelKind, Policy]]:
        """Its edges between places cut, late and coarse."""
        from rlnet_bench.networks.ablation import degraded

        return degraded(self, card, device=device)

    @classmethod
    def rebuild(
        cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu"
    ) -> NetworkPolicy:
        """Inverse of :meth:`spec`, with fresh weights."""
        from rlnet_bench.networks.method import NetworkConfig

        hidden = spec["settings"]["hidden"]
        settings = {**spec["settings"], "hidden": None if hidden is None else tuple(hidden)}
        config = NetworkConfig.model_validate(settings)
        wiring = wire(expand(NetworkSpec.from_json(spec["network"]), card), share_motors=config.share_parameters)
        nets = build_nets(wiring, config, seeds, device)
        for net in nets:
            if net.stack.is_tenant:
                method, own = find_method(str(net.stack.vertex.method)), spec["tenants"][str(net.stack.number)]
                net.tenant = method.rebuild(own, level_card(wiring.graph, net.stack.members), seeds, device)
        return cls(wiring, nets, len(seeds), config)
