"""``rlnet-bench crossplay``: agents of different seeds, methods or scripts in one team."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, ResultsOption, print_json, print_table
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode

if TYPE_CHECKING:
    from rlnet_bench.analysis.crossplay import Crossplay
    from rlnet_bench.stats.result import Estimate

ENDINGS = (".svg", ".pdf", ".png")


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(crossplay)


def crossplay(
    task: Annotated[str, typer.Argument(help="The task that all of them were trained on.")],
    sources: Annotated[
        list[str], typer.Argument(metavar="METHOD...", help="Published methods, controls or scripts, run directories.")
    ],
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Episodes per seat and pair.")] = 64,
    mode: Annotated[Mode, typer.Option("--mode")] = "deterministic",
    results: ResultsOption = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Keep the matrix in this folder, such as results/crossplay.")
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Draw it: a .svg, .pdf or .png file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="The numbers as a CSV file.")] = None,
    json: JsonFlag = False,
) -> None:
    """Let agents play beside agents that they were not trained with: one guest among hosts, in every seat in turn."""
    import torch

    from rlnet_bench.analysis.crossplay import crossplay as play

    if figure is not None and figure.suffix not in ENDINGS:
        raise BadInput(f"--figure {figure}: expected an ending {', '.join(ENDINGS)}, found {figure.suffix or 'none'}.")
    torch.set_num_threads(1)
    found = play(task, sources, episodes=episodes, mode=mode, results=results)
    written = [found.write(record)] if record else []
    if csv:
        found.frame().to_csv(csv, index=False)
        written.append(csv)
    if figure:
        _draw(found, figure)
        written.append(figure)
    if json:
        print_json(found.to_json())
        return
    _print(found)
    for path in written:
        print(f"written: {path}")


def _print(found: Crossplay) -> None:
    pairs, alone, bounds = found.pairs(), found.self_play(), found.bounds()
    print(
        f"{found.task}: team return, {found.episodes} {found.mode} episodes per seat; row: one guest, column: its hosts"
    )
    rows = [[m, *(_text(pairs.get((m, c))) for c in found.methods), _text(alone[m])] for m in found.methods]
    best = [f"{b.value:.4g} ({b.player.method}, seed {b.player.seed}, {b.player.run_id})" if b else ""
            for b in bounds.values()]  # fmt: skip
    print_table(["guest", *found.methods, "itself"], [*rows, ["best known beside it", *best, ""]])
    reasons = {e.reason for e in (*pairs.values(), *alone.values()) if e.reason}
    for sentence in (*dict.fromkeys(found.notes.values()), *sorted(reasons)):
        print(f"- {sentence}")


def _text(e: Estimate | None) -> str:
    if e is None:
        return ""
    return f"{e.value:.4g}" if e.low is None else f"{e.value:.4g} [{e.low:.4g}, {e.high:.4g}]"


def _draw(found: Crossplay, path: Path) -> None:
    from matplotlib.figure import Figure

    from rlnet_bench.reports import plots

    k = len(found.methods)
    drawn = Figure((2.0 + 1.3 * (k + 1), 1.2 + 0.7 * k), layout="constrained")
    plots.crossplay(found, drawn.subplots())
    try:
        drawn.savefig(path)
    except OSError as error:
        raise BadInput(f"--figure {path}: cannot be written ({error.strerror}).") from None
