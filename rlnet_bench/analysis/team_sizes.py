"""What was trained with N agents, scored with other numbers of them, without learning anything.

Transfer = (zero-shot - random) / (trained there - random), in mean team returns: 0 as good as random play there, 1 as
good as what was trained there. Returns at two team sizes have no common scale, so that only this may be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnet_bench.analysis.streams import named
from rlnet_bench.errors import BadInput
from rlnet_bench.reading.names import checked_name
from rlnet_bench.reading.plain import read_json
from rlnet_bench.rng import Stream
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.stats.transfer import transfer
from rlnet_bench.vocabulary import MODES, EndKind, Mode, Weights

if TYPE_CHECKING:
    from rlnet_bench.analysis.results import Results
    from rlnet_bench.envs.card import TaskCard
    from rlnet_bench.learning.policy import Policy

FORMAT = 1
RANDOM_EPISODES = 1_024
_SIZE = re.compile(r"(?P<plus>\+?)(?P<number>[1-9]\d{0,2})(?P<times>x?)")
SHAPE = {
    "format": (FORMAT,), "method": checked_name, "task": checked_name, "agents": int, "mode": MODES,
    "weights": ("best", "final"), "episodes": int,
    "sizes": [{
        "agents": int, "task": checked_name, "scores": [{"seed": int, "return": float}], "random": float,
        "random_se": float, "against": str, "there": [float], "missing": str,
    }],
}  # fmt: skip


@dataclass(frozen=True)
class TeamSize:
    """A policy at one team size: mean team returns of its runs, of random play, and of runs that were trained there."""

    agents: int
    task: str
    method: str
    scores: tuple[tuple[int, float], ...]  # (training seed, mean team return)
    random: float
    random_se: float
    against: str = ""  # the method that was trained there
    there: tuple[float, ...] = ()  # one score per run
    missing: str = ""  # why there are none, where some were asked for

    @cached_property
    def zero_shot(self) -> Estimate:
        """Mean over runs."""
        return _mean(self.method, self.task, [x for _, x in self.scores])

    @cached_property
    def trained(self) -> Estimate | None:
        """Mean over runs that were trained there."""
        return _mean(self.against, self.task, self.there) if self.there else None

    @cached_property
    def transfer(self) -> Estimate | None:
        """From 0, random play, to 1, as good as what was trained there."""
        if not self.there:
            return None
        stream = named("transfer", self.method, self.against, self.task)
        return transfer([x for _, x in self.scores], self.there, (self.random, self.random_se), stream)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something is not given."""
        found = (self.zero_shot.reason, self.missing, self.transfer.reason if self.transfer else None)
        return tuple(dict.fromkeys(x for x in found if x))

    def measured(self) -> dict[str, Any]:
        """What was measured, as plain data."""
        return {
            "agents": self.agents, "task": self.task, "scores": [{"seed": s, "return": x} for s, x in self.scores],
            "random": self.random, "random_se": self.random_se, "against": self.against, "there": list(self.there),
            "missing": self.missing,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """That, and what follows from it."""
        found = {"zero_shot": self.zero_shot, "trained": self.trained, "transfer": self.transfer}
        return self.measured() | {name: None if e is None else e.as_dict() for name, e in found.items()}


@dataclass(frozen=True)
class TeamSizes:
    """A policy at some team sizes."""

    method: str
    task: str  # that it was trained on
    agents: int
    mode: Mode
    weights: Weights
    episodes: int  # of every training seed
    sizes: tuple[TeamSize, ...]

    def write(self, folder: Path) -> Path:
        """Record what was measured as ``folder/<task>--<method>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{file_stem(self.task)}--{file_stem(self.method)}.json"
        about = {k: getattr(self, k) for k in ("method", "task", "agents", "mode", "weights", "episodes")}
        data = {"format": FORMAT, **about, "sizes": [x.measured() for x in self.sizes]}
        write_atomic(file, json.dumps(data, indent=1) + "\n")
        return file


def read_team_sizes(path: Path) -> TeamSizes:
    """What :meth:`TeamSizes.write` recorded; raises Malformed for anything else."""
    data = read_json(path, shape=SHAPE)
    method = data["method"]
    sizes = tuple(
        TeamSize(
            x["agents"], x["task"], method, tuple((run["seed"], float(run["return"])) for run in x["scores"]),
            float(x["random"]), float(x["random_se"]), x["against"], tuple(map(float, x["there"])), x["missing"],
        )
        for x in data["sizes"]
    )  # fmt: skip
    about = {k: data[k] for k in ("task", "agents", "mode", "weights", "episodes")}
    return TeamSizes(method, sizes=sizes, **about)


def team_sizes(text: str, own: int) -> tuple[int, ...]:
    """Numbers of agents from ``4,6``, ``+1`` (so many more than ``own``), ``2x`` (so many times), ascending.

    Raises:
        BadInput: for anything else.

    >>> team_sizes("+1,+2,2x", 3)
    (4, 5, 6)
    """
    found = set()
    for item in text.split(","):
        match = _SIZE.fullmatch(item.strip())
        if match is None or (match["plus"] and match["times"]):
            raise BadInput(f"--agents: expected numbers such as 5, +1 (one more) or 2x (twice as many), separated by "
                           f"commas, found {item!r}.")  # fmt: skip
        number = int(match["number"])
        found.add(own + number if match["plus"] else own * number if match["times"] else number)
    return tuple(sorted(found))


def at_sizes(
    load: Callable[[int | None], Policy],
    text: str,
    *,
    episodes: int,
    mode: Mode,
    which: Weights = "best",
    trained: Results | None = None,
    against: str | None = None,
) -> TeamSizes:
    """Score a policy at other team sizes.

    Args:
        load: the policy for so many agents, or (None) for as many as it was trained with; see
            :func:`~rlnet_bench.runs.policies.load_policy`.
        text: which sizes, see :func:`team_sizes`.
        episodes: per training seed.
        mode: how actions are chosen.
        which: the weights that are compared with those of runs that were trained there.
        trained: results with such runs.
        against: which method of those; that of the policy by default.

    Raises:
        BadInput: for a policy that is tied to one size, for results without such a method.
    """
    import torch

    from rlnet_bench.learning.play import evaluate

    torch.set_num_threads(1)
    own = load(None)
    assert own.plays is not None and own.trained is not None
    method, seeds = own.trained.label, own.trained.seeds
    found = []
    for size in team_sizes(text, own.plays.num_agents):
        policy = load(size)
        card = policy.plays
        assert card is not None
        played = evaluate(policy, card, seeds, episodes, stream=Stream.ABSOLUTE_ENV, mode=mode)
        scores = tuple((s, float(x)) for s, x in zip(seeds, played.team.mean(axis=1)))
        other = against or method
        there, missing = ((), "") if trained is None else _trained(trained, other, card.id, mode, which)
        found.append(
            TeamSize(size, card.id, method, scores, *_random(card, evaluate), other if there else "", there, missing)
        )
    return TeamSizes(method, own.plays.id, own.plays.num_agents, mode, which, episodes, tuple(found))


def _mean(label: str, task: str, scores: Sequence[float]) -> Estimate:
    return estimate(RunScores.from_arrays(label, {task: list(scores)}), mean, named("team size", label, task))


def _random(card: TaskCard, evaluate: Callable[..., Any]) -> tuple[float, float]:
    """The random policy's mean team return on a task, and its standard error: the card's, or played."""
    known = card.references.get("random")
    if known is not None:
        return known.value, known.se
    from rlnet_bench.learning.untrained import UniformPolicy

    team = evaluate(UniformPolicy(card, 1, "cpu"), card, [0], RANDOM_EPISODES, stream=Stream.ABSOLUTE_ENV).team[0]
    return float(team.mean()), float(team.std(ddof=1)) / len(team) ** 0.5


def _trained(results: Results, label: str, task: str, mode: Mode, which: Weights) -> tuple[tuple[float, ...], str]:
    """Scores of the runs of a method that was trained on a task, or why there are none."""
    labels = [m.label for m in results.methods]
    if label not in labels:
        raise BadInput(
            f"{results.name}: no method {label!r} to compare with; --against takes one of {', '.join(labels)}."
        )
    if task not in results.tasks:
        return (), f"{results.name} has no runs on {task}"
    kind: EndKind = "absolute" if which == "best" else "final"
    runs = next(s for s in results.scores(kind, mode) if s.method == label).runs[task]
    return tuple(runs.scores.tolist()), "" if runs.n else f"{results.name} has no scores of {label} on {task}"
