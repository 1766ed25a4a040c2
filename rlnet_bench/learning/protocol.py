"""One protocol for every channel: what is changed in it, what it is worth, and whether its messages say anything.

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
from rlnet_bench.learning.channel import Edit, Edited, Habit, cut, delayed, quantised
from rlnet_bench.learning.information import information_flow
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy, PolicyState, Wrapped
from rlnet_bench.vocabulary import Mode

WIDTHS = (1, 2, 3, 4, 6, 8)
DELAYS = (1, 2, 3)
DROPS = (0.1, 0.2, 0.3, 0.4, 0.5)
PROBE_ENVS = 96  # environments per replica of the probe, half to fit it and half to judge it
MOMENTS = 8  # of an episode, at which messages are looked at
PERMUTATIONS = 199
RIDGE = 1.0  # of the probe, per row


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


# -- changes -------------------------------------------------------------------------------------------------


def nothing(mask: Tensor) -> Edit:
    """Marked features bring zeros."""
    return lambda x, before: torch.where(mask, 0.0, x)


def shuffled(mask: Tensor, env_dim: int) -> Edit:
    """Marked features bring what the neighbouring environment's reader reads at the same step."""
    return lambda x, before: torch.where(mask, x.roll(1, dims=env_dim), x)


class _Drawing:
    """An edit that draws by counter: a number per (step, place in what is read)."""

    def __init__(self) -> None:
        self.step = 0

    def _key(self) -> Tensor:
        self.step += 1
        return torch.tensor(rng.fold_int(0, int(rng.Stream.USER), self.step), dtype=torch.int64)

    def _places(self, shape: Sequence[int], device: torch.device) -> Tensor:
        count = int(np.prod(shape))
        return rng.sequence(self._key().to(device), 1 + torch.arange(count, device=device)).view(*shape)


class Noise(_Drawing):
    """Marked features bring Gaussian noise of the usual mean and deviation."""

    def __init__(self, mask: Tensor, habit: Habit) -> None:
        super().__init__()
        self.mask, self.habit = mask, habit

    def __call__(self, x: Tensor, before: Tensor | None) -> Tensor:
        """See :data:`~rlnet_bench.learning.channel.Edit`."""
        assert self.habit.deviation is not None
        drawn = rng.normal(self._places(x.shape, x.device))
        return torch.where(self.mask, self.habit.mean + self.habit.deviation * drawn, x)


class Dropped(_Drawing):
    """All marked features of a reader bring zeros together, with probability ``p`` in every step."""

    def __init__(self, mask: Tensor, p: float, grain: int) -> None:
        super().__init__()
        self.mask, self.p, self.grain = mask, p, grain

    def __call__(self, x: Tensor, before: Tensor | None) -> Tensor:
        """See :data:`~rlnet_bench.learning.channel.Edit`."""
        shape = x.shape[: x.ndim - self.grain]
        lost = rng.uniform32(self._places(shape, x.device)) < self.p
        return torch.where(self.mask & lost.view(*shape, *[1] * self.grain), 0.0, x)


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


# -- information ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """Of one seed: the share of what a receiver cannot see that its messages tell, held out and beyond chance."""

    r2: float
    p: float


def probes(channel: Channel, card: TaskCard, seeds: Sequence[int], mode: Mode, device: str = "cpu") -> list[Probe]:
    """What messages tell of others' observations beyond the receiver's own, one :class:`Probe` per seed.

    A ridge regression from message to what is left of the others' observations when a regression from the receiver's
    own is taken away, fitted on half of the environments and judged on the others (explained variance, 0 where it is
    negative), beyond chance c, (r - c) / (1 - c): the same with messages and environments joined anew.
    """
    read: dict[Any, list[Tensor]] = {place: [] for place in channel.masks}
    rows: list[Tensor] = []

    def keep(place: Any) -> Edit:
        def edit(x: Tensor, before: Tensor | None) -> Tensor:
            read[place].append(x.clone())
            return x

        return edit

    class Seen(Wrapped):
        """Keeps what all agents observe."""

        def act(self, observation: Tensor, *rest: Any) -> tuple[Tensor, PolicyState]:
            rows.append(observation.unflatten(0, (self.replicas, -1)).clone())
            return self.policy.act(observation, *rest)

    with channel.changed({place: keep(place) for place in channel.masks}, 0) as policy:
        evaluate(Seen(policy), card, seeds, PROBE_ENVS, stream=rng.Stream.USER, mode=mode, device=device)
    taken = sorted({len(rows) * k // MOMENTS for k in range(MOMENTS)})
    observation = torch.stack([rows[t] for t in taken], dim=2)  # [R, B, T, N, O]
    told: dict[int, Tensor] = {}
    for t in taken:
        for agent, x in channel.heard({place: x[t] for place, x in read.items() if len(x) == len(rows)}).items():
            told[agent] = torch.cat((told[agent], x[:, :, None]), dim=2) if agent in told else x[:, :, None]
    return [
        _probe(observation[k], {i: x[k] for i, x in told.items()}, words=heard_words(card)) for k in range(len(seeds))
    ]


def _probe(observation: Tensor, told: Mapping[int, Tensor], words: Mapping[int, slice]) -> Probe:
    """Of one seed: ``observation`` [B, T, N, O], ``told`` [B, T, F] by agent.

    Held out, the share of the target that messages explain beyond the agent's own observation.
    """
    found, chance = [], []
    keys = rng.env_keys((0,), rng.Stream.USER, PERMUTATIONS * len(observation)).view(PERMUTATIONS, -1)
    orders = [torch.arange(len(observation)), *keys.argsort(dim=1)]
    for agent, message in told.items():
        own = observation[:, :, agent].clone()
        if agent in words:
            own[..., words[agent]] = 0.0  # what it was told is not its own
        others = [j for j in range(observation.shape[2]) if j != agent]
        target = observation[:, :, others].flatten(2)
        target = target[..., target.flatten(0, 1).std(dim=0) > 1e-6]
        if target.shape[-1] == 0 or message.shape[-1] == 0:
            continue
        half = len(own) // 2
        left = float(_residual(own, target, half).square().sum().clamp(min=1e-12))
        joined = (torch.cat((own, message[order]), dim=-1) for order in orders)
        values = [1.0 - float(_residual(x, target, half).square().sum()) / left for x in joined]
        found.append(values[0])
        chance.append(values[1:])
    if not found:
        return Probe(0.0, 1.0)
    real = float(np.mean(found))
    null = np.mean(chance, axis=0)
    luck = float(null.mean())  # often below zero: what was fitted to noise fails on the other half
    beyond = max((real - luck) / max(1.0 - luck, 1e-12), 0.0)  # 1 where messages explain all, 0 at chance
    return Probe(beyond, float((1 + (null >= real).sum()) / (1 + len(null))))


def _residual(x: Tensor, y: Tensor, half: int) -> Tensor:
    """What a ridge regression, fitted on the first half of environments, leaves of the second."""
    spread = x.flatten(0, 1).std(dim=0).clamp(min=1e-6)
    x = ((x - x.flatten(0, 1).mean(dim=0)) / spread).double()
    y = ((y - y.flatten(0, 1).mean(dim=0)) / y.flatten(0, 1).std(dim=0)).double()
    fit_x, fit_y, test_x, test_y = (z.flatten(0, 1) for z in (x[:half], y[:half], x[half:], y[half:]))
    square = fit_x.T @ fit_x + RIDGE * torch.eye(fit_x.shape[1], dtype=torch.float64)
    return test_y - test_x @ torch.linalg.solve(square, fit_x.T @ fit_y)
