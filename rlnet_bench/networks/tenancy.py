"""Vertices at which another method learns (*tenants*): the task that it is given, and its settings. Torch-free.

To the method, the vertices of a declaration are the agents of a task: what they read is what they observe, what they
send is what they do. :mod:`rlnet_bench.networks.tenant` has its learner live in the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import OffPolicyConfig
from rlnet_bench.methods import Method, find_method
from rlnet_bench.networks.graph import Graph
from rlnet_bench.trust import without_folder

if TYPE_CHECKING:
    from rlnet_bench.networks.method import NetworkConfig
    from rlnet_bench.networks.spec import NetworkSpec, Vertex


@dataclass(frozen=True)
class Tenancy:
    """The method that learns at the vertices of a stack, with its settings and its task."""

    vertex: Vertex
    method: type[Method]
    config: OffPolicyConfig
    card: TaskCard


def level_card(graph: Graph, members: Sequence[int]) -> TaskCard:
    """The task of some vertices that look alike: they are its agents, all else is its world."""
    task, nodes = graph.card, [graph.nodes[i] for i in members]
    agents = [n.agent for n in nodes if n.agent is not None]
    first = nodes[0]
    common: dict[str, Any] = {
        "id": f"{task.id} around {graph.spec.name}/{first.vertex.name}",
        "agents": tuple(n.name for n in nodes),
        "observation_sizes": tuple(n.input_width for n in nodes),
        "state": "full",
        "batch_invariant": False,  # what is around them learns
    }
    if agents:
        lows, highs = task.action_lows, task.action_highs
        return replace(
            task, **common, action_sizes=tuple(task.action_sizes[a] for a in agents),
            action_lows=None if lows is None else tuple(lows[a] for a in agents),
            action_highs=None if highs is None else tuple(highs[a] for a in agents),
        )  # fmt: skip
    discrete = first.vertex.sends.kind == "discrete"
    return replace(
        task, **common, action_kind="discrete" if discrete else "continuous", action_low=-1.0, action_high=1.0,
        action_sizes=tuple(n.instruction * max(n.heads, 1) for n in nodes), action_lows=None, action_highs=None,
        action_factors=None, masked=False,
    )  # fmt: skip


def is_hosted(method: type[Method]) -> bool:
    """It can live at vertices: it learns from a replay, which is written for it."""
    return issubclass(method.Config, OffPolicyConfig)


def settings_of(
    spec: NetworkSpec, vertex: Vertex, config: NetworkConfig, where: str = "", *, shared: bool = True
) -> OffPolicyConfig:
    """What the method at a vertex is told: its own defaults, what the vertex says, and what is the whole network's.

    Raises:
        BadInput: naming vertex and key, what was expected and what was found.
    """
    method = find_method(str(vertex.method))
    hidden = vertex.hidden if config.hidden is None else config.hidden
    given: dict[str, Any] = {
        **vertex.settings.to_data(), "num_envs": config.num_envs, "hidden": hidden, "share_parameters": shared,
        "memory": vertex.memory,
    }  # fmt: skip
    if vertex.recipe.learning_rate is not None:
        given["learning_rate"] = vertex.recipe.learning_rate
    if "critic_hidden" in method.Config.model_fields:
        given["critic_hidden"] = hidden if config.critic_hidden is None else config.critic_hidden
    made = method.configure(given, f"{where}{spec.where(vertex.line)}vertex {vertex.name!r}: ")
    assert isinstance(made, OffPolicyConfig)
    return made


def tenancy(graph: Graph, members: tuple[int, ...], config: NetworkConfig, *, shared: bool = True) -> Tenancy:
    """Who learns at a stack whose vertices name another method; raises BadInput as :func:`settings_of`.

    ``shared``: its vertices share parameters (no matter before anything is trained).
    """
    vertex = graph.nodes[members[0]].vertex
    told = settings_of(graph.spec, vertex, config, shared=shared)
    return Tenancy(vertex, find_method(str(vertex.method)), told, level_card(graph, members))


def tenancies(graph: Graph, config: NetworkConfig) -> Iterator[Tenancy]:
    """Of all such stacks."""
    for members in graph.stacks(padded=True):
        if graph.nodes[members[0]].vertex.method is not None:
            yield tenancy(graph, members, config)


def unsettled(graph: Graph, config: NetworkConfig) -> str | None:
    """Why some method cannot learn at its vertices with these settings, naming the vertex; None when all can."""
    for t in tenancies(graph, config):
        head = f"{graph.spec.where(t.vertex.line)}vertex {t.vertex.name!r}: `learner: {t.vertex.learner}`: "
        reason = t.method.impossible(t.card, t.config)
        if reason:
            return head + reason
        c, period = t.config, t.vertex.period
        if config.rollout_steps % c.rollout_steps:
            return (f"{head}expected `rollout_steps` that divide the network's, {config.rollout_steps}, found "
                    f"{c.rollout_steps}.")  # fmt: skip
        least = (c.window + 1) * period * c.num_envs
        if c.buffer_steps * c.num_envs < least:
            return (f"{head}expected a `buffer_size` of at least {least} frames ({c.window + 1} decisions of {period} "
                    f"steps in {c.num_envs} environments), found {c.buffer_size}.")  # fmt: skip
    return None


def versions(spec: NetworkSpec) -> dict[str, str]:
    """The version of every method at its vertices, and the beginning of its source where it is a file's."""
    found = {v.method: find_method(v.method) for v in spec.vertices if v.method is not None}
    return {without_folder(name): f"{m.version} {m.source_hash}".strip() for name, m in sorted(found.items())}
