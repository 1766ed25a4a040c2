"""Networks of teams whose agents tell each other numbers before they act, and what that costs and is worth.

Every agent encodes what it observes into H numbers. In each of a few rounds it tells them to its neighbours and mixes
what it hears into its own; then it chooses. How it listens is a baseline's: :meth:`Talking.listen`.

Axes: **R** replicas, **n** joint steps, **N** agents, **F** features, **H** numbers told, **K** rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.channel import BITS, FLOAT_BITS, bits_kind
from rlnet_bench.learning.edits import Edit, Habit, cut, delayed, quantised
from rlnet_bench.learning.information import SITUATIONS, situations
from rlnet_bench.learning.policy import ActorPolicy, Policy, PolicyState
from rlnet_bench.learning.protocol import Channel
from rlnet_bench.learning.stacked import ACTIVATIONS, copy_keys
from rlnet_bench.vocabulary import ChannelKind

ENCODER, READOUT, ROUNDS = 32, 33, 34  # network numbers for initialisation keys


def neighbours(agents: int, graph: str) -> Tensor:
    """Who hears whom, bool [N, N]: entry (i, j) is True when i hears j. ``graph``: ``all`` or ``ring``."""
    number = torch.arange(agents)
    apart = (number[:, None] - number[None]) % max(agents, 1)
    hears = apart != 0
    return hears if graph == "all" else hears & ((apart == 1) | (apart == agents - 1))


class Talking(AgentNetwork):
    """[R, n, N, F] -> [R, n, N, out], through K rounds of talk."""

    def __init__(
        self, card: TaskCard, spec: ActorSpec, seeds: Sequence[int], rounds: int, graph: str, device: Any = "cpu"
    ) -> None:
        """Freshly initialised; parameters are shared or the agents' own as the spec says."""
        self.replicas, self.agents = len(seeds), card.num_agents
        self.copies = 1 if spec.share_parameters else card.num_agents
        self.rounds, self.width, self.activation = rounds, spec.hidden[-1], ACTIVATIONS[spec.activation]
        self.hears = neighbours(card.num_agents, graph).to(device)
        self.weight = self.hears / self.hears.sum(dim=1, keepdim=True).clamp(min=1)  # a mean over neighbours
        self.edit: Callable[[int, Tensor], Tensor] | None = None  # of what is heard in a round [R, n, N, H]

        def net(number: int, *sizes: int, **options: Any) -> AgentNetwork:
            keys = copy_keys(seeds, self.copies, number)
            return AgentNetwork(
                sizes, keys, self.replicas, self.agents, activation=spec.activation, device=device, **options
            )

        outputs = Actions(card).outputs
        self.parts = {"encoder": net(
            ENCODER, spec.features(card), *spec.hidden, output_gain=2**0.5, normalise=spec.normalise_observation,
            layout=spec.layout(card),
        )}  # fmt: skip
        for k in range(rounds):
            sizes = self.sizes()
            for i, (name, pair) in enumerate(sizes.items()):
                self.parts[f"{name}.{k}"] = net(ROUNDS + k * len(sizes) + i, *pair, output_gain=2**0.5)
        self.parts["readout"] = net(READOUT, self.width, outputs, output_gain=0.01)

    def sizes(self) -> Mapping[str, tuple[int, ...]]:
        """Layer widths of the networks of a round, by name."""
        raise NotImplementedError

    def listen(self, k: int, own: Tensor, heard: Tensor) -> Tensor:
        """Round k: an agent's numbers [R, n, N, H] before the activation, from its own and what it hears of others'.

        ``heard`` [R, n, N, H] is what each agent says, as it arrives: agent i reads rows j with ``hears[i, j]``.
        """
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, N, F] -> [R, n, N, out]."""
        own = self.activation(self.parts["encoder"](x))
        for k in range(self.rounds):
            own = self.activation(self.listen(k, own, own if self.edit is None else self.edit(k, own)))
        return self.parts["readout"](own)

    def see(self, x: Tensor) -> None:
        """What was learned from, [R, n, N, F]."""
        self.parts["encoder"].see(x)

    def statistics(self) -> dict[str, Tensor]:
        """The encoder's."""
        return self.parts["encoder"].statistics()


class TalkingPolicy(ActorPolicy):
    """A talking team; its channel is what agents tell each other."""

    @property
    def network(self) -> Talking:
        """Of all agents."""
        assert isinstance(self.actor.network, Talking)
        return self.actor.network

    def columns(self) -> Mapping[str, float]:
        """Edges, bits of all messages of a step (32 a number), and rounds as hops."""
        edges = int(self.network.hears.sum())
        bits = FLOAT_BITS * self.network.width * self.network.rounds * edges
        return {"bits_up": bits, "bits_down": 0, "hops": self.network.rounds if edges else 0, "edges": edges}

    def channel(self, card: TaskCard, device: str = "cpu") -> Channel:
        """What is said in every round."""
        network, everything = self.network, torch.ones((), dtype=torch.bool, device=device)
        rounds = range(network.rounds) if bool(network.hears.any()) else range(0)

        @contextmanager
        def changed(edits: Mapping[Any, Edit], late: int) -> Iterator[Policy]:
            yield Degraded(self, [edits[k] for k in rounds], late)

        def heard(read: Mapping[Any, Tensor]) -> Mapping[int, Tensor]:
            said = torch.cat([read[k] for k in rounds], dim=-1)  # [R, n, N, K * H]
            return {i: said[:, :, network.hears[i]].flatten(2) for i in range(network.agents)}

        return Channel("rounds of talk", dict.fromkeys(rounds, everything), 1, 1, changed, heard)

    def degraded(self, card: TaskCard, device: str = "cpu") -> Iterator[tuple[ChannelKind, Policy]]:
        """What is heard cut, late and coarse; agents keep what is their own."""
        if not bool(self.network.hears.any()):
            return
        habits = self._habits(card, device)
        everything = torch.ones((), dtype=torch.bool, device=device)
        yield "decentralised", Degraded(self, [cut(everything, habit) for habit in habits])
        yield "delay-1", Degraded(self, [delayed(everything)] * len(habits), looks_back=1)
        for bits in BITS:
            yield bits_kind(bits), Degraded(self, [quantised(everything, habit, bits) for habit in habits])

    @torch.no_grad()
    def _habits(self, card: TaskCard, device: str) -> list[Habit]:
        """What is said in every round on a random walk, per replica and agent."""
        observation, mask = situations(card, self.replicas, device)
        said: list[Tensor] = []
        keys = torch.arange(len(observation), device=device)
        assert len(observation) == self.replicas * SITUATIONS
        with listening(self.network, lambda k, x: said.append(x) or x):  # type: ignore[func-returns-value]
            self.act(observation, self.initial_state(len(observation), keys), mask)
        return [Habit.of(x, 1) for x in said]


class listening:
    """Within the block, what is heard in a round goes through ``edit``."""

    def __init__(self, network: Talking, edit: Callable[[int, Tensor], Tensor]) -> None:
        self.network, self.edit = network, edit

    def __enter__(self) -> None:
        self.network.edit = self.edit

    def __exit__(self, *_: object) -> None:
        self.network.edit = None


class Degraded(ActorPolicy):
    """A talking team that hears what is left of the messages."""

    def __init__(self, policy: TalkingPolicy, edits: Sequence[Edit], looks_back: int = 0) -> None:
        """``edits``: one per round."""
        super().__init__(policy.actor, policy.spec())
        self.network, self.edits, self.looks_back = policy.network, edits, looks_back

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With what was said in the last steps, nothing at first."""
        state = super().initial_state(num_envs, seeds)
        if not self.looks_back:
            return state
        shape = (num_envs, self.looks_back, self.network.agents, self.network.rounds, self.network.width)
        return state._replace(memory={"said": torch.zeros(shape, device=state.keys.device)})

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`."""
        past, said = state.memory.get("said"), []
        if past is not None and reset is not None:
            past = past.masked_fill(reset[:, None, None, None, None], 0.0)

        def heard(k: int, x: Tensor) -> Tensor:
            said.append(x.flatten(0, 1))
            return self.edits[k](x, None if past is None else past[:, -1, :, k].view(x.shape))

        with listening(self.network, heard):
            action, after = super().act(observation, state, mask, reset, deterministic)
        if past is None:
            return action, after
        return action, after._replace(memory={"said": torch.cat((torch.stack(said, dim=2)[:, None], past[:, :-1]), 1)})


def talking_actor(
    network: type[Talking], card: TaskCard, spec: Mapping[str, Any], seeds: Sequence[int], device: Any = "cpu"
) -> Actor:
    """An actor from :func:`talking_spec`."""
    own = ActorSpec.from_json(spec["actor"])
    return Actor(card, own, seeds, device, network(card, own, seeds, spec["rounds"], spec["graph"], device))


def talking_spec(config: Any) -> dict[str, Any]:
    """What a talking policy is made again from, as plain data."""
    return {
        "kind": "talking", "actor": ActorSpec.of(config).to_json(), "rounds": config.rounds, "graph": config.graph,
    }  # fmt: skip
