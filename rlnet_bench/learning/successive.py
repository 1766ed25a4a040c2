"""Values of what is second best, third best and so on, beside QMIX's (S2Q: Jo et al. 2026, arXiv:2602.17062).

QMIX has one greedy joint action; where another becomes better, nothing leads there. Here Q_1, the policy's, is followed
by Q_2, which learns the same values less those of u_1, what Q_1 is greedy in; by Q_3, less those of u_1 and u_2; and so
on, so that what was good stays at hand. After the authors' public code:

    y = r + gamma Q*^-(s', u_1')
    L = E[(y - Q*)^2] + E[w_1 (y - Q_1)^2] + sum_{k > 1} E[w_k (y - Q*(s, u) 1[u in {u_1 .. u_(k-1)}] - Q_k)^2]

Every Q_k is a monotonic mixture; Q* is a mixture without constraints, and the only one that is bootstrapped. w_1 is 1
where Q*(s, u) is no less than Q*^-(s, u_k) for any k, w_k where Q_k is too small, and all are 0.9 elsewhere.

Half of the episodes are explored by Q_1, the others in every step by a Q_k that is drawn for the whole team with the
probabilities softmax_k(Q*(s, u_k) / T), with random actions of each agent on top. Play is greedy in Q_1 alone.

Departures: sums of ``n_step`` rewards (there TD(0.6)); while exploring the team is told the probabilities (there a
network learns to tell them from what all agents remember).

Axes: **R** replicas, **B** environments per replica, **M** rows, **K** values but for the first, **N** agents, **S**
state width, **A** actions; a leading [...] is time, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset
from rlnet_bench.learning.mixing import MIXER, MonotonicMixer
from rlnet_bench.learning.q_learning import QLearner, QSpec, Step, Utilities
from rlnet_bench.learning.stacked import Parts, StackedMLP, copy_keys, rows_of
from rlnet_bench.learning.targets import chosen, greedy

SUB, STAR, STAR_MIX = 1 << 7, 1 << 8, (1 << 8) + 1  # network numbers, for initialisation keys
HIDDEN = (64, 64)  # of Q*'s mixture
WEIGHT, SHARE = 0.9, 0.5  # of errors that count less; of episodes that all values explore


def sub_targets(target: Tensor, star: Tensor, done: Sequence[Tensor]) -> list[Tensor]:
    """y - Q*(s, u) 1[u in {u_1 .. u_(k-1)}] for k = 2 .. K + 1.

    Args:
        target: y [..., 1].
        star: Q*(s, u) of what was done, [..., 1].
        done: for k = 1 .. K, [..., 1] bool: what was done is u_k.
    """
    found, any_of = [], torch.zeros_like(target, dtype=torch.bool)
    for this in done:
        any_of = any_of | this
        found.append(torch.where(any_of, target - star, target))
    return found


def weigh(counts: Tensor) -> Tensor:
    """1 where an error counts (bool), else 0.9."""
    return torch.where(counts, 1.0, WEIGHT)


def chances(star: Tensor, temperature: float) -> Tensor:
    """softmax_k(Q*(s, u_k) / T) over the first axis, [K + 1, ...]."""
    return torch.softmax(star / temperature, dim=0)


class Star(Parts):
    """Q*(s, u): utilities of everybody's own observation, mixed with the state by a network without constraints."""

    def __init__(self, card: TaskCard, spec: QSpec, seeds: Sequence[int], device: str | torch.device = "cpu") -> None:
        self.utilities = Utilities(card, spec, seeds, device, (STAR,))
        self.mix = StackedMLP(
            (card.state_size + card.num_agents, *HIDDEN, 1), copy_keys(seeds, 1, STAR_MIX), activation="relu",
            output_gain=0.1, device=device,
        )  # fmt: skip
        self.parts = {"utilities": self.utilities.network, "mix": self.mix}

    def total(self, values: Tensor, action: Tensor, alive: Tensor | None, state: Tensor) -> Tensor:
        """Q*(s, u) [..., R, M, 1], to which the dead bring zero.

        Args:
            values: of :attr:`utilities`, [..., R, M, N, A].
            action: u, int64 [..., R, M, N].
            alive: bool [..., R, M, N]; None: everybody.
            state: s [..., R, M, S].
        """
        q = chosen(values, action)
        return rows_of(self.mix, torch.cat((state, q if alive is None else q * alive), dim=-1))


class Successive(Parts):
    """Q_2 to Q_(K+1), side by side, and Q*."""

    def __init__(
        self, card: TaskCard, spec: QSpec, mixer: Callable[[Sequence[int]], MonotonicMixer], count: int,
        temperature: float, seeds: Sequence[int], device: str | torch.device = "cpu",
    ) -> None:  # fmt: skip
        """Freshly initialised.

        Args:
            card: the task.
            spec: of utilities, as Q_1's.
            mixer: mixing networks as Q_1's, by their numbers for initialisation keys.
            count: K.
            temperature: T, in units of value.
            seeds: one per replica.
            device: where the parameters live.
        """
        self.card, self.count, self.temperature = card, count, temperature
        self.utilities = Utilities(card, spec, seeds, device, [SUB + k for k in range(count)])
        self.mix = mixer([MIXER + SUB * (k + 1) for k in range(count)])
        self.star, self.star_target = (Star(card, spec, seeds, device) for _ in range(2))
        self.parts = {"utilities": self.utilities.network, "mix": self.mix, "star": self.star}

    # -- learning ----------------------------------------------------------------------------------------

    def loss(self, learner: QLearner, step: Step, first: Tensor) -> Tensor:
        """L but for Q_1's part to ``step.beside``; Q_1's, [R].

        Args:
            learner: whose replay it is.
            step: what to learn from.
            first: Q_1(s, u) [..., R, M, 1].
        """
        batch, action, state, alive = step.batch, step.batch.action, step.state, step.alive
        utilities = learner.seen(self.utilities, batch)  # [..., R * K, M, N, A]
        q = chosen(utilities, self._each(action))
        mixed = self.mix(q if alive is None else q * self._each(alive), self._each(state))
        values = mixed.unflatten(-3, (-1, self.count)).unbind(-3)
        star = self.star.total(learner.seen(self.star.utilities, batch), action, alive, state)
        with torch.no_grad():
            every = (step.values, *utilities.unflatten(-4, (-1, self.count)).unbind(-4))
            best = [greedy(some, step.mask) for some in every]  # the u_k
            then, now = (learner.seen(self.star_target.utilities, batch, after=after) for after in (True, False))
            target = step.target(self.star_target.total(then, step.greedy, step.next_alive, step.next_state))
            most = torch.stack([self.star_target.total(now, u, alive, state) for u in best]).amax(dim=0)
            done = [_same(action, u, alive) for u in best[:-1]]
            below = sub_targets(target, star, done)
        step.beside.append(step.squared(star, target))
        step.beside.extend(step.squared(v, y, weigh(v < y)) for v, y in zip(values, below, strict=True))
        return step.squared(first, target, weigh(star >= most))

    def _each(self, x: Tensor) -> Tensor:
        """[..., R, M, any] -> [..., R * K, M, any]."""
        return x.repeat_interleave(self.count, dim=-3)

    # -- exploring ---------------------------------------------------------------------------------------

    def initial_memory(self, num_envs: int) -> dict[str, Tensor]:
        """What is carried from step to step: what Q_2 .. and Q* remember, and which episodes all values explore."""
        subs, star = self.utilities.network, self.star.utilities.network
        return {
            "subs": subs.initial_memory(num_envs * self.count), "star": star.initial_memory(num_envs),
            "all": torch.zeros(num_envs, dtype=torch.bool, device=star.device),
        }  # fmt: skip

    def followed(self, learner: QLearner, q: Tensor, now: Reset, step: int) -> Tensor:
        """The utilities [R*B, N, A] of the drawn Q_k, of those ``q`` of Q_1; see :meth:`QLearner.followed`."""
        r, n, carried = learner.replicas, self.card.num_agents, learner.carried.now
        subs, carried["subs"] = self.utilities.act(now.observation, carried["subs"])
        star, carried["star"] = self.star.utilities.act(now.observation, carried["star"])
        each = subs.unflatten(0, (r, self.count, -1)).transpose(0, 1).flatten(1, 2)
        every = torch.cat((q[None], each))  # [K + 1, R*B, N, A]
        best = greedy(every, self.utilities.legal(now.action_mask))
        state, alive = learner.replay.state_of(now), now.alive_mask

        def rows(x: Tensor) -> Tensor:
            return x.unflatten(0, (r, -1))

        living = None if alive is None else rows(alive)
        worth = [self.star.total(rows(star), rows(u), living, rows(state)).flatten() for u in best]
        key = rng.fold(learner.explore_keys, step)  # agents 0 to N - 1 draw from it, too
        drawn, coin = (rng.uniform32(rng.fold(key, n + i)) for i in range(2))
        which = (chances(torch.stack(worth), self.temperature).cumsum(dim=0)[:-1] < drawn).sum(dim=0)
        carried["all"] = torch.where(learner.replay.fresh, coin < SHARE, carried["all"])
        return every[torch.where(carried["all"], which, 0), torch.arange(len(q), device=q.device)]

    def after_step(self, learner: QLearner, done: Tensor) -> None:
        """Memory ends with an episode."""
        carried = learner.carried.now
        each = done.view(learner.replicas, 1, -1).expand(-1, self.count, -1).flatten()
        for name, over in (("subs", each), ("star", done)):
            carried[name] = carried[name].masked_fill(over[:, None, None], 0.0)


def _same(action: Tensor, other: Tensor, alive: Tensor | None) -> Tensor:
    """[..., 1] bool: the living do the same; both int64 [..., N]."""
    same = action == other
    return (same if alive is None else same | ~alive).all(dim=-1, keepdim=True)
