"""Stepping ParallelEnvs one by one into shared arrays; runs inside worker processes, without torch.

A *seat* is one environment and its row of the *board*, the arrays that the caller and the workers share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.pettingzoo.door import build, parse
from rlnet_bench.envs.pettingzoo.surface import flat, inner_space, seen_and_legal, spaces
from rlnet_bench.errors import said, shown

Board = dict[str, NDArray[Any]]


class SeatError(Exception):
    """Raised when an environment raises; the message names the environment and what it was doing."""


def layout(card: TaskCard, num_envs: int) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Name, dtype and shape of every array of the board, widest types first (keeps them aligned)."""
    b, n, o, a = num_envs, card.num_agents, card.observation_size, card.action_size
    discrete = card.action_kind == "discrete"
    yield "next_seed", np.int64, (b,)  # of the episode that follows: the caller's to fill before a step
    yield "actions", np.int64 if discrete else np.float32, (b, n) if discrete else (b, n, a)
    for prefix in ("", "final_"):
        yield f"{prefix}observation", np.float32, (b, n, o)
        yield f"{prefix}state", np.float32, (b, card.state_size)
    yield "reward", np.float32, (b, n)
    yield "success", np.float32, (b,)
    yield "terminated", np.bool_, (b,)
    yield "truncated", np.bool_, (b,)
    yield "agent_terminated", np.bool_, (b, n)
    for prefix in ("", "final_"):
        yield f"{prefix}action_mask", np.bool_, (b, n, a)
        yield f"{prefix}alive_mask", np.bool_, (b, n)


def board_size(card: TaskCard, num_envs: int) -> int:
    """Bytes of the whole board."""
    return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for _, kind, shape in layout(card, num_envs))


def board_on(card: TaskCard, num_envs: int, memory: Any) -> Board:
    """The arrays of a board laid over ``memory``."""
    board, offset = {}, 0
    for name, kind, shape in layout(card, num_envs):
        board[name] = np.ndarray(shape, kind, memory, offset)
        offset += board[name].nbytes
    return board


class Seat:
    """One environment: its episodes, its padding, its row of the board."""

    def __init__(self, card: TaskCard, index: int, board: Board) -> None:
        self.card, self.index = card, index
        self.row = {name: array[index] for name, array in board.items() if array.ndim > 1}
        self.cell = {name: array for name, array in board.items() if array.ndim == 1}
        self.env = build(parse(card.id))
        self.agents = list(self.env.possible_agents)
        self.observed, self.spaces = spaces(self.env)
        self.time = self.episodes = 0

    def reset(self, seed: int) -> None:
        """Start an episode."""
        self.time = 0
        self.episodes += 1
        observations, infos = self.env.reset(seed=seed)
        self._write("", observations, infos, [a in self.env.agents for a in self.agents])

    def replay(self, seed: int, actions: NDArray[Any]) -> None:
        """Play an episode again up to where ``actions`` [T, N] or [T, N, A] end."""
        self.reset(seed)
        episode = self.episodes
        for row in actions:
            self.row["actions"][...] = row
            self.step()
            if self.episodes != episode:
                raise RuntimeError("the replayed episode ended early: it does not depend on its seed alone")

    def step(self) -> None:
        """One step with the board's actions; starts the next episode where this one ended."""
        live = set(self.env.agents)
        actions = {a: self._action(i) for i, a in enumerate(self.agents) if a in live}
        told = self.env.step(actions)
        if not (isinstance(told, tuple) and len(told) == 5):
            raise ValueError(
                "expected step to return (observations, rewards, terminations, truncations, infos), found "
                + (f"{len(told)} values" if isinstance(told, tuple) else shown(told))
            )
        observations, rewards, terminations, truncations, infos = told
        self.time += 1
        staying = set(self.env.agents)
        at_limit = self.time >= self.card.horizon
        survived, cut = [], []
        for i, agent in enumerate(self.agents):
            was_live = agent in live
            over = bool(truncations.get(agent, False))
            # An agent that leaves without a flag has terminated; where both flags are set, the task ended.
            dead = bool(terminations.get(agent, False)) or (was_live and agent not in staying and not over)
            self.row["reward"][i] = float(rewards.get(agent, 0.0)) if was_live else 0.0
            self.row["agent_terminated"][i] = was_live and dead
            survived.append(agent in staying and not dead and not over)
            cut.append(was_live and over and not dead)
        ended = at_limit or not any(survived)
        truncated = ended and (any(cut) or any(survived))
        self.cell["truncated"][self.index] = truncated
        self.cell["terminated"][self.index] = ended and not truncated
        self.cell["success"][self.index] = self._success(infos) if ended else 0.0
        if not ended:
            self._refuse_ghosts(survived)
            self._write("", observations, infos, survived)
            return
        # At the end, agents that were only cut off are still alive: their values are bootstrapped.
        self._write("final_", observations, infos, [s or c for s, c in zip(survived, cut)])
        self.reset(int(self.cell["next_seed"][self.index]))

    def _refuse_ghosts(self, survived: list[bool]) -> None:
        """Who is over leaves ``env.agents``, or it would be asked for actions and paid for them."""
        for agent, lives in zip(self.agents, survived):
            if agent in self.env.agents and not lives:
                raise ValueError(
                    f"agent {agent}: terminated or truncated while others go on, and still in env.agents; expected "
                    "step to take it out (self.agents = [those that go on])"
                )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _action(self, i: int) -> Any:
        given, space = self.row["actions"][i], self.spaces[i]
        if self.card.action_kind == "discrete":
            # A Python int: some environments divide what they are given in place.
            return int(given) + int(space.start)
        values = given[: self.card.action_sizes[i]].reshape(space.shape)
        return np.clip(values, space.low, space.high).astype(space.dtype)

    def _write(self, prefix: str, observations: Any, infos: Any, alive: list[bool]) -> None:
        target, mask = self.row[f"{prefix}observation"], self.row[f"{prefix}action_mask"]
        target[...] = 0.0
        for i, agent in enumerate(self.agents):
            mask[i] = np.arange(mask.shape[1]) < self.card.action_sizes[i]
            value, legal = seen_and_legal(self.observed[i], observations.get(agent), (infos or {}).get(agent))
            if value is None:
                continue
            numbers = flat(inner_space(self.observed[i]), value)
            size = self.card.observation_sizes[i]
            if numbers.size != size:
                raise ValueError(f"agent {agent}: expected an observation of {size} numbers, found {numbers.size}")
            target[i, :size] = numbers
            if legal is not None and alive[i]:
                legal = np.asarray(legal).astype(bool).ravel()
                if not legal.any():
                    raise ValueError(f"agent {agent}: expected at least one legal action, found none")
                mask[i, : legal.size] = legal
        self.row[f"{prefix}alive_mask"][...] = alive
        state = self.row[f"{prefix}state"]
        if self.card.state == "full":
            state[...] = np.asarray(self.env.state(), dtype=np.float32).ravel()
        else:
            sizes = self.card.observation_sizes
            np.concatenate([target[i, :size] for i, size in enumerate(sizes)], out=state)

    def _success(self, infos: Any) -> float:
        told = [float(i["success"]) for i in (infos or {}).values() if isinstance(i, dict) and "success" in i]
        value = sum(told) / len(told) if told else 0.0
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"info['success']: expected a number in [0, 1], found {value}")
        return value


class Seats:
    """A run of consecutive seats, driven together."""

    def __init__(self, card: TaskCard, first: int, count: int, board: Board) -> None:
        self.seats = [Seat(card, first + k, board) for k in range(count)]

    def reset(self, seeds: list[int]) -> None:
        """A new episode everywhere, one seed each."""
        self._each("reset", lambda k, seat: seat.reset(seeds[k]))

    def step(self) -> None:
        """One step everywhere, with the board's actions."""
        self._each("step", lambda k, seat: seat.step())

    def replay(self, seeds: list[int], actions: list[NDArray[Any]]) -> None:
        """Bring every environment to the middle of an episode."""
        self._each("replay", lambda k, seat: seat.replay(seeds[k], actions[k]))

    def close(self) -> None:
        """Close every environment."""
        self._each("close", lambda k, seat: seat.close())

    def _each(self, what: str, act: Any) -> None:
        for k, seat in enumerate(self.seats):
            try:
                act(k, seat)
            except Exception as error:
                raise SeatError(
                    f"environment {seat.index} raised in {what} after {seat.time} steps of its episode: {said(error)}"
                ) from error
