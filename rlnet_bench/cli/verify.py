"""``rlnet-bench verify FOLDER``: the level of a submission, with evidence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, TrustFlag, print_json, print_table
from rlnet_bench.cli.submit import ResultsOption
from rlnet_bench.errors import BadInput

if TYPE_CHECKING:
    from rlnet_bench.leaderboard.season import Drawing


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(verify)


def verify(
    folder: Annotated[Path, typer.Argument(help="The submission.")],
    results: ResultsOption = None,
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Of every policy on every task.")] = 320,
    season: Annotated[
        str | None, typer.Option("--season", help="Draw with this season's secret; else practice.")
    ] = None,
    secret: Annotated[Path | None, typer.Option("--secret", help="The file with the season's secret.")] = None,
    beacon: Annotated[Path | None, typer.Option("--beacon", help="A file with the values of its rounds.")] = None,
    retrain: Annotated[int, typer.Option("--retrain", min=0, help="Fresh training seeds per task, for V3.")] = 0,
    trust_code: TrustFlag = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the evidence into this folder.")] = None,
    json: JsonFlag = False,
) -> None:
    """Find the level of a submission, V0 to V3: its policies are scored again, on our environments."""
    import torch

    from rlnet_bench.leaderboard.evidence import write_evidence
    from rlnet_bench.leaderboard.verify import verify as find

    torch.set_num_threads(1)
    drawing = _drawing(results, season, secret, beacon)
    evidence, lines = find(folder, results, drawing=drawing, episodes=episodes)
    if retrain and evidence.level != "V0":
        from rlnet_bench.leaderboard.folder import Folder
        from rlnet_bench.leaderboard.retrain import retrain as again
        from rlnet_bench.leaderboard.season import practice

        evidence = again(Folder.at(folder), evidence, drawing or practice, seeds=retrain, trust_code=trust_code)
    if out is not None:
        write_evidence(out, evidence, lines)
    if json:
        print_json(asdict(evidence))
        return
    print(f"{evidence.row}: {evidence.level}")
    for reason in evidence.reasons:
        print(f"  {reason}")
    rows = [
        [t.task, p.seed, f"{p.mean:.4g}", f"{p.se:.2g}", p.episodes, t.execution, f"{_bits(t.columns):.0f}"]
        for t in evidence.tasks
        for p in t.policies
    ]
    for task, trained in evidence.retrained.items():
        print(f"trained again, {len(trained.runs)} seeds on {task}: {trained.verdict}")
    if rows:
        print_table(["task", "seed", "return", "se", "episodes", "class", "bits"], rows)


def _bits(columns: dict[str, float]) -> float:
    return columns.get("bits_up", 0.0) + columns.get("bits_down", 0.0)


def _drawing(results: Path | None, season: str | None, secret: Path | None, beacon: Path | None) -> Drawing | None:
    """The season's seeds, or None for practice."""
    from rlnet_bench.leaderboard.season import Drawing, Log, committed, read_beacon, read_season, read_secret

    if season is None and secret is None and beacon is None:
        return None
    if results is None or season is None or secret is None or beacon is None:
        raise BadInput("--season needs --results, --secret and --beacon: the board, the key, the values of its rounds.")
    found = read_season(results, season)
    return Drawing(found, committed(found, read_secret(secret)), read_beacon(beacon), Log.read(results, season))
