"""``rlnet-bench reference``: measure what scores 0 and 1 on a task of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rlnet_bench.cli.output import GivenMethods, JsonFlag, TrustFlag, print_json
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(reference)


def reference(
    task: Annotated[str, typer.Argument(help="A task of yours: file.py:factory, module:factory or vmas:file.py.")],
    best: Annotated[
        str | None, typer.Option("--best", metavar="RUN", help="A run directory: its best seed scores 1.")
    ] = None,
    suite: Annotated[Path | None, typer.Option("--suite", help="Write the points into this suite's file.")] = None,
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Episodes behind each point.")] = 320,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the initial states and of random play.")] = 0,
    mode: Annotated[Mode, typer.Option("--mode", help="How the best policy acts.")] = "deterministic",
    trust_code: TrustFlag = False,
    method: GivenMethods = None,
    json: JsonFlag = False,
) -> None:
    """Measure a task's reference points: the random policy's return (0), and with --best that of a trained run (1).

    They go under ``card:`` of a suite; every score on the task is then normalised by them.
    """
    import torch

    from rlnet_bench.envs.registry import is_catalogued
    from rlnet_bench.learning.measure import measured
    from rlnet_bench.runs.reference_points import inserted, written
    from rlnet_bench.runs.suite import load_suite
    from rlnet_bench.typed import task_card

    torch.set_num_threads(1)
    card = task_card(task)
    if is_catalogued(task):
        raise BadInput(f"{task}: its reference points are part of its card in the catalogue; `report` shows them.")
    if suite is not None and best is None:
        raise BadInput("--suite: a scale takes two points; give --best RUN, too.")
    if suite is not None and task not in load_suite(suite).tasks:
        raise BadInput(f"{suite}: expected {task!r} among its tasks, found {', '.join(load_suite(suite).tasks)}.")
    command = f"rlnet-bench reference {task} --episodes {episodes} --seed {seed}"
    points = {"random": _point(measured(card, None, episodes, seed)[0].numpy(), "random", command)}
    if best is not None:
        given = [*(method or ()), task]
        points["best"] = _best(best, task, episodes, mode, trust_code, given, f"{command} --best RUN --mode {mode}")
        low, high = (points[role]["value"] for role in ("random", "best"))
        if not high > low:
            raise BadInput(
                f"{best}: scores {high:g} on {task}, not above the random policy's {low:g}: it can't be what scores 1."
            )
    if suite is not None:
        from rlnet_bench.reading.files import read_text
        from rlnet_bench.runs.files import write_atomic

        write_atomic(suite, inserted(read_text(suite), str(suite), task, written(task, points)))
    if json:
        print_json({task: points})
        return
    print(f"card:\n{written(task, points)}", end="")
    if suite is not None:
        print(f"# written to {suite}; `rlnet-bench run {suite}` takes it into the store and trains nothing again")
    elif best is None:
        print("# a scale takes a best point, too: --best RUN measures it, or write `best: VALUE` below")
    else:
        print("# this belongs into the suite's file; --suite FILE writes it there")


def _best(
    source: str, task: str, episodes: int, mode: Mode, trust_code: bool, given: list[str], command: str
) -> dict[str, Any]:
    """The best seed of a run, chosen on other episodes than those that it is measured on."""
    from rlnet_bench.learning.play import evaluate
    from rlnet_bench.rng import Stream
    from rlnet_bench.runs.plan import read_group, task_of, trust_groups
    from rlnet_bench.runs.policies import load_policy

    folder = Path(source)
    if not folder.is_dir():
        raise BadInput(f"--best {source}: expected a run directory STORE/runs/<id>; `rlnet-bench status` shows them.")
    group = read_group(folder)
    if group.config["task"] != task:
        raise BadInput(f"--best {source}: expected a run on {task}, found one on {group.config['task']}.")
    trust_groups([group], source, trust_code, given)
    card = task_of(group.config)
    policy = load_policy(source, None, "best", mode=mode, trust_code=trust_code, given=given)
    assert policy.trained is not None
    seeds = policy.trained.seeds
    chosen = evaluate(policy, card, seeds, min(episodes, 64), stream=Stream.ABSOLUTE_ENV, mode=mode).team.mean(axis=1)
    played = evaluate(policy, card, seeds, episodes, stream=Stream.USER, mode=mode).team[int(chosen.argmax())]
    return _point(played, f"{policy.trained.label}, the best of {len(seeds)} seeds, {mode} actions", command)


def _point(returns: Any, policy: str, command: str) -> dict[str, Any]:
    """Team returns as a point."""
    return {
        "value": round(float(returns.mean()), 4),
        "se": round(float(returns.std(ddof=1)) / len(returns) ** 0.5, 4),
        "n": len(returns),
        "policy": policy,
        "command": command,
    }
