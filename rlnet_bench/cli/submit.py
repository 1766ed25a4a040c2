"""``rlnet-bench submit``: a folder for the leaderboard, packed and checked."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, SuiteOption, print_json
from rlnet_bench.leaderboard.submission import SubmissionKind
from rlnet_bench.vocabulary import Mode, TrainingClass

ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="The board that it would be listed on: a folder of results.")
]
submit = typer.Typer(no_args_is_help=True, help="A folder for the leaderboard: pack it from a store, check it.")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(submit, name="submit")


@submit.command()
def pack(
    store: Annotated[str, typer.Argument(help="The run store.")],
    folder: Annotated[Path, typer.Argument(help="The submission, from `rlnet-bench new submission`.")],
    method: Annotated[str | None, typer.Option("--method", help="Its label; for a suite with several.")] = None,
    suite: SuiteOption = None,
    kind: Annotated[SubmissionKind | None, typer.Option("--kind", help="Instead of policies or a network.")] = None,
    json: JsonFlag = False,
) -> None:
    """Fill a submission's folder from a run store: policies, records, claims, launches, digests."""
    from rlnet_bench.leaderboard.pack import pack as fill
    from rlnet_bench.runs.store import Store

    made = fill(Store(store).checked(), folder, method=method, suite=suite, kind=kind)
    if json:
        print_json(made.model_dump(mode="json"))
    else:
        print(f"{folder}: {made.row}, {made.kind}, {len(made.tasks)} task(s), {len(made.launches)} run(s)")
        print(f"try: rlnet-bench submit check {folder}")


@submit.command()
def fill(
    folder: Annotated[Path, typer.Argument(help="The submission, with policies from `rlnet-bench convert`.")],
    training: Annotated[TrainingClass, typer.Option("--training", help="Whose knowledge flowed where.")],
    frames: Annotated[int | None, typer.Option("--frames", help="Of training per seed, where that is known.")] = None,
    mode: Annotated[Mode, typer.Option("--mode", help="How they act when they are scored.")] = "deterministic",
) -> None:
    """Complete a submission whose policies came without a run store: tasks, seeds, launches, digests."""
    from rlnet_bench.leaderboard.pack import fill as complete

    made = complete(folder, training, frames=frames, mode=mode)
    print(f"{folder}: {made.row}, {made.kind}, {len(made.tasks)} task(s), {len(made.launches)} policies")
    print(f"try: rlnet-bench submit check {folder}")


@submit.command()
def check(
    folder: Annotated[Path, typer.Argument(help="The submission.")],
    results: ResultsOption = None,
    json: JsonFlag = False,
) -> None:
    """Hold a submission against every rule, offline; exit code 2 when one is broken, and how to mend it."""
    from rlnet_bench.leaderboard.check import check_board, check_submission
    from rlnet_bench.leaderboard.rules import BOARD_RULES, SUBMISSION_RULES

    findings = check_submission(folder, results) + (check_board(results) if results is not None else [])
    if json:
        print_json([asdict(f) for f in findings])
    else:
        for finding in findings:
            print(finding)
        broken = len({f.rule for f in findings if not f.is_note})
        rules = len(SUBMISSION_RULES) + 1 + (len(BOARD_RULES) if results is not None else 0)
        print(f"{folder}: {broken} of {rules} rules broken.")
    if any(not f.is_note for f in findings):
        raise typer.Exit(2)


@submit.command()
def accept(
    folder: Annotated[Path, typer.Argument(help="The submission.")],
    evidence: Annotated[Path, typer.Option("--evidence", help="What `verify --out` wrote.")],
    results: Annotated[Path, typer.Option("--results", help="The board: a folder of results.")] = Path("results"),
    json: JsonFlag = False,
) -> None:
    """List a verified submission: copy it and its evidence to the board, and write down what is listed now."""
    from rlnet_bench.leaderboard.accept import accept as put

    found = put(folder, evidence, results)
    if json:
        print_json([asdict(e) | {"source": str(e.source)} for e in found])
    else:
        for e in found:
            print(f"listed: {e.method}@{e.version} on {e.task}, {e.division}, {e.level}")


@submit.command()
def comment(
    folder: Annotated[Path, typer.Argument(help="The submission.")],
    evidence: Annotated[Path, typer.Option("--evidence", help="What `verify --out` wrote.")],
    results: Annotated[Path, typer.Option("--results", help="The board: a folder of results.")] = Path("results"),
) -> None:
    """Write the comment that CI posts: the new row against two fixed references, as Markdown."""
    from rlnet_bench.leaderboard.comment import comment as write

    print(write(folder, evidence, results), end="")


@submit.command()
def record(
    results: Annotated[Path, typer.Option("--results", help="The board: a folder of results.")] = Path("results"),
    base: Annotated[str, typer.Option("--base", help="The branch whose merge base counts.")] = "main",
) -> None:
    """Hold the board against its rules and the merge base; then write down what is listed now (board.json)."""
    from rlnet_bench.leaderboard.accept import record as write
    from rlnet_bench.leaderboard.check import check_board

    findings = check_board(results, base)
    for finding in findings:
        print(finding)
    if findings:
        raise typer.Exit(2)
    print(f"{results}: {len(write(results))} entries")
