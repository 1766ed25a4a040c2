"""``rlnet-bench convert``: an actor that was trained with another package, as a frozen policy for the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, print_json
from rlnet_bench.vocabulary import Referee


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(convert)


def convert(
    weights: Annotated[Path, typer.Argument(help="The actor's weights: .pt/.th of torch.save, .safetensors, .npz.")],
    declaration: Annotated[Path, typer.Argument(help="YAML: package, task, activation, order of observations.")],
    pairs: Annotated[Path, typer.Option("--pairs", help="Recorded observations and actions of the original.")],
    out: Annotated[Path, typer.Option("--out", help="The submission's folder.")] = Path("submission"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which training seed this is.")] = 0,
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Score it on so many episodes.")] = 320,
    referee: Annotated[
        Referee, typer.Option("--referee", help="`reference` plays on the original package.")
    ] = "batched",
    json: JsonFlag = False,
) -> None:
    """Read another package's weights as data, check them on what the original did, score them, keep them."""
    import torch

    from rlnet_bench.leaderboard.convert import check_pairs, read_declaration, write_policy
    from rlnet_bench.leaderboard.convert import convert as read
    from rlnet_bench.learning.play import evaluate, evaluate_on_reference
    from rlnet_bench.rng import Stream

    torch.set_num_threads(1)
    declared = read_declaration(declaration)
    policy = read(declared, weights)
    share = check_pairs(policy, declared, pairs)
    card = policy.plays
    assert card is not None
    if referee == "reference":
        played = evaluate_on_reference(policy, card, (seed,), episodes)
    else:
        played = evaluate(policy, card, (seed,), episodes, stream=Stream.ABSOLUTE_ENV)
    files = write_policy(policy, out, seed, declared.package)
    value, se = float(played.team.mean()), float(played.team.std(ddof=1)) / episodes**0.5
    if json:
        print_json({"repeats": share, "return": value, "se": se, "episodes": episodes, "referee": referee,
                    "files": [str(f) for f in files]})  # fmt: skip
        return
    print(f"{declared.package} on {card.id}: repeats {share:.2%} of the recorded actions")
    print(f"return {value:.4g} ± {se:.2g} over {episodes} episodes, referee {referee}")
    for file in files:
        print(f"written: {file}")
