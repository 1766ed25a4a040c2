"""What a trained network owes to its edges and motors: cut one, delay them, send fewer bits, and score again.

Nothing is trained anew. A cut edge brings what it brings on average: in :func:`ablate` while the network plays, in the
six scores of every run over a random walk of the task. A message that also arrives by another path still does. A
``mean`` message counts as its vertex's own: cutting an edge below it changes what the vertex reads, not the mean.

Axes: **R** replicas, **E** episodes, **K** vertices of a stack, **F** features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.channel import BITS, bits_kind
from rlnet_bench.learning.edits import Edit, Habit, cut, delayed, quantised
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy, PolicyState, Wrapped
from rlnet_bench.learning.protocol import Channel, own_habits
from rlnet_bench.learning.untrained import UniformPolicy
from rlnet_bench.networks.flow import Part, _ages
from rlnet_bench.networks.graph import Graph, _instances, _joints
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.networks.topology import Joint, informs
from rlnet_bench.vocabulary import ChannelKind, Mode

WALK_ENVS, WALK_STEPS = 32, 50
Key = tuple[int, str]  # (stack, "reads" or "message")


@torch.no_grad()
def habits(policy: NetworkPolicy, card: TaskCard, device: str = "cpu") -> dict[Key, Habit]:
    """What every stack reads, by (stack, kind): walk at random through the task, while the network reads along.

    The walk is the same for every replica; each habit is [R, 1, K, F].
    """
    r = policy.replicas
    env = make_env(card, WALK_ENVS, device)
    keys = rng.env_keys((0,), rng.Stream.USER, WALK_ENVS, device)
    walker = UniformPolicy(card, 1, device)
    now: Any = env.reset(keys)
    state = walker.initial_state(WALK_ENVS, keys)
    executor = policy.executor
    memory = executor.initial_memory(r * WALK_ENVS)
    seen: dict[Key, list[Tensor]] = {}
    for t in range(WALK_STEPS):
        draws = executor.draws(keys.repeat(r), torch.tensor([[t]], device=device))[0]
        mask = None if now.action_mask is None else now.action_mask.repeat(r, 1, 1)
        _, memory, taken = executor.step(now.observation.repeat(r, 1, 1), None, memory, draws, mask, record=True)
        for number, note in enumerate(taken):
            for kind, value in (("reads", note.features), ("message", note.reported)):
                if value is not None:
                    seen.setdefault((number, kind), []).append(value)
        action, state = walker.act(now.observation, state, now.action_mask)
        now = env.step(action)
        if memory:
            memory = executor.restarted(memory, (now.terminated | now.truncated).repeat(r))
    env.close()
    return {key: Habit.of(torch.cat(values, dim=1), 1) for key, values in seen.items()}


def crossing(graph: Graph) -> tuple[int, ...]:
    """Links between different places: those that need a transmission."""
    return tuple(k.index for k in graph.links if graph.nodes[k.superior].place != graph.nodes[k.subordinate].place)


def carried(policy: NetworkPolicy, links: Collection[int], *, numbers_only: bool = False) -> dict[Key, Tensor]:
    """Which inputs come over these links and no other way, bool [K, F] by (stack, kind).

    Args:
        policy: the network.
        links: numbers of ``Graph.links``.
        numbers_only: leave out options and actions that are sent as one of n.
    """
    graph, gone = policy.graph, set(links)
    nodes = _instances(graph)
    up: list[list[Joint]] = [[] for _ in nodes]
    for number, joint in enumerate(_joints(graph)):
        if number not in gone and informs(joint.edge, nodes[joint.subordinate].vertex):
            up[joint.superior].append(joint)
    left = _ages(nodes, up)

    def lost(i: int, part: Part) -> bool:
        if part.kind == "instruction":
            sends = graph.nodes[part.source].vertex.sends.kind
            one_of = sends in ("discrete", "bits") or (sends == "action" and graph.card.action_kind == "discrete")
            return part.link in gone and not (numbers_only and one_of)
        at, late = i, 0
        if part.link is not None:  # relayed
            at, late = graph.links[part.link].superior, graph.links[part.link].edge.delay
        return part.link in gone or left[at].get((part.kind, part.source), 1 << 30) + late > part.delay

    out: dict[Key, Tensor] = {}
    for net in policy.nets:
        for kind, gather in (("reads", net.reads), ("message", net.message_reads)):
            if gather is None:
                continue
            mask = torch.zeros(gather.shape[0], gather.width, dtype=torch.bool, device=gather.index.device)
            for k, i in enumerate(net.stack.members):
                node, start = graph.nodes[i], 0
                for part in (*node.below, *(node.above if kind == "reads" else ())):
                    mask[k, start : start + part.width] = lost(i, part)
                    start += part.width
            if bool(mask.any()):
                out[net.stack.number, kind] = mask
    return out


def cut_links(policy: NetworkPolicy, links: Collection[int], usual: Mapping[Key, Habit]) -> None:
    """Let these links bring their mean; ``cut_links(policy, (), usual)`` mends everything."""
    masks = carried(policy, links) if links else {}
    _edit(policy, {key: cut(mask, usual[key]) for key, mask in masks.items()})


def delay_links(policy: NetworkPolicy, links: Collection[int]) -> None:
    """Let these links bring what they would have brought one step ago (zero at first)."""
    _edit(policy, {key: delayed(mask) for key, mask in carried(policy, links).items()}, looks_back=1)


def quantise_links(policy: NetworkPolicy, links: Collection[int], bits: int, usual: Mapping[Key, Habit]) -> None:
    """Send every number over these links as one of 2 ** bits values between the least and greatest of the walk."""
    masks = carried(policy, links, numbers_only=True)
    _edit(policy, {key: quantised(mask, usual[key], bits) for key, mask in masks.items()})


def _edit(policy: NetworkPolicy, edits: Mapping[Any, Edit], looks_back: int = 0) -> None:
    policy.executor.edits, policy.executor.looks_back = dict(edits), looks_back


def channel_of(policy: NetworkPolicy, links: Sequence[int] | None = None) -> Channel:
    """Edges as one channel: those between places, or the given ones."""
    masks = carried(policy, crossing(policy.graph) if links is None else links)

    @contextmanager
    def changed(edits: Mapping[Any, Edit], late: int) -> Iterator[Policy]:
        try:
            _edit(policy, edits, late)
            yield policy
        finally:
            _edit(policy, {})

    def heard(read: Mapping[Any, Tensor]) -> Mapping[int, Tensor]:
        found = {}
        for net in policy.nets:
            key = (net.stack.number, "reads")
            if net.stack.is_motor and key in masks:
                for k, agent in enumerate(net.stack.agents):
                    found[agent] = read[key][:, :, k, masks[key][k]]
        return found

    return Channel("edges between places", masks, 1, 1, changed, heard)


def degraded(
    policy: NetworkPolicy, card: TaskCard, usual: Mapping[Key, Habit] | None = None, device: str = "cpu"
) -> Iterator[tuple[ChannelKind, NetworkPolicy]]:
    """The network with every edge between places cut, late and coarse; nothing where none goes between places."""
    between = crossing(policy.graph)
    if not between:
        return
    usual = habits(policy, card, device) if usual is None else usual
    try:
        cut_links(policy, between, usual)
        yield "decentralised", policy
        delay_links(policy, between)
        yield "delay-1", policy
        for bits in BITS:
            quantise_links(policy, between, bits, usual)
            yield bits_kind(bits), policy
    finally:
        cut_links(policy, (), usual)


class WithRandomMotor(Wrapped):
    """A network in which one agent acts uniformly at random."""

    def __init__(self, policy: NetworkPolicy, card: TaskCard, agent: int, device: str = "cpu") -> None:
        super().__init__(policy)
        self.agent = agent
        self.random = UniformPolicy(card, policy.replicas, device)

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`rlnet_bench.learning.policy.Policy`."""
        other, _ = self.random.act(observation, state._replace(keys=rng.fold(state.keys, self.agent)), mask)
        actions, state = self.policy.act(observation, state, mask, reset, deterministic)
        actions = actions.clone()
        actions[:, self.agent] = other[:, self.agent]
        return actions, state


def ablate(
    policy: NetworkPolicy,
    card: TaskCard,
    seeds: Sequence[int],
    episodes: int = 64,
    mode: Mode = "deterministic",
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Score the network whole and changed, on the same episodes.

    Returns:
        One row per change: ``change`` (whole, edge or motor), ``name``, ``return`` (team sum, mean over seeds and
        episodes), ``drop`` from the whole network's, and ``se``, the standard error of the drop over seeds and
        episodes, which are the same on both sides.
    """
    graph = policy.graph
    every = channel_of(policy, [link.index for link in graph.links])
    usual = own_habits(every, card, seeds, mode, device=device) if graph.links else {}
    base: np.ndarray | None = None
    rows: list[dict[str, Any]] = []

    def score(change: str, name: str, acting: Any = policy) -> None:
        nonlocal base
        team = evaluate(acting, card, seeds, episodes, stream=rng.Stream.ABSOLUTE_ENV, mode=mode, device=device).team
        base = team if base is None else base
        drop = base - team
        se = float(drop.std(ddof=1) / drop.size**0.5)
        rows.append(
            {"change": change, "name": name, "return": float(team.mean()), "drop": float(drop.mean()), "se": se}
        )

    cut_links(policy, (), usual)
    score("whole", graph.spec.name)
    for link in graph.links:
        cut_links(policy, (link.index,), usual)
        score("edge", f"{graph.nodes[link.superior].name} -> {graph.nodes[link.subordinate].name}")
    cut_links(policy, (), usual)
    for agent, i in enumerate(graph.motors):
        score("motor", graph.nodes[i].name, WithRandomMotor(policy, card, agent, device))
    return rows


def drawing(graph: Graph, rows: Sequence[dict[str, Any]]) -> str:
    """SVG of the graph with every edge as thick as the network's loss without it."""
    from rlnet_bench.networks.draw import draw

    edges = {tuple(x["name"].split(" -> ")): max(x["drop"], 0.0) for x in rows if x["change"] == "edge"}
    return draw(graph, {(a, b): value for (a, b), value in edges.items()})
