"""``rlnet-bench season``: hidden evaluation seeds, committed before and revealed after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.errors import BadInput

season = typer.Typer(no_args_is_help=True, help="Hidden evaluation seeds: committed before, revealed after.")

Results = Annotated[Path, typer.Option("--results", help="The board: a folder of results.")]
Secret = Annotated[Path, typer.Option("--secret", help="The file with the secret; nobody else may see it.")]
Name = Annotated[str, typer.Argument(help="The season's.")]


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(season, name="season")


@season.command("open")
def open_(
    name: Name,
    secret: Secret,
    beacon: Annotated[str, typer.Option("--beacon", help="Whose rounds are used.")] = "drand quicknet",
    results: Results = Path("results"),
) -> None:
    """Draw a secret, and publish its sha256."""
    from rlnet_bench.leaderboard.board import read_board
    from rlnet_bench.leaderboard.season import open_season

    made = open_season(results, name, beacon, read_board(results).version, secret)
    print(
        f"season {name}: commitment {made.commitment}\nthe secret is in {secret}: keep it to yourself until it closes"
    )


@season.command()
def freeze(
    folder: Annotated[Path, typer.Argument(help="The submission; its manifest names season and beacon_round.")],
    season: Annotated[str | None, typer.Option("--season", help="A later one, which re-scores what is listed.")] = None,
    number: Annotated[
        int | None, typer.Option("--round", help="Of the beacon; that of the manifest by default.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write into the season's log that these weights will be drawn with that round, before it is public."""
    from rlnet_bench.leaderboard.check import check_submission
    from rlnet_bench.leaderboard.folder import Folder
    from rlnet_bench.leaderboard.policies import digests
    from rlnet_bench.leaderboard.season import freeze as write

    broken = [f for f in check_submission(folder, results) if not f.is_note]
    if broken:
        raise BadInput("\n".join(map(str, broken)))
    opened = Folder.at(folder)
    found = {task: list(digests(opened, task).values()) for task in opened.seeds}
    bound = write(results, opened.manifest, found, season, number)
    print(f"{opened.manifest.row}: frozen for round {bound} of the beacon")


@season.command()
def close(name: Name, secret: Secret, results: Results = Path("results")) -> None:
    """Reveal the secret: from now on anybody can draw what was drawn."""
    from rlnet_bench.leaderboard.season import close_season

    print(f"season {name}: the secret is {close_season(results, name, secret).secret}")


@season.command()
def audit(
    name: Name,
    beacon: Annotated[Path, typer.Option("--beacon", help="A file with the values of its rounds.")],
    results: Results = Path("results"),
) -> None:
    """Play every evaluation of a closed season again, from its revealed secret; exit code 1 when one differs."""
    from rlnet_bench.errors import WorkFailed
    from rlnet_bench.leaderboard.audit import audit as play

    found = play(results, name, beacon)
    for sentence in found.differences:
        print(sentence)
    print(f"season {name}: {found.policies} policies on {found.tasks} tasks played again, "
          f"{len(found.differences)} not as listed")  # fmt: skip
    if found.differences:
        raise WorkFailed(f"season {name}: {len(found.differences)} evaluations are not what is listed.")
