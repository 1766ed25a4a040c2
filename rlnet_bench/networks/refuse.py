"""What the language can say and training cannot do yet: refused when planned, never ignored. Torch-free."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from rlnet_bench.envs.layout import layout_of
from rlnet_bench.errors import UnknownName
from rlnet_bench.methods import find_method, method_ids
from rlnet_bench.networks.flow import Part
from rlnet_bench.networks.graph import Graph, Node
from rlnet_bench.networks.tenancy import is_hosted


def unsupported(graph: Graph, outside: Collection[int] = ()) -> str | None:
    """The first thing in a graph that cannot be trained, as a sentence that names the vertex; else None.

    ``outside``: vertices that somebody else decides for, through LevelEnv.
    """
    return next(_reasons(graph, outside), None)


def _reasons(graph: Graph, outside: Collection[int]) -> Iterator[str]:
    where = graph.spec.where
    yield from _channels(graph)
    stack_of = {i: number for number, members in enumerate(graph.stacks(padded=True)) for i in members}
    group_of: dict[str, Node] = {}
    for node in graph.nodes:
        v = node.vertex
        head = f"{where(v.line)}vertex {node.name!r}: "
        if v.memory == "gru":
            yield from _memory(graph, node, head)
        if v.recipe.encoder == "entities" and layout_of(graph.card) is None:
            yield (f"{head}`encoder: entities` needs to know what observations are made of, and "
                   f"{graph.card.id} does not declare it; use plain.")  # fmt: skip
        if v.method is not None:
            yield from _by_method(graph, node, f"{head}`learner: {v.learner}`", stack_of)
        if v.reward == "difference":
            yield (f"{head}`reward: difference` needs a task that offers rewards without an agent, and "
                   f"{graph.card.id} does not; use mean, sum or team.")  # fmt: skip
        if v.group is not None:
            first = group_of.setdefault(v.group, node)
            if stack_of[first.index] != stack_of[node.index]:
                yield (f"{head}shares the parameters of group {v.group!r} with {first.name!r}, which stands on another "
                       "level or has other settings; that cannot be trained yet.")  # fmt: skip
        if v.advantage == "superiors":
            yield from _taught(graph, node, head + "`advantage: superiors`")
            if v.period > 1:
                yield f"{head}`advantage: superiors` needs period 1, found {v.period}."
        if v.reward == "superior_advantage":
            yield from _taught(graph, node, head + "`reward: superior_advantage`")
            if node.index in outside:
                yield f"{head}`reward: superior_advantage` is known after a rollout only; use mean, sum or team here."
        yield from _through(graph, node, head)


def _channels(graph: Graph) -> Iterator[str]:
    """Edges that round or lose what goes over them."""
    for link in graph.links:
        edge, superior, subordinate = link.edge, graph.nodes[link.superior], graph.nodes[link.subordinate]
        if edge.bits is None and not edge.drop:
            continue
        head = f"{graph.spec.where(edge.line)}edge {superior.name} -> {subordinate.name}: "
        key = "`bits`" if edge.bits is not None else "`drop`"
        through = [n for n in (superior, subordinate) if n.vertex.gradient == "through"]
        if through:
            yield f"{head}{key} and `gradient: through` of {through[0].name!r} do not go together yet; use stop."
        if link.up and superior.vertex.message.kind == "mean":
            yield (f"{head}{key} of what {superior.name!r} averages (`message: mean`) is not available; use "
                   "`carry: instructions`, or another message.")  # fmt: skip
        if edge.bits is not None and link.up and subordinate.vertex.message.kind != "learned":
            kind = subordinate.vertex.message.kind
            yield (f"{head}`bits` needs numbers of a known range, and {subordinate.name!r} sends up `message: {kind}`; "
                   "use {learned: m}, or `carry: instructions`.")  # fmt: skip
        if edge.bits is not None and link.down and superior.vertex.sends.kind not in ("continuous", "discrete"):
            what = "its action" if superior.is_motor else "observations"
            yield (f"{head}`bits` needs numbers of a known range, and {superior.name!r} passes on {what}; use an "
                   "instruction of its own.")  # fmt: skip


def _by_method(graph: Graph, node: Node, head: str, stack_of: Mapping[int, int]) -> Iterator[str]:
    """What another method decides is one action per decision, and no gradient passes it."""
    v = node.vertex
    try:
        method = find_method(str(v.method))
    except UnknownName as error:
        yield f"{head}: {error}"
        return
    if not is_hosted(method):
        fitting = [name for name in method_ids() if is_hosted(find_method(name))]
        yield (f"{head}: expected a method that learns from a replay ({', '.join(fitting)}), found one that does not; "
               "PPO at a vertex is `learner: ppo`.")  # fmt: skip
        return
    if not node.is_motor and node.heads == 0:
        yield f"{head}: it chooses nothing; expected an `action` that somebody receives."
    if node.is_motor and node.heads and v.sends.kind != "action":
        yield f"{head}: a method chooses one action; expected `instruction: action`, found an instruction beside it."
    if node.heads > 1 and v.sends.kind == "discrete":
        yield (f"{head}: a method chooses one option; expected one for all subordinates, found {node.heads} "
               "(`per_subordinate: true`).")  # fmt: skip
    only = {
        "critic": "local", "advantage": "own", "delivers": "own or shuffled", "gradient": "stop",
        "reward": "mean, sum or team", "message": "identity, mean or none",
    }  # fmt: skip
    found = {key: str(getattr(v, key)) for key in only} | {"message": v.message.kind}
    wrong = {"reward": "superior_advantage", "message": "learned", "delivers": "constant"}
    for key, expected in only.items():
        if found[key] == wrong[key] if key in wrong else found[key] != expected:
            yield f"{head}: `{key}: {found[key]}` is for vertices that learn by ppo; expected {expected}."
    if v.memory == "gru" and v.period > 1:
        yield f"{head}: `memory: gru` learns from successive steps; expected period 1, found {v.period}."
    for link in graph.links:
        if link.subordinate == node.index and isinstance(link.edge.weight, str):
            yield f"{head}: expected fixed weights of the edges from above, found `weight: {link.edge.weight}`."
    fresh = [p for p in (*node.below, *node.above) if _is_fresh(graph, p)]
    if fresh:
        source = graph.nodes[fresh[0].source].name
        yield f"{head}: it learns from a replay, through which no gradient reaches {source!r} (`gradient: through`)."
    if method.training != "independent":
        team = [n for n in graph.nodes if n.vertex.name == v.name]
        if v.recipe.share == "group":
            team = [n for n in team if n.superiors == node.superiors]
        apart = [n.name for n in team if stack_of[n.index] != stack_of[node.index]]
        if apart:
            yield (f"{head}: the method learns for all of a declaration together, and {apart[0]!r} stands on another "
                   "level or has other widths; expected members that look alike.")  # fmt: skip


def _memory(graph: Graph, node: Node, head: str) -> Iterator[str]:
    """Recurrent vertices learn from whole rollouts, each for itself."""
    v = node.vertex
    if v.method is not None:  # see :func:`_by_method`
        return
    if not v.kind.trains:
        yield f"{head}`memory: gru` needs a vertex that learns by ppo, found learner {v.learner!r}."
    if not node.is_motor and node.heads == 0:
        yield f"{head}`memory: gru`, and it chooses nothing that it could remember for; use `memory: none`."
    if v.period > 1:
        yield f"{head}`memory: gru` needs period 1 so far, found {v.period}."
    if v.gradient == "through":
        yield f"{head}`memory: gru` needs `gradient: stop` so far, found through."
    fresh = [p for p in (*node.below, *node.above) if _is_fresh(graph, p)]
    if fresh:
        source = graph.nodes[fresh[0].source].name
        yield (f"{head}`memory: gru`, and no gradient can pass it to {source!r} (`gradient: through`) yet; "
               "use `memory: none`.")  # fmt: skip
    if not v.hidden:
        yield f"{head}`memory: gru` needs at least one hidden layer, whose width is what it remembers."


def _taught(graph: Graph, node: Node, head: str) -> Iterator[str]:
    if not node.superiors:
        yield f"{head}, and it has no superior on {graph.card.id}."
    for i in node.superiors:
        other = graph.nodes[i]
        if other.vertex.period > 1 or not other.vertex.kind.trains:
            yield (f"{head} needs the critic of {other.name!r}, which must learn by ppo with period 1, found "
                   f"{other.vertex.learner} with period {other.vertex.period}.")  # fmt: skip


def _through(graph: Graph, node: Node, head: str) -> Iterator[str]:
    """Gradients pass edges within one step only."""
    fresh = [p for p in (*node.below, *node.above) if _is_fresh(graph, p)]
    late = [p for p in fresh if p.delay > 0]
    if late:
        source = graph.nodes[late[0].source].name
        yield f"{head}reads {source!r} over a delay, and `gradient: through` cannot pass a delayed edge yet."
    if fresh and node.vertex.period > 1:
        source = graph.nodes[fresh[0].source].name
        yield (f"{head}acts every {node.vertex.period} steps, and no gradient can pass it to {source!r} "
               "(`gradient: through`) yet; use period 1.")  # fmt: skip
    if is_through(node) and node.vertex.period > 1:
        yield f"{head}`gradient: through` needs period 1 so far, found {node.vertex.period}."
    if node.vertex.gradient == "through" and node.vertex.message.kind == "mean":
        below = [p for item in node.mean_of for p in item if _is_fresh(graph, p)]
        if below:
            source = graph.nodes[below[0].source].name
            yield f"{head}no gradient can pass its `mean` message to {source!r} (`gradient: through`) yet."
    if node.vertex.message.kind == "mean" and node.vertex.gradient == "stop":
        below = [p for item in node.mean_of for p in item if _is_fresh(graph, p)]
        if below:
            source = graph.nodes[below[0].source].name
            yield f"{head}its `mean` message stops the gradient that {source!r} (`gradient: through`) needs."


def is_through(node: Node) -> bool:
    """Its instruction is a deterministic output that its subordinates' losses train."""
    v = node.vertex
    return v.gradient == "through" and v.kind.trains and v.sends.kind in ("continuous", "bits") and node.heads > 0


def _is_fresh(graph: Graph, part: Part) -> bool:
    """Training computes it again, so that a gradient can pass."""
    source = graph.nodes[part.source]
    if part.kind == "learned":
        return source.vertex.gradient == "through"
    return part.kind == "instruction" and is_through(source)
