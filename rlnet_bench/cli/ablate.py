"""``rlnet-bench ablate``: what a trained network owes to each edge and motor."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rlnet_bench.cli.output import GivenTasks, JsonFlag, TrustFlag, print_json, print_table
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode, Weights

if TYPE_CHECKING:
    from rlnet_bench.networks.policy import NetworkPolicy


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(ablate)


def ablate(
    run_dir: Annotated[Path, typer.Argument(help="A run directory of a network, STORE/runs/<id>.")],
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Episodes per seed and change.")] = 64,
    which: Annotated[Weights, typer.Option("--which", help="The best checkpoint, or the final weights.")] = "best",
    mode: Annotated[Mode, typer.Option("--mode")] = "deterministic",
    out: Annotated[Path | None, typer.Option("--out", help="SVG file; RUN_DIR/ablation.svg by default.")] = None,
    trust_code: TrustFlag = False,
    task: GivenTasks = None,
    json: JsonFlag = False,
) -> None:
    """Score a trained network with each edge cut and each motor random, and draw which edges matter."""
    import torch

    from rlnet_bench.networks.ablation import ablate as score
    from rlnet_bench.networks.ablation import drawing
    from rlnet_bench.runs.plan import read_group, task_of, trust_groups
    from rlnet_bench.runs.policies import load_policy

    torch.set_num_threads(1)
    group = read_group(run_dir)
    trust_groups([group], run_dir, trust_code, task or ())
    if group.config.get("network") is None:
        raise BadInput(f"{run_dir}: expected the run of a network, found one of an ordinary method: it has no edges.")
    policy = cast("NetworkPolicy", load_policy(run_dir, None, which, mode=mode))
    config = group.config
    card = task_of(config)
    rows = score(policy, card, tuple(config["seeds"]), episodes, mode)
    svg = out or run_dir / "ablation.svg"
    try:
        svg.write_text(drawing(policy.graph, rows), encoding="utf-8")
        (run_dir / "ablation.json").write_text(json_module.dumps(rows, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be written ({error.strerror}).") from None
    if json:
        print_json(rows)
        return
    print(f"{config['label']} on {card.id}, {which} weights, {mode} actions, {episodes} episodes per seed")
    print_table(
        ["change", "what", "return", "drop", "se of the drop"],
        [[x["change"], x["name"], f"{x['return']:.4g}", f"{x['drop']:.3g}", f"{x['se']:.2g}"] for x in rows],
    )
    print(f"drawing: {svg}")
