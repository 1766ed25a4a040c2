"""A ring of past steps on the device, for R replicas at once: written step by step, read by counter.

Steps, not episodes: row t holds what every environment saw, did and got in step t. What an environment saw
next is the row after, so that nothing is kept twice; only where the clock cut an episode (the row after
belongs to another one) is the final observation kept apart, in a small ring of its own. Which rows an update
reads is a function of (seed, update, row) and of how many steps are held: nothing is copied to the host, and a
checkpoint holds no generator.

Whoever decides every k steps only (``period`` > 1) has a row for every step all the same, and learns from those in
which it decided: an interval's return is summed when it is read, however long it was.

Axes: **C** capacity in steps, **R** replicas, **B** environments per replica, **M** rows drawn per replica, **T** steps
of a sequence, **N** agents, **V** values: one per agent, or one for a team reward. Time comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Transition
from rlnet_bench.learning.fields import final_rows, seen_fields, step_fields
from rlnet_bench.learning.learner import Piece, Rows, Segment
from rlnet_bench.learning.targets import look_ahead


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
        team: bool = True,
        state: bool = False,
        dying: bool = False,
        period: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        """Allocate everything; see :func:`~rlnet_bench.learning.fields.replay_bytes` for how much.

        Args:
            card: the task, whose horizon is its time limit.
            seeds: one per replica.
            num_envs: B.
            capacity: C, steps kept of every environment.
            team: one reward, the mean over agents (V = 1), or each agent's own (V = N).
            state: keep the state of the task, too.
            dying: the task sends an alive mask.
            period: the most steps between two decisions; a decision holds until the next, or the end of the episode.
            device: where the ring is.
        """
        if capacity < 2:
            raise ValueError(f"replay: expected room for at least 2 steps of every environment, found {capacity}")
        self.card, self.capacity, self.team, self.state, self.dying = card, capacity, team, state, dying
        self.period = period
        self.replicas, self.num_envs, self.device = len(seeds), num_envs, torch.device(device)
        batch, spare = self.replicas * num_envs, final_rows(card, capacity)
        seen = seen_fields(card, state, dying)
        # What is seen has its final rows behind the ring's, so that either is one index away.
        self.room = {
            name: torch.zeros(
                capacity + (spare if name in seen else 0), batch, *field.shape, dtype=getattr(torch, field.dtype),
                device=device,
            )
            for name, field in step_fields(card, team, state, dying, period > 1).items()
        }  # fmt: skip
        self.flat = {name: room.flatten(0, 1) for name, room in self.room.items()}  # the same memory
        self.spare, self.seen, self.width = spare, tuple(seen), batch
        self.end_of_ring = capacity * batch  # rows of ``flat`` from here on are final ones
        self.keys = rng.env_keys(tuple(seeds), rng.Stream.REPLAY, 1, str(device))[:, None]
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
        self.cuts = torch.zeros(self.width, dtype=torch.int64, device=self.device)  # final rows ever written
        self.fresh = torch.ones(self.width, dtype=torch.bool, device=self.device)  # an episode begins

    @property
    def first(self) -> int:
        """The oldest step that is held."""
        return max(0, self.position - self.capacity)

    @property
    def filled(self) -> int:
        """Steps held of every environment."""
        return self.position - self.first

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self, now: Reset | Transition, action: Tensor, due: Tensor | None = None) -> None:
        """Write what is seen and done, before the environments step.

        Args:
            now: what the environments returned last.
            action: raw actions of R*B environments: int64 [..., N] or float32 [..., N, A].
            due: [R*B] bool, where this step is a decision; with a period above 1. Else nothing but ``due`` counts.
        """
        slot = self.position % self.capacity
        for name, value in self._see(now.observation, now.state, now.action_mask, now.alive_mask).items():
            self.room[name][slot] = value
        kept = self.room["action"][slot]
        kept.copy_(action.reshape(kept.shape))
        self.room["begins"][slot] = self.fresh
        if due is not None:
            self.room["due"][slot] = due

    def end(self, step: Transition) -> None:
        """Write what came of it; the row counts from now on."""
        slot, row = self.position % self.capacity, self.position % self.capacity * self.width + self.envs
        self.room["reward"][slot] = step.reward.mean(dim=1, keepdim=True) if self.team else step.reward
        if self.dying:
            self.room["died"][slot] = step.agent_terminated
        follows = torch.where(step.terminated, row, self._later(row, 1))
        # An environment batch that ended nothing hands back the same tensor: nothing to keep then.
        if step.final_observation is not step.observation:
            finals = self._see(step.final_observation, step.final_state, step.final_action_mask, step.final_alive_mask)
            place = (self.capacity + self.cuts % self.spare) * self.width + self.envs
            for name, value in finals.items():
                where = step.truncated.view(-1, *[1] * (value.ndim - 1))
                kept = torch.where(where, value, self.flat[name].index_select(0, place))
                self.flat[name].index_copy_(0, place, kept)
            follows = torch.where(step.truncated, place, follows)
            self.cuts += step.truncated
        self.room["next"][slot] = follows
        self.fresh = step.terminated | step.truncated
        self.position += 1

    def _see(self, observation: Tensor, state: Tensor, mask: Tensor | None, alive: Tensor | None) -> dict[str, Tensor]:
        given = {"observation": observation, "state": state, "mask": mask, "alive": alive}
        return {name: value for name in self.seen if (value := given[name]) is not None}

    def _later(self, row: Tensor, steps: Tensor | int) -> Tensor:
        """Rows of ``flat`` so many steps later, in the same environments."""
        row = torch.add(row, steps, alpha=self.width)
        return torch.where(row >= self.end_of_ring, row - self.end_of_ring, row)

    # -- reading -----------------------------------------------------------------------------------------

    def draw(self, updates: Sequence[int], rows: int, steps: int) -> Tensor:
        """Uniform rows of ``flat``, int64 [U, R, M], from which ``steps`` steps and what was seen after them are held.

        With a period above 1: rows in which something was decided.

        Args:
            updates: U numbers that count the draws; the same number draws the same rows.
            rows: M.
            steps: how far is read from each row.

        Raises:
            ValueError: when fewer than ``steps`` + 1 steps are held.
        """
        room = self.filled - steps
        if room < 1:
            raise ValueError(f"replay: expected more than {steps} steps to draw from, found {self.filled}")
        counted = torch.tensor(list(updates), device=self.device)[:, None, None] << 32
        bits = rng.sequence(self.keys, counted + torch.arange(1, rows + 1, device=self.device))
        if self.period > 1:
            return self._decisions(bits, room)
        drawn = rng.integers(bits, room)
        env = bits.bitwise_and_(0xFFFFFFFF).mul_(self.num_envs).bitwise_right_shift_(32)  # so, of the other 32 bits
        return self._later(env.add_(self.base + self.first % self.capacity * self.width), drawn)

    def _decisions(self, bits: Tensor, room: int) -> Tensor:
        """Rows [U, R, M] by their ``bits``, uniform among the decisions of the oldest ``room`` steps."""
        slots = (self.first + torch.arange(room, device=self.device)) % self.capacity
        due = self.room["due"].index_select(0, slots).view(room, self.replicas, self.num_envs)
        before = due.transpose(0, 1).flatten(1).cumsum(dim=1)  # [R, room * B], in order of time
        which = rng.integers(bits, before[:, -1:]).transpose(0, 1).flatten(1)  # [R, U * M]
        place = torch.searchsorted(before, which, right=True).view(self.replicas, len(bits), -1).transpose(0, 1)
        step = torch.div(place, self.num_envs, rounding_mode="floor")
        return slots[step] * self.width + self.base + place % self.num_envs

    def take(self, name: str, row: Tensor) -> Tensor:
        """A field [..., R, M, ...] of rows of ``flat`` [..., R, M]."""
        return self.flat[name].index_select(0, row.flatten()).unflatten(0, row.shape)

    def moment(self, row: Tensor) -> dict[str, Tensor]:
        """What learners read of a moment: everything that was seen, and the state where it was asked for."""
        found = {name: self.take(name, row) for name in self.seen}
        if self.state and "state" not in found:  # it is the observations side by side
            found["state"] = self.side_by_side(found["observation"])
        return found

    def side_by_side(self, observation: Tensor) -> Tensor:
        """The state of a task that has no other: observations [..., N, O] as [..., S], without their padding."""
        flat = observation.flatten(-2)
        return flat if self.columns is None else flat.index_select(-1, self.columns)

    def state_of(self, now: Reset | Transition) -> Tensor:
        """[R*B, S], as it is read of the replay later."""
        return now.state if "state" in self.seen else self.side_by_side(now.observation)

    def _outcome(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(reward [..., V], terminated [..., V or 1], ended [..., 1], the row that was seen after [...])."""
        reward, after = self.take("reward", row), self.take("next", row)
        terminated = (after == row)[..., None]
        ended = terminated | (after >= self.end_of_ring)[..., None]
        if self.dying and not self.team:  # an agent's own rewards end with it; the team's go on
            terminated = terminated | self.take("died", row)
        return reward, terminated, ended, after

    def transitions(self, updates: Sequence[int], rows: int, *, gamma: float, n: int = 1) -> list[Transitions]:
        """Draw M rows per replica with their n-step returns, for each of several updates; read all at once.

        Args:
            updates: a number for each draw.
            rows: M.
            gamma: discount of one step.
            n: rewards that are summed before a value is asked; with a period above 1, those of n decisions.
        """
        length = n * self.period
        row = self.draw(updates, rows, length)
        steps = torch.arange(length, device=self.device).view(-1, 1, 1, 1)
        along = self._later(row, steps) if length > 1 else row[None]
        reward, terminated, ended, after = self._outcome(along)
        if self.period > 1:  # the n-th decision from here ends the sum, and its value is asked
            later = self._later(along, 1)
            ended = ended | (self.take("due", later).cumsum(dim=0) >= n)[..., None]
        ahead = look_ahead(reward, terminated, ended, gamma)
        found = {"action": self.take("action", row), "reward": ahead.reward, "discount": ahead.discount}
        found |= self.moment(row)
        last = after.gather(0, ahead.last[None])[0] if length > 1 else after[0]
        found |= {f"next_{name}": value for name, value in self.moment(last).items()}
        apart = [value.unbind(0) for value in found.values()]
        return [Transitions(**dict(zip(found, values))) for values in zip(*apart)]

    def sequences(self, update: int, rows: int, steps: int, *, burn_in: int = 0) -> Sequences:
        """Draw M windows of ``burn_in`` + ``steps`` successive steps per replica; see :class:`Sequences`."""
        along = torch.arange(burn_in + steps + 1, device=self.device)[:, None, None]
        row = self._later(self.draw([update], rows, burn_in + steps), along)  # [burn_in + T + 1, R, M]
        learn = row[burn_in:-1]
        reward, terminated, ended, after = self._outcome(learn)
        over = ended.squeeze(-1).cumsum(dim=0)
        within = torch.cat((torch.ones_like(over[:1], dtype=torch.bool), over[:-1] == 0))
        begins = self.take("begins", row)
        begins[0] = True  # what came before is not known
        begins[burn_in + 1 :] = False  # beyond an end nothing is learned
        # What was seen after the last step takes the place of the row behind it.
        last = within.sum(dim=0, keepdim=True) - 1  # [1, R, M]
        row = torch.where(along == burn_in + last + 1, after.gather(0, last), row)
        seen = self.moment(row)
        seen |= {name: value[burn_in:] for name, value in seen.items() if name != "observation"}
        return Sequences(
            begins=begins, action=self.take("action", learn), reward=reward, terminated=terminated.expand(reward.shape),
            ended=ended, within=within, **seen,
        )  # fmt: skip

    # -- checkpoint --------------------------------------------------------------------------------------

    def pieces(self, start: int) -> Iterator[Piece]:
        """The rows from ``start`` on, and the final rows that they point at in the order of (step, environment)."""
        start = max(start, self.first)
        if start == self.position:
            return
        slots = torch.arange(start, self.position, device=self.device) % self.capacity
        tensors = {name: room.index_select(0, slots) for name, room in self.room.items()}
        finals = self._finals(tensors)
        tensors |= {f"final.{name}": self.flat[name].index_select(0, finals) for name in self.seen}
        yield Piece(start, self.position, tensors)

    def _finals(self, rows: Mapping[str, Tensor]) -> Tensor:
        return rows["next"][rows["next"] >= self.end_of_ring]

    def state_dict(self) -> dict[str, Any]:
        """The ring itself: a checkpoint stores what is new of it (see :class:`~rlnet_bench.learning.learner.Rows`)."""
        return {"rows": self, "cuts": self.cuts, "fresh": self.fresh}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold what another ring of the same shape holds, or what a checkpoint stored of one."""
        self.clear()
        stored: Rows = state["rows"]
        for piece in stored.pieces(stored.first):
            tensors = {name: tensor.to(self.device) for name, tensor in piece.tensors.items()}
            slots = torch.arange(piece.start, piece.stop, device=self.device) % self.capacity
            for name, room in self.room.items():
                room.index_copy_(0, slots, tensors[name])
            finals = self._finals(tensors)
            for name in self.seen:
                self.flat[name].index_copy_(0, finals, tensors[f"final.{name}"])
        self.position, self.segments = stored.position, tuple(stored.segments)
        self.cuts.copy_(state["cuts"])
        self.fresh = state["fresh"].to(self.device)
