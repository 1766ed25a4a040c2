"""Q-learning for a team: a utility per agent, epsilon-greedy play, and what targets are made of.

A baseline says how utilities become values, and what its loss is; see ``baselines/iql.py``, ``vdn.py``, ``qmix.py``.

Axes: **R** replicas, **B** environments per replica, **T** steps of a sequence, **M** rows drawn, **N** agents, **O**
observation width, **F** features, **A** actions, **H** numbers remembered, **V** values (1 or N).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset
from rlnet_bench.envs.layout import layout_of
from rlnet_bench.learning.agents import AgentNetwork, Memory, with_ids
from rlnet_bench.learning.config import Encoder, QConfig, TeamQConfig
from rlnet_bench.learning.distributions import mask_logits
from rlnet_bench.learning.off_policy import OffPolicyLearner, mean
from rlnet_bench.learning.optimise import Optimiser
from rlnet_bench.learning.policy import Policy, PolicyState
from rlnet_bench.learning.replay import Sequences, Transitions
from rlnet_bench.learning.robust import Dual, dual_loss, worst_case
from rlnet_bench.learning.similar import Effects, neighbours, similarity_mean
from rlnet_bench.learning.stacked import copy_keys
from rlnet_bench.learning.targets import chosen, greedy, linear, n_step
from rlnet_bench.learning.trainer import Tensors

UTILITY, MIXER = 0, 1  # network numbers for initialisation keys


@dataclass(frozen=True)
class QSpec:
    """With the task and the weights: enough to rebuild a policy. ``epsilon`` is what sampled play means."""

    hidden: tuple[int, ...]
    activation: str
    share_parameters: bool
    memory: Memory
    epsilon: float
    encoder: Encoder = "plain"

    @classmethod
    def of(cls, config: QConfig) -> QSpec:
        """What the settings of a learner say."""
        own = config.hidden, config.activation, config.share_parameters, config.memory
        return cls(*own, config.epsilon_end, config.encoder)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what came later is said where it is used."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("encoder", "plain")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QSpec:
        """Inverse of :meth:`to_json` after a trip through JSON."""
        return cls(**{**data, "hidden": tuple(data["hidden"])})


class Utilities:
    """Q_i(o_i, .) of all agents of R replicas; -1e9 for options that an agent lacks."""

    def __init__(
        self, card: TaskCard, spec: QSpec, seeds: Sequence[int], device: str | torch.device = "cpu",
        networks: Sequence[int] = (UTILITY,),
    ) -> None:  # fmt: skip
        """``networks``: numbers, for initialisation keys, of W networks side by side, which read the same: where
        something is made of them, R below counts R * W."""
        n, layout = card.num_agents, None if spec.encoder == "plain" else layout_of(card)
        has_ids = spec.share_parameters and layout is None  # else nothing may depend on how many agents there are
        self.card, self.spec, self.replicas, self.wide = card, spec, len(seeds), len(networks)
        self.network = AgentNetwork(
            (card.observation_size + n * has_ids, *spec.hidden, card.action_size),
            copy_keys(seeds, 1 if spec.share_parameters else n, *networks), len(seeds) * len(networks), n,
            memory=spec.memory, activation=spec.activation, output_gain=0.01, device=device, layout=layout,
        )  # fmt: skip
        self.ids = torch.eye(n, device=device) if has_ids else None
        sizes = torch.tensor(card.action_sizes, device=device)
        used = torch.arange(card.action_size, device=device) < sizes[:, None]  # [N, A]
        self.used, self.all_used = used, bool(used.all())

    def __call__(self, observation: Tensor) -> Tensor:
        """[R, n, N, O] -> [R, n, N, A], without memory."""
        return self._lacking(self.network(with_ids(self._each(observation, 0), self.ids)))

    def along(self, observation: Tensor, begins: Tensor | None, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """T steps with memory: [T, R, n, N, O] -> [T, R, n, N, A], and what is remembered after the last, [R, n, N, H].

        Args:
            observation: what is seen in each step.
            begins: [T, R, n] bool, an episode begins with this step.
            memory: [R, n, N, H], what is remembered before; nothing by default.
        """
        x = with_ids(self._each(observation, 1), self.ids).transpose(0, 1)
        if memory is None:
            memory = self.network.initial_memory(x.shape[0] * x.shape[2]).unflatten(0, (x.shape[0], -1))
        fresh = None if begins is None else self._each(begins, 1).transpose(0, 1)
        out, after = self.network.along(x, memory, fresh)
        return self._lacking(out).transpose(0, 1), after[:, -1]

    def act(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One step of R*B environments: [R*B, N, O] -> utilities [R*B, N, A], and the memory [R*B, N, H] after it."""
        x = observation.unflatten(0, (self.replicas, -1))
        if not self.network.is_recurrent:
            return self(x).flatten(0, 1), memory
        q, after = self.along(x[None], None, memory.unflatten(0, (self.replicas * self.wide, -1)))
        return q[0].flatten(0, 1), after.flatten(0, 1)

    def legal(self, mask: Tensor | None) -> Tensor:
        """What may be chosen, bool [N, A] or that of a mask [..., N, A]."""
        return self.used if mask is None else mask & self.used

    def _each(self, x: Tensor, replicas: int) -> Tensor:
        """For every network the same; ``replicas`` is the axis."""
        return x if self.wide == 1 else x.repeat_interleave(self.wide, dim=replicas)

    def _lacking(self, q: Tensor) -> Tensor:
        return q if self.all_used else mask_logits(q, self.used)


def epsilon_greedy(q: Tensor, legal: Tensor, keys: Tensor, step: Tensor | int, epsilon: float) -> Tensor:
    """Actions int64 [R*B, N]: the best legal one, or with probability epsilon any legal one; one draw per agent.

    Args:
        q: utilities [R*B, N, A].
        legal: bool, broadcasting against them.
        keys: int64 [R*B]. step: counter, int or [R*B].
        epsilon: 0 to 1.
    """
    agents = torch.arange(q.shape[1], device=q.device)
    key = rng.fold(rng.fold(keys, step)[:, None], agents)  # [R*B, N]
    place = rng.integers(rng.mix(key), legal.sum(dim=-1))
    other = (legal.cumsum(dim=-1) > place[..., None]).to(torch.uint8).argmax(dim=-1)
    return torch.where(rng.uniform32(key) < epsilon, other, greedy(q, legal))


class QPolicy(Policy):
    """Greedy, or epsilon-greedy where sampled actions are asked for."""

    def __init__(self, utilities: Utilities) -> None:
        self.utilities, self.replicas = utilities, utilities.replicas

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> QPolicy:
        """Inverse of :meth:`spec`, with fresh weights."""
        return cls(Utilities(card, QSpec.from_json(spec["utilities"]), seeds, device))

    def initial_state(self, num_envs: int, seeds: Tensor | None = None) -> PolicyState:
        """With what the agents remember."""
        return (
            super()
            .initial_state(num_envs, seeds)
            ._replace(memory={"agents": self.utilities.network.initial_memory(num_envs)})
        )

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
        memory = state.memory["agents"]
        if reset is not None:
            memory = memory.masked_fill(reset[:, None, None], 0.0)
        q, memory = self.utilities.act(observation, memory)
        legal = self.utilities.legal(mask)
        epsilon = 0.0 if deterministic else self.utilities.spec.epsilon
        action = epsilon_greedy(q, legal, state.keys, state.step, epsilon)
        return action, PolicyState(state.keys, state.step + 1, {"agents": memory})

    def state_dict(self) -> dict[str, Tensor]:
        """The utility networks' weights."""
        return self.utilities.network.state_dict()

    def spec(self) -> dict[str, Any]:
        """The utility networks' architecture, and the epsilon of sampled play."""
        return {"kind": "q", "utilities": self.utilities.spec.to_json()}


@dataclass(frozen=True)
class Step:
    """What a loss is made of: [..., R, M] joint steps, with a leading T where agents remember."""

    chosen: Tensor  # [..., R, M, N], Q_i(o_i, u_i) of what was done
    following: Tensor  # [..., R, M, N], Q_i^-(o_i', u_i') of the greedy u_i', by the target networks
    batch: Transitions | Sequences
    gamma: float
    n: int
    options: Tensor  # [..., R, M, N, A], target utilities of everything next
    greedy: Tensor  # int64 [..., R, M, N], the u_i'
    values: Tensor  # [..., R, M, N, A], utilities of everything now
    beside: list[Tensor] = field(default_factory=list)  # [R] each: what further groups of the optimiser minimise

    def mean(self, x: Tensor) -> Tensor:
        """Mean of x [..., R, M, V] per replica, [R], over the steps that belong to the sequences."""
        if isinstance(self.batch, Transitions):
            return mean(x, (-2, -1))
        return mean(x, (0, -2, -1), self.batch.within[..., None])

    @property
    def state(self) -> Tensor:
        """[..., R, M, S], where the learner reads it."""
        state = self._now(self.batch.state)
        assert state is not None
        return state

    @property
    def next_state(self) -> Tensor:
        """What followed; a final state where the clock cut."""
        state = self.batch.next_state if isinstance(self.batch, Transitions) else self.batch.state
        assert state is not None
        return state if isinstance(self.batch, Transitions) else state[1:]

    def goes_on(self) -> Tensor:
        """[..., R, M, V] bool: the task went on after this step, so that something is bootstrapped."""
        return self.batch.discount > 0 if isinstance(self.batch, Transitions) else ~self.batch.terminated

    def living(self) -> tuple[Tensor, Tensor]:
        """``chosen`` and ``following`` with zeros for agents that are dead then: they have no part in a joint value."""
        now, then = self.alive, self.next_alive
        return (
            self.chosen if now is None else self.chosen * now,
            self.following if then is None else self.following * then,
        )

    @property
    def mask(self) -> Tensor | None:
        """What was legal, [..., R, M, N, A] bool; None where everything is."""
        return self._now(self.batch.mask)

    @property
    def alive(self) -> Tensor | None:
        """Who was there, [..., R, M, N] bool; None where nobody dies."""
        return self._now(self.batch.alive)

    @property
    def next_alive(self) -> Tensor | None:
        """Who was there after the step."""
        batch = self.batch
        if isinstance(batch, Transitions):
            return batch.next_alive
        return None if batch.alive is None else batch.alive[1:]

    def _now(self, seen: Tensor | None) -> Tensor | None:
        return seen if seen is None or isinstance(self.batch, Transitions) else seen[:-1]

    def target(self, following: Tensor) -> Tensor:
        """y = r + gamma V(s') of values [..., R, M, V] of what followed: n steps, none beyond the end of the task."""
        batch = self.batch
        if isinstance(batch, Transitions):
            return batch.reward + batch.discount * following
        return n_step(batch.reward, following, batch.terminated, batch.ended, self.gamma, self.n)

    def squared(self, value: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """:meth:`mean` of (y - Q)^2, each times its weight."""
        square = (value - target.detach()).square()
        return self.mean(square if weight is None else weight * square)


class QLearner(OffPolicyLearner[QConfig]):
    """Q-learning with target networks; a baseline gives the loss."""

    def build(self) -> None:
        """Utilities, what :meth:`mixers` adds, their targets, one optimiser."""
        spec, c = QSpec.of(self.config), self.config
        self.online, self.target = (Utilities(self.card, spec, self.seeds, self.device) for _ in range(2))
        self.follow(self.target.network, self.online.network)
        self.parts |= {"utilities": self.online.network, "target": self.target.network}
        groups = {"utilities": list(self.online.network.parameters())}
        for name, (online, target) in self.mixers().items():
            self.follow(target, online)
            self.parts |= {name: online, f"{name}_target": target}
            groups["utilities"] += online.parameters()
        self.carried = Tensors(self.device, agents=self.online.network.initial_memory(self.env.num_envs))
        self.parts["carried"] = self.carried
        groups |= self.build_more()
        self.train(Optimiser(groups, self.replicas, learning_rate=c.learning_rate, max_grad_norm=c.max_grad_norm))

    def mixers(self) -> dict[str, tuple[Any, Any]]:
        """Further networks and their targets, by name, with the methods of ``AgentNetwork`` that checkpoints need."""
        return {}

    def build_more(self) -> dict[str, list[Tensor]]:
        """Make and add to ``self.parts`` what else is kept; further groups of the optimiser."""
        return {}

    def loss(self, step: Step) -> Tensor:
        """What is minimised, [R]; what the further groups minimise goes to ``step.beside`` and is not reported."""
        raise NotImplementedError

    def policy(self) -> QPolicy:
        """Greedy in the utilities."""
        return QPolicy(self.online)

    @property
    def epsilon(self) -> float:
        """Share of random actions now."""
        c = self.config
        return linear(self.frames, c.epsilon_start, c.epsilon_end, c.epsilon_share * self.total_frames)

    def behave(self, now: Reset, step: int) -> tuple[Tensor, Tensor]:
        """Epsilon-greedy."""
        q, self.carried.now["agents"] = self.online.act(now.observation, self.carried.now["agents"])
        action = epsilon_greedy(
            self.followed(q, now, step), self.online.legal(now.action_mask), self.explore_keys, step, self.epsilon
        )
        return action, action

    def followed(self, q: Tensor, now: Reset, step: int) -> Tensor:
        """Utilities [R*B, N, A] in which exploration is greedy, of those ``q`` of the policy."""
        return q

    def glance(self, now: Reset, step: int) -> tuple[Tensor, Tensor]:
        """As :meth:`behave`, and the memory stays."""
        before = dict(self.carried.now)
        found = self.behave(now, step)
        self.carried.now = before
        return found

    def after_step(self, done: Tensor) -> None:
        """Memory ends with an episode."""
        if self.online.network.is_recurrent:
            self.carried.now["agents"] = self.carried.now["agents"].masked_fill(done[:, None, None], 0.0)

    def learn_from(self, batch: Transitions | Sequences) -> dict[str, Tensor]:
        """One optimiser step."""
        self.optimiser.zero()
        step = self.estimate(batch)
        loss = self.loss(step)
        sum(step.beside, loss).sum().backward()  # replicas are independent: each gets its own gradient
        norms = self.step()
        return {"loss": loss.detach(), "value": step.chosen.detach().mean(dim=(-2, -1)).view(-1, self.replicas).mean(0),
                "gradient_norm": norms["utilities"]}  # fmt: skip

    def estimate(self, batch: Transitions | Sequences) -> Step:
        """Utilities of what was done, and target utilities of what is best next (van Hasselt et al. 2016, eq. 4)."""
        c = self.config
        if isinstance(batch, Transitions):
            q = self.online(batch.observation)
            with torch.no_grad():
                target = self.target(batch.next_observation)
                online = self.online(batch.next_observation) if c.double_q else target
                best = greedy(online, batch.next_mask)
            return Step(chosen(q, batch.action), chosen(target, best), batch, c.discount, c.n_step, target, best, q)
        q = self._along(self.online, batch)  # [T + 1, R, M, N, A]
        with torch.no_grad():
            target = self._along(self.target, batch)[1:]
            mask = None if batch.mask is None else batch.mask[1:]
            best = greedy(q[1:] if c.double_q else target, mask)
        now = q[:-1]
        return Step(chosen(now, batch.action), chosen(target, best), batch, c.discount, c.n_step, target, best, now)

    def seen(self, utilities: Utilities, batch: Transitions | Sequences, *, after: bool = False) -> Tensor:
        """Utilities of what was seen in the steps of a batch, or after them."""
        if isinstance(batch, Transitions):
            return utilities(batch.next_observation if after else batch.observation)
        return self._along(utilities, batch)[1:] if after else self._along(utilities, batch)[:-1]

    def _along(self, utilities: Utilities, batch: Sequences) -> Tensor:
        """Utilities of the rows that are learned from and of what followed; memory is warmed up without gradients."""
        b = self.config.burn_in
        memory = None
        if b:
            with torch.no_grad():
                memory = utilities.along(batch.observation[:b], batch.begins[:b])[1]
        return utilities.along(batch.observation[b:], batch.begins[b:], memory)[0]


class TeamQLearner(QLearner):
    """Q-learning of one value of the whole team; a baseline says how utilities become it."""

    joint_value = True
    config: TeamQConfig

    def build_more(self) -> dict[str, list[Tensor]]:
        """What options do, where targets weigh by it, and the worst that can follow, where they are made of that."""
        self.effects = Effects(self.card, self.seeds, self.device) if self.config.similar_targets else None
        self.dual = Dual(self.card, self.seeds, self.device) if self.config.is_dual else None
        more = {name: net for name, net in (("effects", self.effects), ("dual", self.dual)) if net is not None}
        self.parts |= more
        return {name: list(net.parameters()) for name, net in more.items()}

    def ahead(self, step: Step, following: Tensor, total: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
        """V(s') [..., 1]: Q_tot^- of the greedy joint action, or with ``similar_targets`` a mean around it.

        With ``robust_set: total_variation``, the worst that may come of it.

        Args:
            step: whose target it is for.
            following: [..., N], Q_i^- of the greedy u_i', zero for the dead.
            total: from utilities [..., N] and states [..., S] to Q_tot^- [..., 1].
        """
        batch, state = step.batch, step.next_state if self.config.keeps_state else None
        with torch.no_grad():
            value = total(following, state) if self.effects is None else self._around(step, following, state, total)
        if self.effects is not None:
            assert isinstance(batch, Transitions)
            errors = self.effects.errors(batch.observation, batch.action, batch.next_observation)
            step.beside.append(errors.mean(dim=(1, 2)))
        if self.dual is None:
            return value
        g, rho, there = self.dual.of(step.state, batch.action), self.config.robust_rho, step.goes_on()
        step.beside.append(step.mean(torch.where(there, dual_loss(g, value, rho), 0.0)))
        return worst_case(g.detach(), value, rho)

    def _around(
        self, step: Step, following: Tensor, state: Tensor | None, total: Callable[[Tensor, Tensor | None], Tensor]
    ) -> Tensor:
        """The mean of :meth:`ahead`."""
        batch = step.batch
        assert self.effects is not None and isinstance(batch, Transitions)
        near = neighbours(following, step.options)  # [R, M, K, N], K = N * A
        count = near.shape[2]
        wide = None if state is None else state.repeat_interleave(count, dim=1)
        value = total(near.flatten(1, 2), wide).unflatten(1, (-1, count)).squeeze(-1)
        legal = self.online.legal(batch.next_mask).expand(step.options.shape)
        if batch.next_alive is not None:
            legal = legal & batch.next_alive[..., None]
        return similarity_mean(value, self.effects.cosines(step.greedy).flatten(2), legal.flatten(2))
