"""The acting network of a team: one stacked MLP for R replicas, shared by the agents or one each.

Axes: **R** replicas, **n** joint steps (environments, or environments x time), **N** agents, **F** input
features, **A** actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.distributions import categorical_sample, mask_logits, squash
from rlnet_bench.learning.stacked import StackedMLP, copy_keys
from rlnet_bench.vocabulary import ActionKind

ACTOR, CRITIC = 0, 1  # network numbers for initialisation keys


@dataclass(frozen=True)
class ActorSpec:
    """Everything but the weights: enough to rebuild an actor from a JSON file.

    ``observe: "all"`` gives every actor all agents' observations (execution class C).
    """

    observation_sizes: tuple[int, ...]
    action_sizes: tuple[int, ...]
    action_kind: ActionKind
    action_low: float
    action_high: float
    hidden: tuple[int, ...]
    activation: str
    share_parameters: bool
    observe: Literal["own", "all"] = "own"
    action_lows: tuple[tuple[float, ...], ...] | None = None
    action_highs: tuple[tuple[float, ...], ...] | None = None
    action_factors: tuple[int, ...] | None = None

    @classmethod
    def for_task(
        cls, card: TaskCard, hidden: Sequence[int], activation: str, share: bool, observe: str = "own"
    ) -> ActorSpec:
        """The spec of an actor that fits a task."""
        return cls(
            card.observation_sizes, card.action_sizes, card.action_kind, card.action_low, card.action_high,
            tuple(hidden), activation, share, observe, card.action_lows, card.action_highs, card.action_factors,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def num_agents(self) -> int:
        """N."""
        return len(self.observation_sizes)

    @property
    def features(self) -> int:
        """F: the observation(s), then the agent's one-hot id where parameters are shared."""
        observed = max(self.observation_sizes) * (self.num_agents if self.observe == "all" else 1)
        return observed + (self.num_agents if self.share_parameters else 0)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ActorSpec:
        """Inverse of :meth:`to_json` after a trip through JSON."""
        deep = {k: tuple(map(tuple, v)) for k, v in data.items() if k.endswith(("lows", "highs")) and v}
        flat = {k: tuple(v) for k, v in data.items() if isinstance(v, (list, tuple)) and k not in deep}
        return cls(**{**data, **flat, **deep})


class AgentNetwork:
    """One MLP per replica (shared by its agents) or one per agent: [R, n, N, F] -> [R, n, N, out]."""

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        agents: int,
        share: bool,
        network: int,
        **options: Any,
    ) -> None:
        self.replicas, self.agents, self.share = len(seeds), agents, share
        self.copies = 1 if share else agents
        self.mlp = StackedMLP(sizes, copy_keys(seeds, self.copies, network), **options)

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, N, F] -> [R, n, N, out]."""
        r, n, agents, width = x.shape
        if self.share:
            return self.mlp(x.reshape(r, n * agents, width)).view(r, n, agents, -1)
        out = self.mlp(x.transpose(1, 2).reshape(r * agents, n, width))
        return out.view(r, agents, n, -1).transpose(1, 2)


class Actor:
    """Logits or Gaussian means of all agents of R replicas, and sampling from them."""

    def __init__(self, spec: ActorSpec, seeds: Sequence[int], device: str | torch.device = "cpu") -> None:
        self.spec, self.replicas = spec, len(seeds)
        outputs = sum(spec.action_factors) if spec.action_factors else max(spec.action_sizes)
        self.network = AgentNetwork(
            (spec.features, *spec.hidden, outputs), seeds, spec.num_agents, spec.share_parameters, ACTOR,
            activation=spec.activation, output_gain=0.01, device=device,
        )  # fmt: skip
        self.continuous = spec.action_kind == "continuous"
        self.log_std: Tensor | None = None
        if self.continuous:
            copies = self.replicas * self.network.copies
            self.log_std = torch.full((copies, outputs), -0.5, device=device).requires_grad_()
        sizes = torch.tensor(spec.action_sizes, device=device)
        used = torch.arange(max(spec.action_sizes), device=device)[None] < sizes[:, None]  # [N, A]
        self.legal = None if bool(used.all()) else used
        self.low, self.high = _bounds(spec, device)
        ids = torch.eye(spec.num_agents, device=device) if spec.share_parameters else None
        self.ids = ids

    def features(self, observation: Tensor, out: Tensor | None = None) -> Tensor:
        """[R*B, N, O] -> [R, B, N, F], into ``out`` where given (its id columns already set)."""
        n, width = self.spec.num_agents, observation.shape[-1]
        if out is None:
            shape = (self.replicas, observation.shape[0] // self.replicas, n, self.spec.features)
            out = self.blank(shape, observation)
        rows = observation.view(self.replicas, -1, n, width) if observation.is_contiguous() else (
            observation.unflatten(0, (self.replicas, -1))
        )  # fmt: skip
        if self.spec.observe == "all":
            out[..., : n * width] = rows.flatten(2)[:, :, None]
        else:
            out[..., :width] = rows
        return out

    def blank(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised feature tensor [..., N, F] whose agent-id columns are filled in."""
        out = torch.empty(shape, device=like.device)
        if self.ids is not None:
            out[..., -self.spec.num_agents :] = self.ids
        return out

    def __call__(self, features: Tensor) -> Tensor:
        """[R, n, N, F] -> logits or means [R, n, N, A]; options an agent lacks are masked."""
        out = self.network(features)
        if self.spec.action_factors:
            out = joint_logits(out, self.spec.action_factors)
        return out if self.continuous else mask_logits(out, self.legal)

    def spread(self) -> Tensor:
        """Log standard deviations [R, 1, N or 1, A] of a continuous policy."""
        assert self.log_std is not None
        return self.log_std.view(self.replicas, 1, self.network.copies, -1)

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Raw actions: int64 [..., N] from uniforms [..., N]; or u [..., N, A] from normals [..., N, A]."""
        if not self.continuous:
            return categorical_sample(output, noise)
        return output + torch.exp(self.spread()) * noise

    def mode(self, output: Tensor) -> Tensor:
        """The most likely raw action."""
        return output if self.continuous else output.argmax(dim=-1)

    def to_task(self, raw: Tensor) -> Tensor:
        """Raw actions in the task's own units (unused dimensions of narrow agents are zero)."""
        if not self.continuous:
            return raw
        # A replica that is no number any more does something legal, until it is frozen: tasks may refuse a NaN.
        action = squash(torch.nan_to_num(raw), self.low, self.high)
        return action if self.legal is None else action * self.legal

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each [R * copies, ...]."""
        yield from self.network.mlp.parameters()
        if self.log_std is not None:
            yield self.log_std

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters by name."""
        state = self.network.mlp.state_dict()
        return state if self.log_std is None else {**state, "log_std": self.log_std.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        state = dict(state)
        if self.log_std is not None:
            self.log_std.copy_(state.pop("log_std"))
        self.network.mlp.load_state_dict(state)


def joint_logits(out: Tensor, factors: Sequence[int]) -> Tensor:
    """Logits of independent factors [..., sum] as those of their product [..., prod], first factor fastest.

    The softmax of a sum is the product of softmaxes: an option made of parts (a move and a word) is
    learned part by part.
    """
    joint: Tensor | None = None
    for part in out.split(list(factors), dim=-1):
        joint = part if joint is None else (joint[..., None, :] + part[..., :, None]).flatten(-2)
    assert joint is not None
    return joint


def _bounds(spec: ActorSpec, device: str | torch.device) -> tuple[Tensor | float, Tensor | float]:
    if spec.action_lows is None or spec.action_highs is None:
        return spec.action_low, spec.action_high
    width = max(spec.action_sizes)
    rows = [
        torch.tensor([[*row, *[0.0] * (width - len(row))] for row in side], device=device)
        for side in (spec.action_lows, spec.action_highs)
    ]
    return rows[0], rows[1]
