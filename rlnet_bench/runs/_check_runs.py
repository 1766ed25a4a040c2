"""Rules about whole runs: evaluation, records, saved policies, interruptions."""

from __future__ import annotations

from pathlib import Path

import torch

from rlnet_bench import rng
from rlnet_bench.envs.check.rules import Violation, require
from rlnet_bench.learning.play import evaluate
from rlnet_bench.runs._check_case import Case, rule
from rlnet_bench.runs._check_faults import torment
from rlnet_bench.runs.loop import curve_points, run_group, weights_digest
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.records import check_chain
from rlnet_bench.vocabulary import CHANNEL_KINDS, MODES, Weights


@rule
def evaluation_disturbs_nothing(case: Case) -> str:
    """Scoring after every iteration or only at the ends leaves the same weights."""
    case.trained()
    plain = dict(case.config)
    every = plain["frames"] // case.iterations
    finals = []
    for name, step in (("often", every), ("never", plain["frames"])):
        folder = case.root / f"scored-{name}"
        run_group(folder, {**plain, "evaluation": {**plain["evaluation"], "every": step}}, checkpoint_seconds=1e9)
        lines = [x for x in case.lines(folder) if x.kind == "final" and x.mode == "deterministic"]
        finals.append([x.weights for x in sorted(lines, key=lambda x: x.seed)])
    if finals[0] != finals[1]:
        raise Violation(f"final weights with frequent evaluation {finals[0]}, without {finals[1]}")
    return "the same final weights whether scored often or never"


@rule
def records(case: Case) -> str:
    """The run scores every planned point once per seed and mode, within the budget, in an unbroken chain."""
    folder, _, _ = case.finished
    lines = case.lines(folder)
    broken = check_chain(lines)
    found = [broken] if broken else []
    points = curve_points(case.config["frames"], case.config["evaluation"]["every"])
    for seed in case.seeds:
        for mode in MODES:
            mine = [x for x in lines if x.seed == seed and x.mode == mode]
            curve = [x.frames for x in mine if x.kind == "curve"]
            ends = [x.kind for x in mine[len(curve) :] if x.kind not in CHANNEL_KINDS]
            if curve != points or ends != ["final", "absolute"]:
                found.append(f"seed {seed}, {mode}: expected points {points}, final, absolute; found {curve}")
    found += [
        f"a line trained on {x.trained_frames} frames at {x.frames}" for x in lines if x.trained_frames > x.frames
    ]
    require(found)
    return f"{len(lines)} lines, {len(points)} points of the curve"


@rule
def saved_policy(case: Case) -> str:
    """Policies load without a trainer, with the digests that were recorded, and play the same episodes."""
    folder, _, _ = case.finished
    found, config = [], case.config
    kinds: dict[Weights, str] = {"final": "final", "best": "absolute"}
    for which, kind in kinds.items():
        for mode in MODES:
            lines = {x.seed: x for x in case.lines(folder) if x.kind == kind and x.mode == mode}
            policy = load_policy(folder, None, which, config["device"], mode=mode)
            played = evaluate(
                policy, case.card, case.seeds, config["evaluation"]["absolute_episodes"],
                stream=rng.Stream.ABSOLUTE_ENV, mode=mode, device=config["device"],
            )  # fmt: skip
            for k, seed in enumerate(case.seeds):
                if not torch.equal(torch.tensor(played.returns[k]).float(), torch.tensor(lines[seed].returns).float()):
                    found.append(f"{which} weights of seed {seed}, {mode}: other returns than those recorded")
                one = load_policy(folder, seed, which, config["device"], mode=mode)
                if weights_digest(one.state_dict(), 0, 1) != lines[seed].weights:
                    found.append(f"{which} weights of seed {seed}: another digest than the recorded one")
    require(found)
    return "final and best weights load, carry the recorded digests and play the recorded episodes"


@rule
def kill_and_resume(case: Case) -> str:
    """A run that is interrupted and harmed at random points ends with the same records, to the bit."""
    whole, events, writes = case.finished
    expected = _products(whole)
    for i in range(case.faults):
        folder = case.root / f"interrupted-{i}"
        case.story = torment(folder, case.run, events, writes, case.draw)
        for name, data in _products(folder).items():
            if data != expected.get(name):
                raise Violation(f"{name} differs from the uninterrupted run after: {'; '.join(case.story)}")
    return f"{case.faults} runs interrupted and harmed: records and weights equal to the bit"


def _products(folder: Path) -> dict[str, bytes]:
    """What a run leaves behind that is a function of its configuration."""
    files = [folder / "evals.jsonl", *sorted((folder / "policies").iterdir())]
    return {file.name: file.read_bytes() for file in files}
