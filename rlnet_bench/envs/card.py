"""Task cards: everything that moves a score, as data. Imports without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from rlnet_bench.vocabulary import ActionKind


@dataclass(frozen=True)
class Reference:
    """A reference point: the mean team return of a documented policy.

    ``value`` is on the card's reward scale ``sum``; ``se`` its standard error over ``n`` episodes;
    ``policy`` says whose score it is, ``command`` how it was measured.
    """

    value: float
    se: float
    n: int
    policy: str
    command: str
    provisional: bool = False


@dataclass(frozen=True)
class TaskCard:
    """A versioned task: a changed task is a new id.

    Returns are stored per agent; the primary metric is the team return, summed over agents and steps
    (scale ``sum``); scale ``mean`` is that divided by the number of agents.
    """

    id: str
    family: str
    faithful_to: str  # package and version whose rules these are
    description: str
    constructor: Mapping[str, Any]
    agents: tuple[str, ...]
    horizon: int
    action_kind: ActionKind
    action_sizes: tuple[int, ...]  # per agent: number of options, or number of dimensions
    observation_sizes: tuple[int, ...]  # per agent, before padding
    state_size: int
    state: Literal["concat", "full"]
    reward_scale: str  # how the per-agent reward is made, in words
    shared_reward: bool  # True: all agents always receive the same number
    success_metric: str
    floor: float  # team-sum score of a diverged run
    action_low: float = 0.0  # continuous tasks: bounds in the task's own units
    action_high: float = 0.0
    action_lows: tuple[tuple[float, ...], ...] | None = None  # per agent and dimension, where they differ
    action_highs: tuple[tuple[float, ...], ...] | None = None
    action_factors: tuple[int, ...] | None = None  # discrete options that are tuples: option = f0 + n0 * f1 + ...
    masked: bool = False  # the task gives a legality mask that changes over time
    channel: bool = False  # the task is about learning to signal
    can_terminate: bool = False  # episodes may end before the horizon
    batch_invariant: bool = True  # the task's randomness and dynamics do not depend on the batch
    resumable: bool = True
    evaluation_episodes: int = 32
    absolute_episodes: int = 320
    references: Mapping[str, Reference] = field(default_factory=dict)  # random, uncoordinated, best
    deviations: tuple[str, ...] = ()
    success_description: str = ""

    @property
    def num_agents(self) -> int:
        """N."""
        return len(self.agents)

    @property
    def observation_size(self) -> int:
        """O, the widest agent's observation."""
        return max(self.observation_sizes)

    @property
    def action_size(self) -> int:
        """A, the widest agent's number of options (discrete) or dimensions (continuous)."""
        return max(self.action_sizes)

    @property
    def homogeneous(self) -> bool:
        """All agents have observations and actions of the same sizes."""
        return len(set(self.observation_sizes)) == 1 and len(set(self.action_sizes)) == 1

    def hash(self) -> str:
        """Digest of what moves a training run or a score; the reference points are not part of it."""
        return card_digest(asdict(self))

    def to_json(self) -> dict[str, Any]:
        """Plain data without the reference points, of the same digest."""
        content = {k: v for k, v in asdict(self).items() if k != "references"}
        return json.loads(json.dumps(content, default=list))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskCard:
        """Inverse of :meth:`to_json`; keys of other versions are left out."""
        known = {f.name for f in fields(cls)} - {"references"}
        return cls(**{k: v if k == "constructor" else _tuples(v) for k, v in data.items() if k in known})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def card_digest(content: Mapping[str, Any]) -> str:
    """Digest of a card's fields, as plain data; what is said for readers only is not part of it."""
    words = ("references", "description", "success_description")
    text = json.dumps({k: v for k, v in content.items() if k not in words}, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def unknown_card(
    task: str, *, agents: int = 1, horizon: int = 0, floor: float = float("nan"), scale: str = ""
) -> TaskCard:
    """A card for a task of which nothing is known but its name and what its numbers show."""
    return TaskCard(
        id=task,
        family=task.partition("/")[0],
        faithful_to="not known",
        description="nothing is known of this task's rules",
        constructor={},
        agents=("team",) if agents == 1 else tuple(f"agent_{i}" for i in range(agents)),
        horizon=horizon,
        action_kind="discrete",
        action_sizes=(0,),
        observation_sizes=(0,),
        state_size=0,
        state="concat",
        reward_scale=scale or "not known",
        shared_reward=False,
        success_metric="success",
        floor=floor,
    )


def has_original(card: TaskCard) -> bool:
    """Whether an original package can referee this task beside our batched rules."""
    return card.family in ("mpe", "lbf")
