"""The acting networks of a team: one for R replicas' agents together, or one each; with or without memory.

Axes: **R** replicas, **B** environments per replica, **n** joint steps (environments, or environments x time), **N**
agents, **O** observation width, **F** input features, **A** actions, **H** numbers remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.layout import Layout, layout_of
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.agents import ACTOR, AgentNetwork, Memory
from rlnet_bench.learning.config import Encoder, OnPolicyConfig
from rlnet_bench.learning.inputs import Normalise
from rlnet_bench.learning.stacked import copy_keys, load_tensors

LOG_STD = -0.5  # of Gaussian policies, before training


@dataclass(frozen=True)
class ActorSpec:
    """Everything but the task and the weights: with both, enough to rebuild an actor.

    ``observe: "all"`` gives every actor all agents' observations (execution class C).
    """

    hidden: tuple[int, ...]
    activation: str
    share_parameters: bool
    observe: Literal["own", "all"] = "own"
    memory: Memory = "none"
    normalise_observation: Normalise = "none"
    encoder: Encoder = "plain"

    @classmethod
    def of(cls, config: OnPolicyConfig) -> ActorSpec:
        """What the settings of a learner say of its actors."""
        return cls(**{f.name: getattr(config, f.name) for f in fields(cls)})

    def features(self, card: TaskCard) -> int:
        """F: the observation(s), then the agent's one-hot id where it has one."""
        observed = card.observation_size * (card.num_agents if self.observe == "all" else 1)
        return observed + (card.num_agents if self.has_ids else 0)

    @property
    def has_ids(self) -> bool:
        """Agents that share parameters are told apart, unless nothing may depend on how many there are."""
        return self.share_parameters and self.encoder == "plain"

    def layout(self, card: TaskCard) -> Layout | None:
        """How observations are read: None, as plain numbers."""
        return None if self.encoder == "plain" else layout_of(card)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what came later is said where it is used."""
        later = {"normalise_observation": "none", "encoder": "plain"}
        return {k: v for k, v in asdict(self).items() if k not in later or v != later[k]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ActorSpec:
        """Inverse of :meth:`to_json` after a trip through JSON; older data also holds what the card says."""
        own = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{**own, "hidden": tuple(data["hidden"])})


class Actor:
    """Logits or Gaussian means of all agents of R replicas, and sampling from them."""

    def __init__(
        self,
        card: TaskCard,
        spec: ActorSpec,
        seeds: Sequence[int],
        device: str | torch.device = "cpu",
        network: AgentNetwork | None = None,
    ) -> None:
        """``network``: another one than the spec's, [R, n, N, F] -> [R, n, N, outputs]."""
        self.card, self.spec, self.replicas, self.width = card, spec, len(seeds), spec.features(card)
        self.actions = Actions(card, device=device)
        copies = 1 if spec.share_parameters else card.num_agents
        self.network = network or AgentNetwork(
            (self.width, *spec.hidden, self.actions.outputs), copy_keys(seeds, copies, ACTOR), self.replicas,
            card.num_agents, memory=spec.memory, activation=spec.activation, output_gain=0.01, device=device,
            normalise=spec.normalise_observation, layout=spec.layout(card),
        )  # fmt: skip
        self.log_std: Tensor | None = None
        if not self.actions.discrete:
            shape = (self.replicas * self.network.copies, self.actions.outputs)
            self.log_std = torch.full(shape, LOG_STD, device=device).requires_grad_()
        self.ids = torch.eye(card.num_agents, device=device) if spec.has_ids else None

    # -- what agents read --------------------------------------------------------------------------------

    def features(self, observation: Tensor, out: Tensor | None = None) -> Tensor:
        """[R*B, N, O] -> [R, B, N, F], into ``out`` where given (its id columns already set)."""
        n, width = self.card.num_agents, observation.shape[-1]
        rows = observation.unflatten(0, (self.replicas, -1))
        if out is None:
            out = self.blank((*rows.shape[:3], self.width), observation.device)
        if self.spec.observe == "all":
            out[..., : n * width] = rows.flatten(2)[:, :, None]
        else:
            out[..., :width] = rows
        return out

    def blank(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """An uninitialised feature tensor [..., N, F] whose agent-id columns are filled in."""
        out = torch.empty(shape, device=device)
        if self.ids is not None:
            out[..., -self.card.num_agents :] = self.ids
        return out

    # -- what they say -----------------------------------------------------------------------------------

    @property
    def is_recurrent(self) -> bool:
        """It remembers."""
        return self.network.is_recurrent

    def initial_memory(self, num_envs: int) -> Tensor:
        """What is remembered before the first step, zeros [R * B, N, H]."""
        return self.network.initial_memory(num_envs)

    def outputs(self, features: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: logits or means [R, B, N, A], and what is remembered after it.

        Args:
            features: [R, B, N, F].
            memory: [R * B, N, H], cleared where episodes have begun.
            mask: [R, B, N, A] bool of legal options.
        """
        if not self.is_recurrent:
            return self.actions.distribution(self.network(features), mask), memory
        out, after = self.network.along(features[:, None], memory.unflatten(0, (self.replicas, -1)))
        return self.actions.distribution(out[:, 0], mask), after[:, 0].flatten(0, 1)

    def choose(
        self, features: Tensor, memory: Tensor, mask: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step: (logits or means [R, B, N, A], raw actions, what is remembered); without noise the most likely."""
        output, memory = self.outputs(features, memory, mask)
        return output, self.actions.mode(output) if noise is None else self.sample(output, noise), memory

    def evaluate(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of what was chosen, [R, c, N] each.

        Args:
            rows: ``features`` [R, c, N, F], ``actions`` [R, c, N(, A)], ``masks`` where the task has some; with memory
                c = T * e, step by step, and ``memory`` [R, e, N, H] before the first step and ``begins`` [R, T, e].
        """
        features = rows["features"]
        if self.is_recurrent:
            steps = rows["begins"].shape[1]
            out = self.network.along(features.unflatten(1, (steps, -1)), rows["memory"], rows["begins"])[0]
            output = self.actions.distribution(out.flatten(1, 2), rows.get("masks"))
        else:
            output = self.actions.distribution(self.network(features), rows.get("masks"))
        return self.stats(output, rows["actions"])

    def spread(self) -> Tensor | None:
        """Log standard deviations [R, 1, N or 1, A] of a continuous policy."""
        return None if self.log_std is None else self.log_std.view(self.replicas, 1, self.network.copies, -1)

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Raw actions; see :meth:`~rlnet_bench.learning.actions.Actions.sample`."""
        return self.actions.sample(output, noise, self.spread())

    def stats(self, output: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of raw actions."""
        return self.actions.stats(output, raw, self.spread())

    # -- parameters --------------------------------------------------------------------------------------

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [R * copies, ...]."""
        yield from self.network.named_parameters()
        if self.log_std is not None:
            yield "log_std", self.log_std

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each [R * copies, ...]."""
        return (p for _, p in self.named_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters and statistics by name."""
        return {name: p.detach() for name, p in self.named_parameters()} | self.network.statistics()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        load_tensors(dict(self.named_parameters()) | self.network.statistics(), state)
