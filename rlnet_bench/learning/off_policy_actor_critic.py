"""Actors and critics that learn from a replay: what IDDPG, MADDPG, ISAC and MASAC share.

A baseline says what critics regress on and what actors climb; see ``baselines/iddpg.py``, ``maddpg.py``, ``isac.py``,
``masac.py``. Continuous actions are kept, and read by critics, in *unit* form: -1..1 in every dimension, zero in those
that a narrow agent lacks.

Axes: **R** replicas, **B** environments per replica, **M** rows drawn, **N** agents, **O** observation width, **S**
state width, **A** actions (options, or dimensions), **K** critics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.agents import ACTOR, CRITIC, AgentNetwork, with_ids
from rlnet_bench.learning.config import ActorCriticConfig
from rlnet_bench.learning.distributions import categorical_sample, mask_logits, squashed_log_density
from rlnet_bench.learning.off_policy import OffPolicyLearner, mean
from rlnet_bench.learning.optimise import Optimiser
from rlnet_bench.learning.policy import Policy, PolicyState, action_noise
from rlnet_bench.learning.replay import Sequences, Transitions
from rlnet_bench.learning.stacked import Parts, copy_keys, load_tensors

Config = TypeVar("Config", bound=ActorCriticConfig)
HeadKind = Literal["deterministic", "squashed", "options"]
LOG_STD = (-5.0, 2.0)  # bounds of the log deviations of squashed Gaussians


@dataclass(frozen=True)
class HeadSpec:
    """With the task and the weights: enough to rebuild a policy.

    ``noise`` is the deviation that sampled play adds to deterministic actions, in halves of their range.
    """

    kind: HeadKind
    hidden: tuple[int, ...]
    activation: str
    share_parameters: bool
    noise: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HeadSpec:
        """Inverse of ``asdict`` after a trip through JSON."""
        return cls(**{**data, "hidden": tuple(data["hidden"])})


class Heads:
    """The actors of a team, each of its own observation (and its one-hot id where parameters are shared)."""

    def __init__(
        self, card: TaskCard, spec: HeadSpec, seeds: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        n, share = card.num_agents, spec.share_parameters
        self.card, self.spec, self.replicas = card, spec, len(seeds)
        self.actions = Actions(card, device=device)
        outputs = self.actions.outputs * (2 if spec.kind == "squashed" else 1)
        self.network = AgentNetwork(
            (card.observation_size + n * share, *spec.hidden, outputs),
            copy_keys(seeds, 1 if share else n, ACTOR), len(seeds), n, activation=spec.activation, output_gain=0.01,
            device=device,
        )  # fmt: skip
        self.ids = torch.eye(n, device=device) if share else None

    def __call__(self, observation: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the networks say of [R, n, N, O]: [R, n, N, outputs]."""
        output = self.network(with_ids(observation, self.ids))
        return self.actions.distribution(output, mask) if self.actions.discrete else output

    def mode(self, output: Tensor) -> Tensor:
        """The likeliest option [R, n, N], or what the centre of a distribution is squashed to, [R, n, N, A]."""
        if self.actions.discrete:
            return output.argmax(dim=-1)
        return self._used(torch.tanh(self.gaussian(output)[0] if self.spec.kind == "squashed" else output))

    def mean_square(self, output: Tensor) -> Tensor:
        """Of what is squashed, over the dimensions that an agent has: [R, n, N]."""
        if self.actions.used is None:
            return output.square().mean(dim=-1)
        return (output.square() * self.actions.used).sum(dim=-1) / self.actions.used.sum(dim=-1).clamp(min=1.0)

    def gaussian(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log deviation) [R, n, N, A] of what is squashed; outputs of 0 are a deviation of 1: nearly uniform."""
        mean, raw = output.chunk(2, dim=-1)
        low, high = LOG_STD
        return mean, low + (high - low) * torch.sigmoid(raw + math.log(-low / high))

    def sample_with_density(self, output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(squashed action [R, n, N, A], its log density over -1..1 [R, n, N]), both differentiable."""
        mean, log_std = self.gaussian(output)
        u = mean + torch.exp(log_std) * noise
        return self._used(torch.tanh(u)), squashed_log_density(mean, log_std, u, self.actions.used)

    def sample(self, output: Tensor, noise: Tensor, scale: float | None = None) -> Tensor:
        """Options drawn by uniforms [R, n, N]; actions in unit form by standard normals [R, n, N, A].

        ``scale``: deviation of what is added to deterministic actions, that of the spec by default.
        """
        if self.actions.discrete:
            return categorical_sample(output, noise)
        if self.spec.kind == "squashed":
            return self.sample_with_density(output, noise)[0]
        deviation = self.spec.noise if scale is None else scale
        return self._used((torch.tanh(output) + deviation * noise).clamp(-1.0, 1.0))

    def uniform(self, noise: Tensor, mask: Tensor | None = None) -> Tensor:
        """An action that is uniform over the range, or over the legal options, drawn as in :meth:`sample`."""
        if self.actions.discrete:
            nothing = torch.zeros(*noise.shape, self.actions.width, device=noise.device)
            return categorical_sample(mask_logits(mask_logits(nothing, self.actions.legal), mask), noise)
        return self._used(torch.erf(noise * math.sqrt(0.5)))

    def _used(self, unit: Tensor) -> Tensor:
        return unit if self.actions.used is None else unit * self.actions.used


class HeadPolicy(Policy):
    """The likeliest action, or one that is drawn."""

    def __init__(self, heads: Heads) -> None:
        self.heads, self.replicas = heads, heads.replicas

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> HeadPolicy:
        """Inverse of :meth:`spec`, with fresh weights."""
        return cls(Heads(card, HeadSpec.from_json(spec["head"]), seeds, device))

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`."""
        heads = self.heads
        output = heads(_rows(observation, self.replicas), None if mask is None else _rows(mask, self.replicas))
        if deterministic:
            raw = heads.mode(output)
        else:
            raw = heads.sample(output, action_noise(state.keys, state.step[None], heads)[0])
        return heads.actions.stretched(raw).flatten(0, 1), PolicyState(state.keys, state.step + 1, {})

    def state_dict(self) -> dict[str, Tensor]:
        """The actors' weights."""
        return self.heads.network.state_dict()

    def spec(self) -> dict[str, Any]:
        """The actors' architecture, and the noise of sampled play."""
        return {"kind": "head", "head": asdict(self.heads.spec)}


class Critics(Parts):
    """K critics of every agent: of its own observation and action, or of the state and everybody's actions.

    With continuous actions a critic reads the agent's own action, too, and says one number; with options it says one
    number for each of the agent's own.
    """

    def __init__(
        self, card: TaskCard, config: ActorCriticConfig, seeds: Sequence[int], device: str | torch.device = "cpu", *,
        joint: bool, count: int,
    ) -> None:  # fmt: skip
        """``joint``: they read the state and everybody's actions. ``count``: K."""
        n, a, share = card.num_agents, card.action_size, config.share_parameters
        self.joint, self.discrete, self.width = joint, card.action_kind == "discrete", a
        read = card.state_size + n * a if joint else card.observation_size + a * (not self.discrete)
        self.parts = {
            str(k): AgentNetwork(
                (read + n * share, *config.critic_hidden, a if self.discrete else 1),
                copy_keys(seeds, 1 if share else n, CRITIC + k), len(seeds), n, activation=config.activation,
                device=device,
            )
            for k in range(count)
        }  # fmt: skip
        self.eye = torch.eye(n, device=device)
        self.ids = self.eye if share else None

    def __call__(self, observation: Tensor, state: Tensor | None, action: Tensor, own: Tensor | None = None) -> Tensor:
        """Values [K, R, M, N] of continuous actions, or [K, R, M, N, A] of every option of each agent.

        Args:
            observation: [R, M, N, O].
            state: [R, M, S], where critics are joint.
            action: what everybody did: unit form [R, M, N, A] or options int64 [R, M, N].
            own: what agent i would do instead, in its own value alone (continuous actions).
        """
        x = with_ids(self._read(observation, state, action, own), self.ids)
        values = torch.stack([network(x) for network in self.parts.values()])
        return values if self.discrete else values.squeeze(-1)

    def _read(self, observation: Tensor, state: Tensor | None, action: Tensor, own: Tensor | None) -> Tensor:
        if not self.joint:
            if self.discrete:
                return observation
            return torch.cat((observation, action if own is None else own), dim=-1)
        assert state is not None
        n, diagonal = len(self.eye), self.eye[..., None]  # [N, N, 1]
        if self.discrete:  # the own action is not read: every option has a value
            action = torch.nn.functional.one_hot(action, self.width).to(observation.dtype)
            read = action[:, :, None] * (1.0 - diagonal)
        else:
            mine = action if own is None else own
            read = torch.where(diagonal.bool(), mine[:, :, :, None], action[:, :, None])  # [R, M, N, N, A]
        return torch.cat((state[:, :, None].expand(-1, -1, n, -1), read.flatten(-2)), dim=-1)


class Weights:
    """Parameters without a network, as a part of a checkpoint."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters by name."""
        return {name: p.detach() for name, p in self.tensors.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        load_tensors(self.tensors, state)


class ActorCriticLearner(OffPolicyLearner[Config], Generic[Config]):
    """Actors and critics with target networks; a baseline gives two losses."""

    joint_critics = False
    """Critics read the state and everybody's actions."""
    count_critics = 1
    """K."""

    def build(self) -> None:
        """Actors, critics, targets, and an optimiser with a group for each."""
        c = self.config
        self.actor = self.make_heads()
        self.critics, self.target_critics = (
            Critics(self.card, c, self.seeds, self.device, joint=self.joint_critics, count=self.count_critics)
            for _ in range(2)
        )
        self.follow(self.target_critics, self.critics)
        self.parts |= {"actor": self.actor.network, "critics": self.critics, "target_critics": self.target_critics}
        groups = {"critic": list(self.critics.parameters()), "actor": list(self.actor.network.parameters())}
        groups |= self.build_more()
        rates = dict.fromkeys(groups, c.actor_learning_rate) | {"critic": c.learning_rate}
        self.train(Optimiser(groups, self.replicas, learning_rate=rates, max_grad_norm=c.max_grad_norm))
        self.learning_keys = self.keys(rng.Stream.ACTION, c.batch_size)

    def head(self) -> HeadSpec:
        """What the actors are."""
        raise NotImplementedError

    def make_heads(self) -> Heads:
        """Actors, freshly initialised."""
        return Heads(self.card, self.head(), self.seeds, self.device)

    def build_more(self) -> dict[str, list[Tensor]]:
        """Make and add to ``self.parts`` what else is kept; further groups of the optimiser."""
        return {}

    def critic_loss(self, batch: Transitions) -> Tensor:
        """What critics minimise, [R]."""
        raise NotImplementedError

    def actor_loss(self, batch: Transitions) -> Tensor:
        """What actors minimise, [R]."""
        raise NotImplementedError

    def policy(self) -> HeadPolicy:
        """The actors."""
        return HeadPolicy(self.actor)

    def noise(self, use: int) -> Tensor:
        """Draws for the rows of this update, one set for each ``use`` (0 or 1): as the actors sample with."""
        step = torch.full((1, 1), 2 * self.updates + use, dtype=torch.int64, device=self.device)
        return action_noise(self.learning_keys, step, self.actor)[0]

    def explore(self, output: Tensor, noise: Tensor) -> Tensor:
        """Raw actions while learning; sampled by default."""
        return self.actor.sample(output, noise)

    def behave(self, now: Reset, step: int) -> tuple[Tensor, Tensor]:
        """Uniform actions until learning starts, then exploring ones."""
        mask = None if now.action_mask is None else _rows(now.action_mask, self.replicas)
        counter = torch.full((1, 1), step, dtype=torch.int64, device=self.device)
        noise = action_noise(self.explore_keys, counter, self.actor)[0]
        if self.frames < self.warmup_frames:
            raw = self.actor.uniform(noise, mask)
        else:
            raw = self.explore(self.actor(_rows(now.observation, self.replicas), mask), noise)
        return raw.flatten(0, 1), self.actor.actions.stretched(raw).flatten(0, 1)

    def learn_from(self, batch: Transitions | Sequences) -> dict[str, Tensor]:
        """A step of the critics, then one of the actors against the new critics."""
        assert isinstance(batch, Transitions)
        found = self.descend("critic", self.critic_loss(batch))
        for critic in self.critics.parameters():  # no gradients of weights that are not stepped
            critic.requires_grad_(False)
        found |= self.descend("actor", self.actor_loss(batch))
        for critic in self.critics.parameters():
            critic.requires_grad_(True)
        return found

    def descend(self, group: str, loss: Tensor) -> dict[str, Tensor]:
        """One optimiser step of one group; replicas are independent, each gets its own gradient."""
        self.optimiser.zero()
        loss.sum().backward()
        return {f"{group}_loss": loss.detach(), f"{group}_gradient_norm": self.step(group)[group]}


def regression(value: Tensor, batch: Transitions, following: Tensor) -> Tensor:
    """Squared errors [R] of critics [K, R, M, N] against y = r + gamma V(s'), summed over critics.

    Nothing is bootstrapped after a termination (``batch.discount`` is 0 there); after a cut by the clock V is that of
    the final observation. The dead are learned, too: a team's reward is bootstrapped from them.

    Args:
        value: Q_k of what was done.
        batch: whose ``reward`` and ``discount`` [R, M, V] enter.
        following: V [R, M, N] of what came next, without a gradient.
    """
    target = batch.reward + batch.discount * following
    return mean((value - target.detach()).square(), (-2, -1)).sum(dim=0)


def living_mean(x: Tensor, alive: Tensor | None) -> Tensor:
    """Mean of [R, M, N] per replica, [R], over agents that live (and act); 0 where none does."""
    if alive is None:
        return x.mean(dim=(1, 2))
    return (x * alive).sum(dim=(1, 2)) / alive.sum(dim=(1, 2)).clamp(min=1)


def _rows(x: Tensor, replicas: int) -> Tensor:
    return x.unflatten(0, (replicas, -1))
