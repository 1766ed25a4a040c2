"""How the conformance check drives environments: random play, recordings, comparison to the bit.

Axes: **T** time, otherwise those of :mod:`rlnet_bench.envs.contract`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Transition, VectorEnv

Factory = Callable[[int, str], VectorEnv]
Named = TypeVar("Named", Reset, Transition)

# Fields that only mean something in rows where an episode has just ended.
AT_ENDS = ("final_observation", "final_state", "final_action_mask", "final_alive_mask", "success")
_SEED = 20_240_817  # any number: seeds the tester's own draws, never the caller's streams


def draw_noise(card: TaskCard, steps: int, num_envs: int, device: str, salt: int = 0) -> Tensor:
    """Uniform noise [T, B, N, A] on ``device``, one draw per option or dimension of every action.

    Actions are a function of this noise and of the mask, so that two environments that behave alike
    receive the same legal actions, whatever their batch.
    """
    generator = torch.Generator().manual_seed(_SEED + salt)
    shape = (steps, num_envs, card.num_agents, card.action_size)
    return torch.rand(shape, generator=generator).to(device)


def choose(card: TaskCard, noise: Tensor, mask: Tensor | None) -> Tensor:
    """Uniform legal actions from noise [B, N, A]: int64 [B, N] or float32 [B, N, A]."""
    sizes = torch.tensor(card.action_sizes, device=noise.device)
    exists = torch.arange(card.action_size, device=noise.device) < sizes[:, None]  # [N, A]
    if card.action_kind == "continuous":
        low, high = bounds(card)
        low, high = low.to(noise.device), high.to(noise.device)
        return torch.where(exists, low + noise * (high - low), 0.0)
    legal = exists if mask is None else exists & mask
    return noise.masked_fill(~legal, -1.0).argmax(dim=-1)


def bounds(card: TaskCard) -> tuple[Tensor, Tensor]:
    """Lowest and highest continuous action, each float32 [N, A], zero in the padding."""

    def table(rows: tuple[tuple[float, ...], ...] | None, value: float) -> Tensor:
        out = torch.zeros(card.num_agents, card.action_size)
        for i, size in enumerate(card.action_sizes):
            out[i, :size] = torch.tensor(rows[i][:size]) if rows is not None else value
        return out

    return table(card.action_lows, card.action_low), table(card.action_highs, card.action_high)


@dataclass(frozen=True)
class Recording:
    """A copy of everything that an environment returned from ``reset`` on."""

    start: Reset
    steps: list[Transition] = field(default_factory=list)

    @cached_property
    def stacked(self) -> dict[str, Tensor | None]:
        """Every field of the transitions as one tensor [T, B, ...], or None where it is absent."""
        out: dict[str, Tensor | None] = {}
        for name in Transition._fields:
            values = [getattr(step, name) for step in self.steps]
            out[name] = None if any(v is None for v in values) else torch.stack(values)
        return out

    def tensor(self, name: str) -> Tensor:
        """A mandatory field, [T, B, ...]."""
        value = self.stacked[name]
        if value is None:
            raise ValueError(f"{name}: expected a tensor at every step, found None")
        return value

    @cached_property
    def ended(self) -> Tensor:
        """[T, B] bool: an episode ended with this step."""
        return self.tensor("terminated") | self.tensor("truncated")

    def first_observations(self, index: int) -> list[Tensor]:
        """The first observation [N, O] of every episode of environment ``index``, in order."""
        rows = self.tensor("observation")[:, index][self.ended[:, index]]
        return [self.start.observation[index], *rows]


def copy(values: Named) -> Named:
    """The same named tuple with its own memory (fields that are not tensors are kept as they are)."""
    own: Any = [v.detach().clone() if isinstance(v, Tensor) else v for v in values]
    return type(values)(*own)


def play(env: VectorEnv, seeds: Tensor, noise: Tensor) -> Recording:
    """Reset with a copy of ``seeds`` and step through ``noise`` [T, B, N, A]."""
    start = copy(env.reset(seeds.clone()))
    return Recording(start, proceed(env, start.action_mask, noise))


def proceed(env: VectorEnv, mask: Tensor | None, noise: Tensor) -> list[Transition]:
    """Step on from where ``env`` stands; ``mask`` is the last action mask seen."""
    steps = []
    for row in noise:
        transition = copy(env.step(choose(env.card, row, mask)))
        mask = transition.action_mask
        steps.append(transition)
    return steps


def differences(a: Recording, b: Recording, a_rows: list[int], b_rows: list[int]) -> list[str]:
    """Where two recordings are not equal to the bit: at most one sentence per field.

    Row k of ``a_rows`` is compared with row k of ``b_rows``, over the steps that both have.
    """
    found = []
    for name in Reset._fields:
        x, y = getattr(a.start, name), getattr(b.start, name)
        x, y = (None if v is None else v[None] for v in (x, y))
        found += _difference(f"reset().{name}", x, y, a_rows, b_rows, None)
    length = min(len(a.steps), len(b.steps))
    ended = a.ended[:length, a_rows]
    for name in Transition._fields:
        x, y = (None if v is None else v[:length] for v in (a.stacked[name], b.stacked[name]))
        found += _difference(name, x, y, a_rows, b_rows, ended if name in AT_ENDS else None)
    return found


def _difference(
    name: str, x: Tensor | None, y: Tensor | None, a_rows: list[int], b_rows: list[int], where: Tensor | None
) -> list[str]:
    if x is None or y is None:
        return [] if x is y else [f"{name}: expected None in both or in neither, found it in one only"]
    x, y = x[:, a_rows], y[:, b_rows]
    if x.shape != y.shape or x.dtype != y.dtype:
        return [f"{name}: {x.dtype} {list(x.shape)} against {y.dtype} {list(y.shape)}"]
    unequal = _bits(x) != _bits(y)
    if where is not None:
        unequal &= where.reshape(where.shape + (1,) * (unequal.dim() - where.dim()))
    if not bool(unequal.any()):
        return []
    at = tuple(int(i) for i in unequal.nonzero()[0])
    count = int(unequal.flatten(2).any(-1).sum()) if unequal.dim() > 2 else int(unequal.sum())
    return [
        f"{name}: step {at[0]}, environment {a_rows[at[1]]}, element {list(at[2:])}: "
        f"{x[at].item()!r} against {y[at].item()!r} ({count} environment steps differ)"
    ]


def _bits(x: Tensor) -> Tensor:
    """Floats as integers, so that NaN equals NaN and -0.0 differs from 0.0."""
    views = {torch.float32: torch.int32, torch.float64: torch.int64}
    return x.contiguous().view(views[x.dtype]) if x.dtype in views else x


@dataclass
class Subject:
    """The environment under test: how to build it, and the recordings that the checks share."""

    factory: Factory
    card: TaskCard
    num_envs: int
    steps: int
    device: str
    longer: Factory | None = None  # the same task with the time limit one step later

    @contextmanager
    def fresh(self, num_envs: int | None = None) -> Iterator[VectorEnv]:
        """A new batch of environments, closed afterwards."""
        with closing(self.factory(num_envs or self.num_envs, self.device)) as env:
            yield env

    @property
    def window(self) -> int:
        """Steps that the comparisons replay: past the first time limit, where most mistakes live."""
        return self.card.horizon + 6

    @property
    def rows(self) -> list[int]:
        """All environments of the batch."""
        return list(range(self.num_envs))

    @cached_property
    def seeds(self) -> Tensor:
        """One key per environment, int64 [B]."""
        return rng.env_keys([_SEED], rng.Stream.USER, self.num_envs, self.device)

    @cached_property
    def noise(self) -> Tensor:
        """[T, B, N, A] for the long recording; the comparisons replay its beginning."""
        return draw_noise(self.card, max(self.steps, self.window, 2 * self.card.horizon), self.num_envs, self.device)

    @cached_property
    def main(self) -> Recording:
        """The long random play that most checks look at."""
        with self.fresh() as env:
            return play(env, self.seeds, self.noise)
