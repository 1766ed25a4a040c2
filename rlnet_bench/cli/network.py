"""``rlnet-bench network check`` and ``network draw``: what is wrong with a network, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, ResultsOption, print_json, print_table
from rlnet_bench.errors import BadInput

if TYPE_CHECKING:
    from rlnet_bench.networks.graph import Graph

NetworkArgument = Annotated[
    str, typer.Argument(metavar="NETWORK", help="A YAML file, a zoo id such as zoo/tag-3ppo, or METHOD@TASK.")
]
TaskOption = Annotated[str | None, typer.Option("--task", help="Lay it over this task.")]
AgentsOption = Annotated[int | None, typer.Option("--agents", min=1, max=512, help="Without a task: how many agents.")]

network = typer.Typer(name="network", help="Check and draw Reinforcement Networks.", no_args_is_help=True)
_TEAMS = (2, 3, 4, 5)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(network)


@network.command()
def check(file: NetworkArgument, task: TaskOption = None, agents: AgentsOption = None, json: JsonFlag = False) -> None:
    """Say what is wrong with a network, or what it costs and who knows what."""
    from rlnet_bench.networks.build import load_network, nominal_card
    from rlnet_bench.networks.graph import expand

    spec = load_network(file)
    if task is not None or agents is not None:
        graph = _lay(file, task, agents)
        if json:
            print_json(graph.to_json())
            return
        print(f"{spec.name} fits {graph.card.id}.")
        print_table(
            ["vertex", "level", "reads", "sends", "returns", "period", "place"],
            [
                [n.name, n.generation, n.input_width, _sends(graph, n.index), _returns(graph, n.index),
                 n.vertex.period, n.place]
                for n in graph.nodes
            ],
        )  # fmt: skip
        print(f"{len(graph.links)} edges; {summary(graph)}")
        reason = None if task is None else _untrainable(file, graph)
        if reason is not None:
            print(f"It cannot be trained there as it stands: {reason}")
        return
    graphs: list[Graph] = []
    refused: dict[int, str] = {}
    for n in _TEAMS:
        try:
            graphs.append(expand(spec, nominal_card(n)))
        except BadInput as error:
            refused[n] = str(error)
    if not graphs:
        raise BadInput(
            f"{refused[_TEAMS[-1]]}\nIt fits no team of {_TEAMS[0]} to {_TEAMS[-1]} agents; name the task that it is "
            "meant for with --task."
        )
    if json:
        print_json([g.to_json() for g in graphs])
        return
    print(f"{spec.name} is well formed. On tasks whose agents observe 8 numbers and choose among 5 actions:")
    print_table(
        ["agents", "vertices", "edges", "levels", "bits up", "bits down", "hops", "class"],
        [
            [g.card.num_agents, len(g.nodes), len(g.links), len(g.generations), f"{g.bits_up:g}", f"{g.bits_down:g}",
             g.hops, g.execution_class]
            for g in graphs
        ],
    )  # fmt: skip
    for n, sentence in refused.items():
        print(f"{n} agents: {sentence}")


@network.command()
def draw(
    file: NetworkArgument,
    task: TaskOption = None,
    agents: AgentsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .svg, .pdf or .png file; the network's name by default.")
    ] = None,
    results: ResultsOption = None,
    json: JsonFlag = False,
) -> None:
    """Draw a network, or a published one by name, in the format that the file's ending says."""
    from rlnet_bench.networks.draw import draw as draw_graph
    from rlnet_bench.networks.printed import ENDINGS, printed
    from rlnet_bench.runs.named import split

    graph = _published(file, results) if task is None and agents is None and split(file) else _lay(file, task, agents)
    path = out or Path(f"{graph.spec.name}.svg")
    ending = path.suffix.lower()
    if ending not in (".svg", *ENDINGS):
        raise BadInput(f"--out {path}: expected an ending .svg, {' or '.join(ENDINGS)}, found {ending or 'none'}.")
    svg = draw_graph(graph)
    try:
        path.write_bytes(svg.encode() if ending == ".svg" else printed(svg, ending))
    except OSError as error:
        raise BadInput(f"--out {path}: cannot be written ({error.strerror}).") from None
    if json:
        print_json({"drawing": str(path)})
    else:
        print(f"drawing: {path}")


def _lay(file: str, task: str | None, agents: int | None) -> Graph:
    from rlnet_bench.networks.build import load_network, nominal_card
    from rlnet_bench.networks.graph import expand
    from rlnet_bench.typed import task_card

    if task is not None and agents is not None:
        raise BadInput("--task and --agents: a task has its own number of agents; give one of the two.")
    return expand(load_network(file), task_card(task) if task is not None else nominal_card(agents or 3))


def _untrainable(file: str, graph: Graph) -> str | None:
    """Why planning would refuse it on its task, with default settings."""
    from rlnet_bench.networks.method import network_method

    method, _ = network_method(file)
    return method.impossible(graph.card, method.configure({}))


def _published(name: str, results: Path | None) -> Graph:
    """The graph of a published network, as its records have it."""
    from rlnet_bench.networks.graph import expand
    from rlnet_bench.networks.spec import NetworkSpec
    from rlnet_bench.runs.described import card_of
    from rlnet_bench.runs.named import find_cell

    _, cell = find_cell(name, results)
    group = next(g for g in cell.plan.groups if f"{g.label}@{g.config['task']}" == name)
    network, card = group.config.get("network"), card_of(group.config, group.described)
    if network is None or card is None:
        what = "a baseline, which has no graph" if network is None else "on a task that is not known here"
        raise BadInput(f"{name}: expected a Reinforcement Network, found {what}.")
    return expand(NetworkSpec.from_json(network), card)


def summary(graph: Graph) -> str:
    """One line of costs."""
    return (
        f"{graph.bits_up:g} message bits per step up, {graph.bits_down:g} down; {graph.hops} hops per step; "
        f"execution class {graph.execution_class}"
    )


def _sends(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    kind = node.vertex.sends.kind
    if node.heads == 0 or kind == "none":
        return "-"
    each = f" x {node.heads}" if node.vertex.sends.per_subordinate else ""
    return f"{'its action' if kind == 'action' else kind} {node.instruction}{each}"


def _returns(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    return f"{node.vertex.message.kind} {node.message_width}" if node.superiors and node.message else "-"
