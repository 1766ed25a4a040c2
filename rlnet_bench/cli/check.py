"""``rlnet-bench check task`` and ``check method``: does something of yours keep its contract?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from rlnet_bench.envs.check.report import CheckReport

check = typer.Typer(
    name="check", help="Test a task or a method of yours against its whole contract.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(check)


@check.command()
def task(
    name: Annotated[str, typer.Argument(metavar="TASK", help="An id, FILE.py:FACTORY, vmas:FILE.py, ...")],
    num_envs: Annotated[int, typer.Option("--num-envs", min=2, help="Environments of the batch.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Random steps; at least two horizons.")] = 1000,
    json: JsonFlag = False,
) -> None:
    """Play a task at random and hold it against every rule of environments; exit code 1 where one is broken."""
    from rlnet_bench.envs.check import check_env

    _tell(check_env(name, num_envs, steps), json)


@check.command()
def method(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="An id, FILE.py:CLASS, or a network's YAML file.")],
    on: Annotated[str, typer.Option("--task", help="A task that it can run on.")] = "mpe/simple_spread-discrete-v1",
    json: JsonFlag = False,
) -> None:
    """Train a method briefly, kill it, resume it, reload it; exit code 1 where a rule is broken."""
    from rlnet_bench.runs.check import check_method

    _tell(check_method(name, on), json)


def _tell(report: CheckReport, json: bool) -> None:
    if json:
        print_json({"task": report.task, "ok": report.ok, "checks": [asdict(c) for c in report]})
    else:
        print(f"{report}\n{report.verdict}.")
    if not report.ok:
        raise typer.Exit(1)
