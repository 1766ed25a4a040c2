"""Learning from a replay: collect a few steps, write them down, update on rows of the past.

    class Mine(OffPolicyLearner):
        def build(self): ...              # networks, optimiser, ``self.follow(target, online)``
        def behave(self, now, step): ...  # raw actions, exploring, by counters
        def learn_from(self, batch): ...  # one optimiser step on a batch of the replay; metrics [R]
        def policy(self): ...             # what acts

Axes: **R** replicas, **B** environments per replica, **M** rows of a batch, **N** agents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import Reset, Transition, VectorEnv
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.config import OffPolicyConfig
from rlnet_bench.learning.replay import Replay, Sequences, Transitions
from rlnet_bench.learning.targets import follow
from rlnet_bench.learning.trainer import Tensors, Trainer
from rlnet_bench.vocabulary import TrainingReward

Config = TypeVar("Config", bound=OffPolicyConfig)


class OffPolicyLearner(Trainer, Generic[Config]):
    """What every off-policy learner shares."""

    joint_value = False
    """It learns one value of the whole team: of the team's mean reward, whatever the suite's ``training_reward``."""

    def __init__(
        self,
        env: VectorEnv,
        seeds: Sequence[int],
        config: Config,
        *,
        training_reward: TrainingReward,
        total_frames: int,
        period: int = 1,
    ) -> None:
        """Wire up the replay and what :meth:`build` makes; nothing is stepped yet.

        ``period``: the most steps for which a decision holds, see :class:`~rlnet_bench.learning.replay.Replay`.

        Raises:
            BadInput: when the task leaves an agent without a legal action.
        """
        super().__init__(env, seeds, steps=config.rollout_steps, total_frames=total_frames)
        self.config, self.card = config, env.card
        self.team_reward = self.joint_value or training_reward == "team_mean"
        _refuse_no_choice(self.now, env.card.id)
        self.replay = Replay(
            env.card, seeds, self.num_envs, config.buffer_steps, team=self.team_reward, state=config.keeps_state,
            dying=self.now.alive_mask is not None, period=period, device=env.device,
        )  # fmt: skip
        self.warmup_frames = config.warmup(period)
        self.explore_keys = self.keys(rng.Stream.EXPLORATION, self.num_envs)
        self._followers: list[tuple[list[Tensor], list[Tensor]]] = []
        self.build()
        self.parts["replay"] = self.replay

    # -- what a learner adds -----------------------------------------------------------------------------

    def build(self) -> None:
        """Make networks and their targets, call :meth:`train`, and add what is to be kept to ``self.parts``."""
        raise NotImplementedError

    def behave(self, now: Reset, step: int) -> tuple[Tensor, Tensor]:
        """(raw actions for the replay, the same in the task's units), exploring; ``step`` counts steps of everyone."""
        raise NotImplementedError

    def learn_from(self, batch: Any) -> dict[str, Tensor]:
        """One optimiser step on Transitions, or Sequences where there is memory; metrics per replica [R]."""
        raise NotImplementedError

    def after_step(self, done: Tensor) -> None:
        """Episodes ended in ``done`` [R*B] bool: forget what was remembered there."""

    def glance(self, now: Reset, step: int) -> tuple[Tensor, Tensor]:
        """What :meth:`behave` would say; nothing is remembered of it."""
        return self.behave(now, step)

    # -- the loop ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def collect(self) -> None:
        """A few steps of every environment, into the replay."""
        first = self.frames // self.num_envs
        for step in range(first, first + self.steps):
            raw, action = self.behave(self.now, step)
            self.replay.begin(self.now, raw)
            after = self.env.step(action)
            self.told(after)
            self.now = after  # type: ignore[assignment]

    def told(self, after: Transition) -> None:
        """Write down what came of a step."""
        self.replay.end(after)
        self.after_step(after.terminated | after.truncated)

    def update(self) -> dict[str, Tensor]:
        """A few optimiser steps, each on rows of its own; nothing during the warm-up."""
        if self.frames + self.frames_per_iteration < self.warmup_frames:
            return {}
        total: dict[str, Tensor] = {}
        for batch in self.batches(range(self.updates, self.updates + self.config.updates_per_iteration)):
            for name, value in self.learn_from(batch).items():
                total[name] = total[name] + value if name in total else value
            self.updates += 1
            if self.updates % self.config.target_every == 0:
                for target, online in self._followers:
                    follow(target, online, self.config.target_tau)
        return {name: value / self.config.updates_per_iteration for name, value in total.items()}

    def batches(self, updates: Sequence[int]) -> Iterator[Transitions | Sequences]:
        """What each of these updates learns from."""
        c = self.config
        if c.memory == "none":
            yield from self.replay.transitions(updates, c.batch_size, gamma=c.discount, n=c.n_step)
        else:
            for update in updates:
                yield self.replay.sequences(update, c.batch_size, c.sequence_length, burn_in=c.burn_in)

    # -- targets -----------------------------------------------------------------------------------------

    def follow(self, target: Any, online: Any) -> None:
        """Let a target network follow its network: equal now, moved after updates, kept, frozen with its replica."""
        pair = list(target.parameters()), list(online.parameters())
        for slow in pair[0]:
            slow.requires_grad_(False)
        follow(*pair, 1)
        self._followers.append(pair)

    def held(self) -> list[Tensor]:
        """Target networks of a diverged replica are frozen with it."""
        return [p for target, _ in self._followers for p in target]


def remembered(device: torch.device, **tensors: Tensor) -> Tensors:
    """What is carried from step to step while collecting, as a part of the state."""
    return Tensors(device, **tensors)


def mean(x: Tensor, over: Iterable[int], weight: Tensor | None = None) -> Tensor:
    """Mean over some axes, of the rows that ``weight`` (bool or float, broadcasting) counts."""
    dims = tuple(over)
    if weight is None:
        return x.mean(dim=dims)
    weight = weight.to(x.dtype).expand_as(x)
    return (x * weight).sum(dim=dims) / weight.sum(dim=dims).clamp(min=1.0)


def _refuse_no_choice(now: Reset, task: str) -> None:
    if now.action_mask is None:
        return
    stuck = ~now.action_mask.any(dim=-1)
    if now.alive_mask is not None:
        stuck &= now.alive_mask
    if bool(stuck.any()):
        env, agent = stuck.nonzero()[0].tolist()
        raise BadInput(
            f"{task}: agent {agent} has no legal action at the start of episode 0 of environment {env}; a mask needs "
            "at least one (a task where an agent cannot act gives it one that does nothing)."
        )
