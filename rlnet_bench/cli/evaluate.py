"""``rlnet-bench evaluate``: score a trained policy on fresh episodes, or film it."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlnet_bench.cli.output import (
    GivenMethods,
    GivenTasks,
    JsonFlag,
    ResultsOption,
    TrustFlag,
    print_json,
    print_table,
    say,
)
from rlnet_bench.cli.output import loaded as results_of
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode, Referee, Weights

if TYPE_CHECKING:
    from rlnet_bench.analysis.team_sizes import TeamSizes
    from rlnet_bench.envs.contract import Scene
    from rlnet_bench.learning.policy import Policy
    from rlnet_bench.stats.result import Estimate


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(evaluate)


def evaluate(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run directory STORE/runs/<id>, or METHOD@TASK.")],
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Episodes per seed.")] = 320,
    which: Annotated[Weights, typer.Option("--which", help="The best checkpoint, or the final weights.")] = "best",
    mode: Annotated[Mode, typer.Option("--mode")] = "deterministic",
    seed: Annotated[int | None, typer.Option("--seed", help="One seed of the group; all by default.")] = None,
    results: ResultsOption = None,
    referee: Annotated[
        Referee, typer.Option("--referee", help="`reference` plays on the original package.")
    ] = "batched",
    gif: Annotated[Path | None, typer.Option("--gif", help="Film one episode into this file.")] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Draw the last step of one episode.")] = None,
    agents: Annotated[
        str | None,
        typer.Option("--agents", help="Other team sizes, such as 4,6 or +1,+2,2x: the same task with so many agents."),
    ] = None,
    trained: Annotated[
        str | None, typer.Option("--trained", help="With --agents: a store or results of what was trained there.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="With --trained: another method there than the one that is scored.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="With --agents: keep it in this folder, such as results/team-sizes.")
    ] = None,
    trust_code: TrustFlag = False,
    method: GivenMethods = None,
    task: GivenTasks = None,
    json: JsonFlag = False,
) -> None:
    """Score a trained policy on fresh episodes (those of the absolute metric), or film it."""
    import torch

    from rlnet_bench.learning.play import evaluate as play
    from rlnet_bench.learning.play import record_episode
    from rlnet_bench.rng import Stream
    from rlnet_bench.runs.named import find_holder, split
    from rlnet_bench.runs.plan import read_group, task_of, trust_groups
    from rlnet_bench.runs.policies import load_policy

    for path, suffix in ((gif, ".gif"), (png, ".png")):
        if path is not None and (path.suffix != suffix or not path.absolute().parent.is_dir()):
            raise BadInput(f"{path}: expected a file name ending in {suffix}, in a directory that exists.")
    torch.set_num_threads(1)
    given = [*(method or ()), *(task or ())]
    group = read_group(Path(source)) if Path(source).is_dir() else None
    if group is not None:  # environments are made: also the code of its task
        trust_groups([group], source, trust_code, given)

    def loaded(one: int | None, size: int | None = None) -> Policy:
        of = None if group is None else mode  # published is one set of weights
        return load_policy(
            source, one, which, mode=of, results=results, trust_code=trust_code, given=given, agents=size
        )

    if agents is not None:
        from rlnet_bench.analysis.team_sizes import at_sizes

        if gif or png or referee == "reference":
            raise BadInput("--agents: other team sizes are scored on the batched rules and not filmed; leave out "
                           "--gif, --png and --referee.")  # fmt: skip
        there = None if trained is None else results_of(trained)
        found = at_sizes(
            lambda size: loaded(seed, size), agents, episodes=episodes, mode=mode, which=which, trained=there,
            against=against,
        )  # fmt: skip
        file = None if record is None else found.write(record)
        if json:
            print_json([x.to_json() for x in found.sizes])
            return
        _print_sizes(found)
        if file:
            print(f"written: {file}")
        return
    if trained or against or record:
        raise BadInput("--trained, --against and --record are about other team sizes; say which with --agents.")
    policy = loaded(seed)
    assert policy.trained is not None and policy.plays is not None
    label, seeds, card = (
        policy.trained.label,
        policy.trained.seeds,
        policy.plays if group is None else task_of(group.config),
    )
    if referee == "reference":
        from rlnet_bench.learning.play import evaluate_on_reference

        played = evaluate_on_reference(policy, card, seeds, episodes, mode=mode)
    else:
        played = play(policy, card, seeds, episodes, stream=Stream.ABSOLUTE_ENV, mode=mode)
    rows = [
        {
            "seed": s,
            "episodes": episodes,
            "return": float(played.team[k].mean()),
            "se": float(played.team[k].std(ddof=1) / episodes**0.5),
            "return_mean": float(played.team[k].mean()) / card.num_agents,
            card.success_metric: float(played.success[k].mean()),
            "length": float(played.length[k].mean()),
        }
        for k, s in enumerate(seeds)
    ]
    if gif or png:
        if len(seeds) > 1:
            policy = loaded(seeds[0])
        scenes, shown = record_episode(policy, card, seeds[0], mode)
        _draw(scenes, gif, png)
    if json:
        print_json(rows)
    else:
        origin = "" if group is not None or split(source) is None else f" of {find_holder(source, results)}"
        print(f"{label} on {card.id}, {which} weights{origin}, {mode} actions, referee {referee}")
        print_table(list(rows[0]), [[f"{x:.4g}" if isinstance(x, float) else x for x in row.values()] for row in rows])
        for path in (gif, png):
            if path:
                print(f"written: {path}: an episode of seed {seeds[0]}, return {shown:.4g}")


def _print_sizes(found: TeamSizes) -> None:
    print(f"{found.method}, trained on {found.task} with {found.agents} agents: {found.weights} weights, {found.mode} "
          f"actions, {found.episodes} episodes of every training seed, nothing learned anew")  # fmt: skip
    compared = any(x.there or x.missing for x in found.sizes)
    columns = ["agents", "task", "random", "zero-shot", *(["trained there", "transfer"] if compared else [])]
    rows = [
        (x.agents, x.task, f"{x.random:.4g}", *map(_interval, (x.zero_shot, x.trained, x.transfer)))
        for x in found.sizes
    ]
    print_table(columns, [row[: len(columns)] for row in rows], right=(0, 2))
    say(f"{x.agents} agents: {reason}" for x in found.sizes for reason in x.reasons)


def _interval(e: Estimate | None) -> str:
    if e is None or isnan(e.value):
        return "–"
    return f"{e.value:.4g}" if e.low is None else f"{e.value:.4g} [{e.low:.4g}, {e.high:.4g}]"


def _draw(scenes: list[Scene], gif: Path | None, png: Path | None) -> None:
    from rlnet_bench.envs.drawing import save_gif, save_png

    if gif:
        save_gif(scenes, gif)
    if png:
        save_png(scenes[-1], png)
