"""One protocol for every channel: where it is, what is changed in it, and what it is worth.

A *channel* is whatever an agent reads that others decide in or before a step: edges between places of a network, the
rounds of a talking team, others' observations where a policy reads them, and the words of a task about signalling.
Nothing is trained. What is usual on it (means, deviations, ranges) is what the policy itself sends while it plays.

Axes: **R** replicas, **B** environments, **N** agents, **E** episodes, **F** features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.channel import Edited
from rlnet_bench.learning.edits import Dropped, Edit, Habit, Noise, cut, delayed, nothing, quantised, shuffled
from rlnet_bench.learning.information import information_flow
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy, PolicyState, Wrapped
from rlnet_bench.vocabulary import Mode

WIDTHS = (1, 2, 3, 4, 6, 8)
DELAYS = (1, 2, 3)
DROPS = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Channel:
    """Where messages are read, and how to change them there.

    ``masks``: by place, bool, which of the numbers read there come over the channel; what is read has environments in
    dimension ``env_dim``, and its last ``grain`` dimensions are lost together when a message is. ``changed`` is a
    context that yields the policy with an edit at every place, which sees what was read ``late`` steps ago.
    ``heard`` tells from what was read at all places what each agent heard, [R, B, F] by agent.
    """

    name: str
    masks: Mapping[Any, Tensor]
    env_dim: int
    grain: int
    changed: Callable[[Mapping[Any, Edit], int], AbstractContextManager[Policy]]
    heard: Callable[[Mapping[Any, Tensor]], Mapping[int, Tensor]]


def find_channel(policy: Policy, card: TaskCard, device: str = "cpu") -> Channel | None:
    """The channel of a policy on a task; None where nobody hears anybody.

    On a task about signalling it is the task's, whatever else the policy reads.
    """
    words = heard_words(card)
    if words:
        return _task_channel(policy, card, words, device)
    own: Channel | None = policy.channel(card, device)
    if own is not None:
        return own if own.masks else None
    depends = information_flow(policy, card, device)
    if not bool((depends & ~torch.eye(len(depends), dtype=torch.bool)).any()):
        return None
    n = card.num_agents
    crosses = ~torch.eye(n, dtype=torch.bool, device=device)[:, None, :, None]  # [N, 1, N, 1]

    @contextmanager
    def changed(edits: Mapping[Any, Edit], late: int) -> Iterator[Policy]:
        yield Edited(policy, card, edits["observation"], late)

    def heard(read: Mapping[Any, Tensor]) -> Mapping[int, Tensor]:
        x = read["observation"]  # [R, N, B, N, O]
        return {i: x[:, i][:, :, [j for j in range(n) if j != i]].flatten(2) for i in range(n)}

    return Channel("others' observations", {"observation": crosses}, 2, 2, changed, heard)


def heard_words(card: TaskCard) -> dict[int, slice]:
    """On a task about signalling: where in an agent's observation it reads what others have said; else nothing."""
    if card.id.startswith("mpe/simple_speaker_listener"):
        return {1: slice(8, 11)}
    return {0: slice(11, 21), 1: slice(11, 21)} if card.id.startswith("mpe/simple_reference") else {}


def _task_channel(policy: Policy, card: TaskCard, words: Mapping[int, slice], device: str) -> Channel:
    mask = torch.zeros(card.num_agents, card.observation_size, dtype=torch.bool, device=device)
    for agent, columns in words.items():
        mask[agent, columns] = True

    @contextmanager
    def changed(edits: Mapping[Any, Edit], late: int) -> Iterator[Policy]:
        yield Rereading(policy, edits["words"], late)

    def heard(read: Mapping[Any, Tensor]) -> Mapping[int, Tensor]:
        return {agent: read["words"][:, :, agent, columns] for agent, columns in words.items()}

    return Channel("the task's words", {"words": mask}, 1, 1, changed, heard)


class Rereading(Wrapped):
    """A policy whose agents read their own observations through an edit of [R, B, N, O]."""

    def __init__(self, policy: Policy, edit: Edit, late: int = 0) -> None:
        super().__init__(policy)
        self.edit, self.late = edit, late

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`; earlier observations join its state with the first step."""
        memory = dict(state.memory)
        past = memory.pop("reread", None)
        if past is None:
            past = observation.new_zeros(len(observation), self.late, *observation.shape[1:])
        if reset is not None:
            past = past.masked_fill(reset.view(-1, 1, 1, 1), 0.0)
        seen = observation.unflatten(0, (self.replicas, -1))
        before = past[:, -1].view(seen.shape) if self.late else None
        edited = self.edit(seen, before).flatten(0, 1)
        action, after = self.policy.act(edited, state._replace(memory=memory), mask, reset, deterministic)
        if not self.late:
            return action, after
        kept = torch.cat((observation[:, None], past[:, :-1]), dim=1)
        return action, after._replace(memory={**after.memory, "reread": kept})


class SelfHearing(Edited):
    """Every agent acts as if all others saw what it sees itself."""

    def __init__(self, policy: Policy, card: TaskCard) -> None:
        super().__init__(policy, card, self._alike)

    def _alike(self, x: Tensor, before: Tensor | None) -> Tensor:
        each = torch.arange(self.agents, device=x.device)
        own = x[:, each, :, each].transpose(0, 1)  # [R, N, B, O]: what copy i's own agent sees
        return own[:, :, :, None].expand_as(x)


# -- what is usual -------------------------------------------------------------------------------------------


class _Recorder:
    """An edit that changes nothing and keeps what is usual, per replica and feature."""

    def __init__(self, env_dim: int) -> None:
        self.dim, self.count = env_dim, 0
        self.sums: list[Tensor] = []

    def __call__(self, x: Tensor, before: Tensor | None) -> Tensor:
        wide = x.double()
        new = [wide.sum(self.dim, keepdim=True), wide.square().sum(self.dim, keepdim=True),
               wide.amin(self.dim, keepdim=True), wide.amax(self.dim, keepdim=True)]  # fmt: skip
        if self.sums:
            total, square, low, high = self.sums
            new = [total + new[0], square + new[1], low.minimum(new[2]), high.maximum(new[3])]
        self.sums, self.count = new, self.count + x.shape[self.dim]
        return x

    def habit(self) -> Habit:
        total, square, low, high = self.sums
        mean = total / self.count
        deviation = (square / self.count - mean.square()).clamp(min=0.0).sqrt()
        return Habit(mean.float(), low.float(), high.float(), deviation.float())


def own_habits(
    channel: Channel, card: TaskCard, seeds: Sequence[int], mode: Mode, episodes: int = 32, device: str = "cpu"
) -> dict[Any, Habit]:
    """What comes over a channel while the policy plays, by place."""
    recorders = {place: _Recorder(channel.env_dim) for place in channel.masks}
    with channel.changed(recorders, 0) as policy:
        evaluate(policy, card, seeds, episodes, stream=rng.Stream.USER, mode=mode, device=device)
    return {place: r.habit() for place, r in recorders.items()}


# -- scores --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """Team returns [R, E] with a change of the channel; ``value`` is its strength, ``reason`` why there are none."""

    kind: str
    value: float
    team: np.ndarray | None
    reason: str = ""


def scores(
    policy: Policy, channel: Channel, card: TaskCard, seeds: Sequence[int], *, episodes: int, mode: Mode,
    device: str = "cpu",
) -> Iterator[Score]:  # fmt: skip
    """The policy on the same episodes with its channel intact and changed in every way."""

    def play(acting: Policy) -> np.ndarray:
        return evaluate(acting, card, seeds, episodes, stream=rng.Stream.ABSOLUTE_ENV, mode=mode, device=device).team

    def with_edits(kind: str, value: float, make: Callable[[Any], Edit], late: int = 0) -> Score:
        with channel.changed({place: make(place) for place in channel.masks}, late) as acting:
            return Score(kind, value, play(acting))

    masks, usual = channel.masks, own_habits(channel, card, seeds, mode, device=device)
    yield Score("intact", 0.0, play(policy))
    yield with_edits("cut", 0.0, lambda p: nothing(masks[p]))
    yield with_edits("constant", 0.0, lambda p: cut(masks[p], usual[p]))
    yield with_edits("shuffled", 0.0, lambda p: shuffled(masks[p], channel.env_dim))
    yield with_edits("noise", 0.0, lambda p: Noise(masks[p], usual[p]))
    if "words" in masks:
        yield Score("self", 0.0, None, "what an agent says reaches only others on this task")
    elif not card.homogeneous:
        yield Score("self", 0.0, None, "its agents see different things, so that none can stand for another")
    else:
        yield Score("self", 0.0, play(SelfHearing(policy, card)))
    yield Score("broadcast", 0.0, None, "raw observations in place of messages need training: zoo/control-broadcast, "
                "or `observe: all`")  # fmt: skip
    for bits in WIDTHS:
        yield with_edits("bits", bits, lambda p, bits=bits: quantised(masks[p], usual[p], bits))  # type: ignore[misc]
    for steps in DELAYS:
        yield with_edits("delay", steps, lambda p: delayed(masks[p]), steps)
    for share in DROPS:
        yield with_edits("drop", share, lambda p, share=share: Dropped(masks[p], share, channel.grain))  # type: ignore[misc]
