"""Our own evaluation of submitted policies: the published number, and what it costs to act so.

Axes: **R** policies of a task, **E** episodes each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.leaderboard.claims import adjusted, control
from rlnet_bench.leaderboard.evidence import Control, Level, TaskEvidence, scored
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.policies import build, digests
from rlnet_bench.leaderboard.season import CONTROL
from rlnet_bench.learning.channel import degraded, needs
from rlnet_bench.learning.information import execution_class, information_flow
from rlnet_bench.learning.play import Episodes, evaluate, evaluate_on_reference
from rlnet_bench.learning.policy import Policy
from rlnet_bench.methods import find_method
from rlnet_bench.runs.records import CHAIN_START, EvalLine, chained, parse_line
from rlnet_bench.vocabulary import Mode

EPISODES = 320
CHANNEL_EPISODES = 64  # of each of the channel's scores
CONTROL_EPISODES = 2048
REFERENCE_EPISODES = 64
Draw = Callable[[str, str, int], list[int]]  # (digest, task, episodes) -> environment seeds


def play(policy: Policy, card: TaskCard, keys: list[list[int]], mode: Mode) -> Episodes:
    """Episodes of R policies from given environment seeds, [R][E]."""
    episodes = len(keys[0])
    flat = torch.tensor([key for row in keys for key in row], dtype=torch.int64)
    env = make_env(card, policy.replicas * episodes)
    try:
        return evaluate(policy, card, range(policy.replicas), episodes, mode=mode, env=env, keys=flat)
    finally:
        env.close()


def evaluate_task(
    folder: Folder, task: str, draw: Draw, level: Level, episodes: int = EPISODES, channel: bool = True
) -> tuple[TaskEvidence, list[EvalLine]]:
    """Score the policies of a task on drawn episodes, and measure what they need.

    Raises:
        BadInput, Malformed: when the policies cannot be built.
    """
    policy, mode = build(folder, task), folder.manifest.mode
    card = policy.plays
    assert card is not None
    names = digests(folder, task)
    played = play(policy, card, [draw(d, task, episodes) for d in names.values()], mode)
    lines = [_line(folder, task, seed, digest, played, r) for r, (seed, digest) in enumerate(names.items())]
    depends = information_flow(policy, card)
    found = TaskEvidence(
        task=task,
        level=level,
        digests=tuple(names.values()),
        execution=execution_class(policy, depends),
        columns={k: float(v) for k, v in (policy.columns() or needs(depends, card)).items()},
        parameters=sum(w.numel() for w in policy.state_dict().values()) // policy.replicas,
        channel=_channel(policy, card, names, draw, mode) if channel else {},
        flags=(),
        policies=tuple(map(scored, lines)),
    )
    return found, lines


def play_controls(tasks: Sequence[str], draw: Draw) -> list[Control]:
    """Random play, and a script of known score where there is one, on every task of a batch."""
    found = []
    for task in tasks:
        card = task_card(task)
        for name, role in (("random", "random"), ("uncoordinated", "uncoordinated")):
            known, method = card.references.get(role), find_method(name)
            if known is None or method.impossible(card, method.Config()) is not None:
                continue
            policy = method.rebuild({}, card, (0,))
            team = play(policy, card, [draw(f"{CONTROL}{name}", task, CONTROL_EPISODES)], "deterministic").team[0]
            found.append(control(task, name, known.value, known.se, known.n, team))
    return adjusted(found)


def on_reference(folder: Folder, task: str, episodes: int = REFERENCE_EPISODES) -> Episodes:
    """The policies of a task, played on the original package."""
    policy = build(folder, task)
    assert policy.plays is not None
    return evaluate_on_reference(policy, policy.plays, folder.seeds[task], episodes, mode=folder.manifest.mode)


def _channel(policy: Policy, card: TaskCard, names: dict[int, str], draw: Draw, mode: Mode) -> dict[str, float]:
    """Team return with what crosses between agents cut, late and coarse; nothing where nothing crosses."""
    keys = [draw(digest, card.id, CHANNEL_EPISODES) for digest in names.values()]
    return {kind: float(play(less, card, keys, mode).team.mean()) for kind, less in degraded(policy, card)}


def _line(folder: Folder, task: str, seed: int, digest: str, played: Episodes, r: int) -> EvalLine:
    frames = folder.manifest.task(task).frames or 0
    line = EvalLine(
        "absolute", folder.manifest.mode, seed, 0, frames, frames, 0, played.returns[r],
        played.success[r].astype(np.float64), played.length[r], digest[:16],
    )  # fmt: skip
    return parse_line(chained(line, CHAIN_START).encode(), task)  # the numbers as they are stored
