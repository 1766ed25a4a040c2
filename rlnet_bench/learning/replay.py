"""A ring of past steps on the device, for R replicas at once: written step by step, read by counter.

Steps, not episodes: row t holds what every environment saw, did and got in step t. What an environment saw
next is the row after, so that nothing is kept twice; only where the clock cut an episode (the row after
belongs to another one) is the final observation kept apart, in a small ring of its own. Which rows an update
reads is a function of (seed, update, row) and of how many steps are held: nothing is copied to the host, and a
checkpoint holds no generator.

Axes: **C** capacity in steps, **R** replicas, **B** environments per replica, **M** rows drawn per replica, **T** steps
of a sequence, **N** agents, **V** values: one per agent, or one for a team reward. Time comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Transition
from rlnet_bench.learning.fields import final_rows, seen_fields, step_fields
from rlnet_bench.learning.learner import Piece, Rows, Segment
from rlnet_bench.learning.targets import look_ahead


class At(NamedTuple):
    """Places in the ring, int64 [..., R, M]."""

    step: Tensor  # how many steps were ever written before
    env: Tensor  # of the flat batch R*B

    def later(self, steps: Tensor | int) -> At:
        """The same environments, so many steps later."""
        return At(self.step + steps, self.env)


@dataclass(frozen=True)
class Transitions:
    """Rows to learn from: value target = ``reward`` + ``discount`` * V(``next_*``)."""

    observation: Tensor  # [R, M, N, O]
    action: Tensor  # raw: int64 [R, M, N] or float32 [R, M, N, A]
    reward: Tensor  # [R, M, V], the n-step sum
    discount: Tensor  # [R, M, V], 0 where nothing is bootstrapped
    next_observation: Tensor  # [R, M, N, O], the final one where an episode was cut
    mask: Tensor | None = None  # [R, M, N, A] bool; None where everything is legal
    next_mask: Tensor | None = None
    alive: Tensor | None = None  # [R, M, N] bool; None where nobody dies
    next_alive: Tensor | None = None
    state: Tensor | None = None  # [R, M, S], where it was asked for
    next_state: Tensor | None = None


@dataclass(frozen=True)
class Sequences:
    """Windows of successive steps: what is seen has a row more than what was done, the bootstrap of the last step.

    A window does not go beyond the end of an episode: ``within`` is False after it, and the row after the last step
    is the final observation where the clock cut. The ``burn_in`` rows before the first step only warm a memory up.
    """

    observation: Tensor  # [burn_in + T + 1, R, M, N, O]
    begins: Tensor  # [burn_in + T + 1, R, M] bool: nothing is remembered from before this row
    action: Tensor  # [T, R, M, N] or [T, R, M, N, A]
    reward: Tensor  # [T, R, M, V]
    terminated: Tensor  # [T, R, M, V]
    ended: Tensor  # [T, R, M, 1]
    within: Tensor  # [T, R, M] bool
    mask: Tensor | None = None  # [T + 1, R, M, N, A]
    alive: Tensor | None = None  # [T + 1, R, M, N]
    state: Tensor | None = None  # [T + 1, R, M, S]


class Replay:
    """The newest ``capacity`` steps of R*B environments."""

    def __init__(
        self,
        card: TaskCard,
        seeds: Sequence[int],
        num_envs: int,
        capacity: int,
        *,
        state: bool = False,
        dying: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        """Allocate everything; see :func:`~rlnet_bench.learning.fields.replay_bytes` for how much.

        Args:
            card: the task, whose horizon is its time limit.
            seeds: one per replica.
            num_envs: B.
            capacity: C, steps kept of every environment.
            state: keep the state of the task, too.
            dying: the task sends an alive mask.
            device: where the ring is.
        """
        if capacity < 2:
            raise ValueError(f"replay: expected room for at least 2 steps of every environment, found {capacity}")
        self.card, self.capacity, self.state, self.dying = card, capacity, state, dying
        self.replicas, self.num_envs, self.device = len(seeds), num_envs, torch.device(device)
        batch, spare = self.replicas * num_envs, final_rows(card, capacity)
        seen = seen_fields(card, state, dying)
        # What is seen has its final rows behind the ring's, so that either is one index away.
        self.room = {
            name: torch.zeros(
                capacity + (spare if name in seen else 0), batch, *field.shape, dtype=getattr(torch, field.dtype),
                device=device,
            )
            for name, field in step_fields(card, state, dying).items()
        }  # fmt: skip
        self.flat = {name: room.flatten(0, 1) for name, room in self.room.items()}  # the same memory
        self.spare, self.seen = spare, tuple(seen)
        self.keys = rng.env_keys(tuple(seeds), rng.Stream.REPLAY, 1, str(device))[:, None]  # [R, 1]
        self.envs = torch.arange(batch, device=device)
        self.base = (torch.arange(self.replicas, device=device) * num_envs)[:, None]
        sizes = torch.tensor(card.observation_sizes)
        used = (torch.arange(card.observation_size)[None] < sizes[:, None]).flatten()
        self.columns = None if bool(used.all()) else used.nonzero().flatten().to(device)  # of a concatenated state
        self.clear()

    def clear(self) -> None:
        """Nothing was written yet."""
        self.position = 0
        self.segments: Sequence[Segment] = ()
        self.cuts = torch.zeros(len(self.envs), dtype=torch.int32, device=self.device)  # final rows ever written
        self.fresh = torch.ones(len(self.envs), dtype=torch.bool, device=self.device)  # an episode begins

    @property
    def first(self) -> int:
        """The oldest step that is held."""
        return max(0, self.position - self.capacity)

    @property
    def filled(self) -> int:
        """Steps held of every environment."""
        return self.position - self.first

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self, now: Reset | Transition, action: Tensor) -> None:
        """Write what is seen and done, before the environments step.

        Args:
            now: what the environments returned last.
            action: raw actions of R*B environments: int64 [..., N] or float32 [..., N, A].
        """
        slot = self.position % self.capacity
        for name, value in self._see(now.observation, now.state, now.action_mask, now.alive_mask).items():
            self.room[name][slot] = value
        kept = self.room["action"][slot]
        kept.copy_(action.reshape(kept.shape))
        self.room["begins"][slot] = self.fresh

    def end(self, step: Transition) -> None:
        """Write what came of it; the row counts from now on."""
        slot, room = self.position % self.capacity, self.room
        room["reward"][slot] = step.reward
        room["terminated"][slot] = step.terminated
        room["truncated"][slot] = step.truncated
        room["final"][slot] = self.cuts
        if self.dying:
            room["died"][slot] = step.agent_terminated
        # An environment batch that ended nothing hands back the same tensor: nothing to keep then.
        if step.final_observation is not step.observation:
            finals = self._see(step.final_observation, step.final_state, step.final_action_mask, step.final_alive_mask)
            place = self._final_place(self.cuts, self.envs)
            for name, value in finals.items():
                where = step.truncated.view(-1, *[1] * (value.ndim - 1))
                kept = torch.where(where, value, self.flat[name].index_select(0, place))
                self.flat[name].index_copy_(0, place, kept)
            self.cuts += step.truncated
        self.fresh = step.terminated | step.truncated
        self.position += 1

    def _see(self, observation: Tensor, state: Tensor, mask: Tensor | None, alive: Tensor | None) -> dict[str, Tensor]:
        given = {"observation": observation, "state": state, "mask": mask, "alive": alive}
        return {name: value for name in self.seen if (value := given[name]) is not None}

    def _final_place(self, number: Tensor, env: Tensor) -> Tensor:
        """Rows of ``flat`` that hold the final rows of these numbers and environments."""
        return (self.capacity + number % self.spare).long() * len(self.envs) + env

    # -- reading -----------------------------------------------------------------------------------------

    def draw(self, update: int, rows: int, steps: int) -> At:
        """Uniform places [R, M] from which ``steps`` steps, and what was seen after them, are held.

        Args:
            update: counts the draws; the same number draws the same places.
            rows: M.
            steps: how far is read from each place.

        Raises:
            ValueError: when fewer than ``steps`` + 1 steps are held.
        """
        room = self.filled - steps
        if room < 1:
            raise ValueError(f"replay: expected more than {steps} steps to draw from, found {self.filled}")
        counter = torch.arange(rows, device=self.device)
        place = rng.integers(rng.fold(self.keys, update, counter), room * self.num_envs)
        return At(self.first + place // self.num_envs, self.base + place % self.num_envs)

    def index(self, at: At) -> Tensor:
        """Rows of ``flat`` at these places, int64 [..., R, M]."""
        return (at.step % self.capacity) * len(self.envs) + at.env

    def index_after(self, at: At) -> Tensor:
        """Rows of ``flat`` with what was seen after these steps: the final row where the clock cut."""
        index = self.index(at)
        final = self._final_place(self._at("final", index), at.env)
        return torch.where(self._at("truncated", index), final, self.index(at.later(1)))

    def take(self, name: str, index: Tensor) -> Tensor:
        """A field at rows of ``flat``; a ``state`` that is the observations side by side is made from them."""
        if name == "state" and name not in self.flat:
            observation = self._at("observation", index).flatten(-2)
            return observation if self.columns is None else observation.index_select(-1, self.columns)
        return self._at(name, index)

    def _at(self, name: str, index: Tensor) -> Tensor:
        return self.flat[name].index_select(0, index.flatten()).unflatten(0, index.shape)

    @property
    def read(self) -> tuple[str, ...]:
        """What learners read of a moment: what is seen, and the state where it was asked for."""
        return tuple(dict.fromkeys((*self.seen, *(("state",) if self.state else ()))))

    def _outcome(self, index: Tensor, team: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(reward [..., V], terminated [..., V], ended [..., 1]) of rows."""
        reward, terminated = self._at("reward", index), self._at("terminated", index)[..., None]
        ended = terminated | self._at("truncated", index)[..., None]
        if team:
            return reward.mean(dim=-1, keepdim=True), terminated, ended
        if self.dying:  # an agent's own rewards end with it; the team's go on
            terminated = terminated | self._at("died", index)
        return reward, terminated.expand(reward.shape), ended

    def transitions(self, update: int, rows: int, *, gamma: float, n: int = 1, team: bool = True) -> Transitions:
        """Draw M rows per replica with their n-step returns.

        Args:
            update: counter of the draw.
            rows: M.
            gamma: discount of one step.
            n: rewards that are summed before a value is asked.
            team: one reward, the mean over agents (V = 1), or each agent's own (V = N).
        """
        at = self.draw(update, rows, n)
        window = at.later(torch.arange(n, device=self.device)[:, None, None])
        ahead = look_ahead(*self._outcome(self.index(window), team), gamma)
        before, after = self.index(at), self.index_after(at.later(ahead.last))
        seen = {name: self.take(name, before) for name in self.read}
        seen |= {f"next_{name}": self.take(name, after) for name in self.read}
        return Transitions(action=self._at("action", before), reward=ahead.reward, discount=ahead.discount, **seen)

    def sequences(self, update: int, rows: int, steps: int, *, burn_in: int = 0, team: bool = True) -> Sequences:
        """Draw M windows of ``burn_in`` + ``steps`` successive steps per replica; see :class:`Sequences`."""
        at = self.draw(update, rows, burn_in + steps)
        along = torch.arange(burn_in + steps + 1, device=self.device)[:, None, None]
        index = self.index(at.later(along))  # [burn_in + T + 1, R, M]
        learn = index[burn_in:-1]
        reward, terminated, ended = self._outcome(learn, team)
        over = ended.squeeze(-1).cumsum(dim=0)
        within = torch.cat((torch.ones_like(over[:1], dtype=torch.bool), over[:-1] == 0))
        begins = self._at("begins", index)
        begins[0] = True  # what came before is not known
        begins[burn_in + 1 :] = False  # beyond an end nothing is learned
        last = burn_in + within.sum(dim=0) - 1  # [R, M]
        # What was seen after the last step takes the place of the row behind it.
        index = torch.where(along == last + 1, self.index_after(at.later(last)), index)
        seen = {name: self.take(name, index if name == "observation" else index[burn_in:]) for name in self.read}
        return Sequences(
            begins=begins, action=self._at("action", learn), reward=reward, terminated=terminated, ended=ended,
            within=within, **seen,
        )  # fmt: skip

    # -- checkpoint --------------------------------------------------------------------------------------

    def pieces(self, start: int) -> Iterator[Piece]:
        """The rows from ``start`` on, and the final rows that they point at in the order of (step, environment)."""
        start = max(start, self.first)
        if start == self.position:
            return
        slots = torch.arange(start, self.position, device=self.device) % self.capacity
        tensors = {name: room.index_select(0, slots) for name, room in self.room.items()}
        place = self._finals_of(tensors)
        tensors |= {f"final.{name}": self.flat[name].index_select(0, place) for name in self.seen}
        yield Piece(start, self.position, tensors)

    def _finals_of(self, rows: Mapping[str, Tensor]) -> Tensor:
        step, env = rows["truncated"].nonzero(as_tuple=True)
        return self._final_place(rows["final"][step, env], env)

    def state_dict(self) -> dict[str, Any]:
        """The ring itself: a checkpoint stores what is new of it (see :class:`~rlnet_bench.learning.learner.Rows`)."""
        return {"rows": self}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold what another ring of the same shape holds, or what a checkpoint stored of one."""
        self.clear()
        stored: Rows = state["rows"]
        for piece in stored.pieces(stored.first):
            tensors = {name: tensor.to(self.device) for name, tensor in piece.tensors.items()}
            slots = torch.arange(piece.start, piece.stop, device=self.device) % self.capacity
            for name, room in self.room.items():
                room.index_copy_(0, slots, tensors[name])
            place = self._finals_of(tensors)
            for name in self.seen:
                self.flat[name].index_copy_(0, place, tensors[f"final.{name}"])
        self.position, self.segments = stored.position, tuple(stored.segments)
        if self.position:
            last = {name: self.room[name][(self.position - 1) % self.capacity] for name in self.room}
            self.fresh = last["terminated"] | last["truncated"]
            self.cuts = last["final"] + last["truncated"]
