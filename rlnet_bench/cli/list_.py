"""``rlnet-bench list``: what there is to run."""

from __future__ import annotations

from enum import StrEnum

import typer

from rlnet_bench.cli.output import JsonFlag, print_json, print_table


class Kind(StrEnum):
    """What can be listed."""

    tasks = "tasks"
    methods = "methods"
    networks = "networks"
    suites = "suites"


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("list")(list_)


def list_(kind: Kind, json: JsonFlag = False) -> None:
    """List tasks, methods, networks or suites."""
    rows = {Kind.tasks: _tasks, Kind.methods: _methods, Kind.networks: _networks, Kind.suites: _suites}[kind]()
    if json:
        print_json(rows)
        return
    if not rows:
        print(f"no {kind} yet")
        return
    columns = list(rows[0])
    print_table(columns, [[_cell(c, row[c]) for c in columns] for row in rows])


def _cell(column: str, value: object) -> str:
    if column.endswith("_gap"):
        from rlnet_bench.envs.cards import Gap

        return str(Gap(**value)) if isinstance(value, dict) else "not measured"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _tasks() -> list[dict[str, object]]:
    from dataclasses import asdict

    from rlnet_bench.envs.cards import GAPS, gaps
    from rlnet_bench.envs.registry import task_card, task_ids

    known = gaps()
    rows: list[dict[str, object]] = []
    for name in task_ids():
        card = task_card(name)
        points = {
            k: card.references[k].value if k in card.references else None for k in ("random", "uncoordinated", "best")
        }
        sizes = card.observation_sizes
        rows.append(
            {
                "id": name,
                "agents": card.num_agents,
                "observation": sizes[0] if len(set(sizes)) == 1 else "/".join(map(str, sizes)),
                "actions": f"{card.action_kind} {'/'.join(map(str, sorted(set(card.action_sizes))))}",
                "horizon": card.horizon,
                **points,
                "success": card.success_metric,
                "reward": "shared" if card.shared_reward else "individual",
                "channel": "yes" if card.channel else "no",
                **{f"{g}_gap": asdict(known[name][g]) if g in known.get(name, {}) else None for g in GAPS},
                "faithful to": card.faithful_to,
            }
        )
    return rows


def _methods() -> list[dict[str, object]]:
    from rlnet_bench.methods import find_method, method_ids

    return [
        {
            "id": m.id,
            "version": m.version,
            "actions": "/".join(k for k in ("discrete", "continuous") if getattr(m.capabilities, k)),
            "trains": "yes" if m.capabilities.trains else "no",
            "training": m.training,
            "summary": m.summary,
        }
        for m in map(find_method, method_ids())
    ]


def _networks() -> list[dict[str, object]]:
    from rlnet_bench.errors import BadInput
    from rlnet_bench.networks.build import load_network, nominal_card, zoo_ids
    from rlnet_bench.networks.graph import expand

    rows: list[dict[str, object]] = []
    for name in zoo_ids():
        spec = load_network(name)
        try:
            graph = expand(spec, nominal_card(3))
            size, execution = len(graph.nodes), graph.execution_class
        except BadInput:  # made for teams of another size
            size, execution = None, None
        rows.append(
            {"id": name, "vertices of 3 agents": size, "class": execution, "description": spec.description}
        )  # fmt: skip
    return rows


def _suites() -> list[dict[str, object]]:
    from rlnet_bench.runs.suite import load_suite, suite_names

    return [
        {
            "id": s.name,
            "version": s.version,
            "tasks": len(s.tasks),
            "methods": len(s.methods),
            "seeds": len(s.seeds),
            "description": s.description,
        }
        for s in map(load_suite, suite_names())
    ]
