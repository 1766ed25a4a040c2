"""What was trained with N agents, scored with other numbers of them, without learning anything.

Transfer = (zero-shot - random) / (trained there - random), in mean team returns: 0 as good as random play there, 1 as
good as what was trained there. Returns at two team sizes have no common scale, so that only this may be compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rlnet_bench.analysis.streams import named
from rlnet_bench.errors import BadInput
from rlnet_bench.rng import Stream
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.stats.transfer import transfer
from rlnet_bench.vocabulary import EndKind, Mode, Weights

if TYPE_CHECKING:
    from rlnet_bench.analysis.results import Results
    from rlnet_bench.envs.card import TaskCard
    from rlnet_bench.learning.policy import Policy

RANDOM_EPISODES = 1_024
_SIZE = re.compile(r"(?P<plus>\+?)(?P<number>[1-9]\d{0,2})(?P<times>x?)")


@dataclass(frozen=True)
class TeamSize:
    """A policy at one team size: mean team returns of its runs, of random play, and of runs that were trained there."""

    agents: int
    task: str
    zero_shot: Estimate
    scores: dict[int, float]  # by seed
    random: float
    random_se: float
    trained: Estimate | None = None
    transfer: Estimate | None = None
    reason: str = ""  # why there is no transfer

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        parts = {name: getattr(self, name) for name in ("zero_shot", "trained", "transfer")}
        return asdict(self) | {name: None if e is None else e.as_dict() for name, e in parts.items()}


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
    load: Callable[[int], Policy],
    sizes: Sequence[int],
    *,
    episodes: int,
    mode: Mode,
    which: Weights = "best",
    trained: Results | None = None,
    label: str | None = None,
) -> Iterator[TeamSize]:
    """A policy at every size.

    Args:
        load: the policy for so many agents, see :func:`~rlnet_bench.runs.policies.load_policy`.
        sizes: numbers of agents.
        episodes: per training seed.
        mode: how actions are chosen.
        which: the weights that are compared with those of runs that were trained there.
        trained: results with such runs.
        label: which method of those; that of the policy by default.

    Raises:
        BadInput: for a policy that is tied to one size, for results without such a method.
    """
    import torch

    from rlnet_bench.learning.play import evaluate

    torch.set_num_threads(1)
    for size in sizes:
        policy = load(size)
        card, origin = policy.plays, policy.trained
        assert card is not None and origin is not None
        played = evaluate(policy, card, origin.seeds, episodes, stream=Stream.ABSOLUTE_ENV, mode=mode)
        scores = {s: float(x) for s, x in zip(origin.seeds, played.team.mean(axis=1))}
        low, se = _random(card, evaluate)
        found = _mean(origin.label, card.id, list(scores.values()))
        if trained is None:
            yield TeamSize(size, card.id, found, scores, low, se)
            continue
        there, reason = _trained(trained, label or origin.label, card.id, mode, which)
        if reason:
            yield TeamSize(size, card.id, found, scores, low, se, reason=reason)
            continue
        stream = named("transfer", origin.label, label or origin.label, card.id, mode, which)
        moved = transfer(list(scores.values()), there, (low, se), stream)
        yield TeamSize(size, card.id, found, scores, low, se, _mean(label or origin.label, card.id, there), moved,
                       moved.reason or "")  # fmt: skip


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


def _trained(results: Results, label: str, task: str, mode: Mode, which: Weights) -> tuple[list[float], str]:
    """Scores of the runs of a method that was trained on a task, or why there are none."""
    labels = [m.label for m in results.methods]
    if label not in labels:
        raise BadInput(
            f"{results.name}: no method {label!r} to compare with; --against takes one of {', '.join(labels)}."
        )
    if task not in results.tasks:
        return [], f"{results.name} has no runs on {task}"
    kind: EndKind = "absolute" if which == "best" else "final"
    runs = next(s for s in results.scores(kind, mode) if s.method == label).runs[task]
    return runs.scores.tolist(), "" if runs.n else f"{results.name} has no scores of {label} on {task}"
