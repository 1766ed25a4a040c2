"""``rlnet-bench ablate``: what trained agents owe to what they tell each other, and a network to each of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlnet_bench.cli.output import GivenTasks, JsonFlag, TrustFlag, print_json, print_table
from rlnet_bench.errors import BadInput
from rlnet_bench.vocabulary import Mode, Weights

if TYPE_CHECKING:
    from rlnet_bench.analysis.protocol import Protocol


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(ablate)


def ablate(
    run_dir: Annotated[Path, typer.Argument(help="A run directory, STORE/runs/<id>.")],
    episodes: Annotated[int, typer.Option("--episodes", min=2, help="Episodes per seed and change.")] = 320,
    which: Annotated[Weights, typer.Option("--which", help="The best checkpoint, or the final weights.")] = "best",
    mode: Annotated[Mode, typer.Option("--mode")] = "deterministic",
    without: Annotated[
        Path | None,
        typer.Option("--without", help="The run of the same trained without the channel: its benefit over seeds."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the pictures; the run's by default.")] = None,
    trust_code: TrustFlag = False,
    task: GivenTasks = None,
    json: JsonFlag = False,
) -> None:
    """Score trained agents with their channel changed and probe what messages tell; a network edge by edge, too."""
    import torch

    from rlnet_bench.analysis.protocol import judge
    from rlnet_bench.analysis.references import facts_of
    from rlnet_bench.learning.probe import probes
    from rlnet_bench.learning.protocol import find_channel, scores
    from rlnet_bench.networks.ablation import ablate as by_parts
    from rlnet_bench.networks.ablation import drawing
    from rlnet_bench.networks.policy import NetworkPolicy
    from rlnet_bench.networks.signal import signals
    from rlnet_bench.reports.canvas import svg_text
    from rlnet_bench.reports.plot_degradation import draw
    from rlnet_bench.runs.ablations import team_of, write_ablations
    from rlnet_bench.runs.plan import read_group, task_of, trust_groups
    from rlnet_bench.runs.policies import load_policy

    torch.set_num_threads(1)
    group = read_group(run_dir)
    trust_groups([group], run_dir, trust_code, task or ())
    card, seeds = task_of(group.config), tuple(group.config["seeds"])
    policy = load_policy(run_dir, None, which, mode=mode)
    network = policy if isinstance(policy, NetworkPolicy) else None
    channel = find_channel(policy, card)
    if channel is None and network is None:
        raise BadInput(f"{run_dir}: expected agents that hear each other, found {group.label} on {card.id}: each "
                       "acts on its own observation, and the task has no words.")  # fmt: skip
    parts: list[dict[str, Any]] = [] if network is None else by_parts(network, card, seeds, episodes, mode)
    told = [] if network is None else signals(network, card)
    protocol: Protocol | None = None
    folder = out or run_dir
    try:
        if channel is not None:
            about = {"mode": mode, "weights": which}
            lines: list[dict[str, Any]] = []
            for score in scores(policy, channel, card, seeds, episodes=episodes, mode=mode):
                for k, seed in enumerate(seeds):
                    said = {"reason": score.reason} if score.team is None else {"team": team_of(score.team[k])}
                    lines.append({"kind": score.kind, "value": float(score.value), "seed": seed, **about, **said})
            for seed, probe in zip(seeds, probes(channel, card, seeds, mode)):
                lines.append({"kind": "information", "value": 0.0, "seed": seed, **about, "r2": probe.r2, "p": probe.p})
            write_ablations(run_dir, lines)
            facts = facts_of(card)
            found = judge(lines, None if facts.bounds is None else facts.bounds.gap, facts.reason)
            protocol = found
            (folder / "ablation-channel.svg").write_text(svg_text(lambda size: draw(found, size)), encoding="utf-8")
        if network is not None:
            (folder / "ablation.svg").write_text(drawing(network.graph, parts), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be written ({error.strerror}).") from None
    gained = None if without is None else _benefit(run_dir, without, which, mode)
    if json:
        print_json({
            "channel": None if channel is None else channel.name, "parts": parts, "signals": [vars(x) for x in told],
            "protocol": None if protocol is None else protocol.to_json(), "benefit": gained,
        })  # fmt: skip
        return
    print(f"{group.label} on {card.id}, {which} weights, {mode} actions, {episodes} episodes per seed")
    if parts:
        print_table(
            ["change", "what", "return", "drop", "se of the drop"],
            [[x["change"], x["name"], f"{x['return']:.4g}", f"{x['drop']:.3g}", f"{x['se']:.2g}"] for x in parts],
        )
    if told:
        print_table(
            ["instructions of", "while", "signal", "noise", "ratio"],
            [
                [x.name, "training" if x.trains else "playing", f"{x.signal:.2g}", f"{x.noise:.2g}", x.words]
                for x in told
            ],
        )
    if channel is not None and protocol is not None:
        _print(channel.name, protocol)
    if gained is not None:
        low, high = gained["low"], gained["high"]
        print(f"benefit: {gained['mean']:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]") + " over seeds")
    print(f"pictures and {'ablations.jsonl' if channel is not None else 'nothing else'}: {folder}")


def _print(name: str, protocol: Protocol) -> None:
    """The table of changes, that of seeds, and the verdict."""

    def number(x: float | None) -> str:
        return "-" if x is None else f"{x:.4g}"

    print_table(
        [name, "strength", "return", "low", "high", "drop", ""],
        [[p.kind, f"{p.value:g}" if p.value else "", number(p.score), number(p.low), number(p.high), number(p.drop),
          p.reason] for p in protocol.points],
    )  # fmt: skip
    print_table(
        ["seed", "dependence", "se", "normalised", "information", "p (Holm)", "formed a protocol"],
        [[str(s.seed), number(s.dependence), number(s.se), number(s.normalised), number(s.information), number(s.p),
          "-" if s.formed is None else "yes" if s.formed else "no"] for s in protocol.seeds],
    )  # fmt: skip
    print(protocol.sentence())


def _benefit(run_dir: Path, without: Path, which: Weights, mode: Mode) -> dict[str, float | None]:
    """Trained with the channel less trained without, from the two records."""
    from rlnet_bench.analysis.protocol import benefit
    from rlnet_bench.runs.plan import read_group
    from rlnet_bench.runs.records import read_evals

    kind, scores = {"best": "absolute", "final": "final"}[which], []
    tasks = {folder: read_group(folder).config["task"] for folder in (run_dir, without)}
    if len(set(tasks.values())) > 1:
        raise BadInput(f"--without {without}: expected a run on {tasks[run_dir]}, found one on {tasks[without]}.")
    for folder in (run_dir, without):
        lines = [x for x in read_evals(folder / "evals.jsonl")[0] if x.kind == kind and x.mode == mode]
        if not lines:
            raise BadInput(f"{folder}: expected {kind} scores of {mode} actions, found none.")
        scores.append([float(x.team.mean()) for x in lines])
    mean, low, high = benefit(*scores)
    return {"mean": mean, "low": low, "high": high}
