"""What is known about a task besides its scores: the card, and the reference points that scores are measured by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlnet_bench.envs.card import Reference, TaskCard
from rlnet_bench.errors import BadInput
from rlnet_bench.stats.normalise import Bounds

GIVEN = "--reference"  # whose score a point is that was given for these results
HOW = "`--reference TASK=LOW,HIGH` says what scores 0 and 1 there"


@dataclass(frozen=True)
class TaskFacts:
    """What a report says about a task: its card, and the bounds or the reason why there are none."""

    card: TaskCard
    bounds: Bounds | None
    reason: str = ""

    @property
    def id(self) -> str:
        """The task id."""
        return self.card.id

    @property
    def why_not(self) -> str:
        """Why it has no bounds, and what can be done about it."""
        return f"{self.reason} ({HOW})"

    def reference(self, name: str) -> Reference | None:
        """One of ``random``, ``uncoordinated``, ``best``, where the card has it."""
        return self.card.references.get(name)

    def normalised(self, value: float) -> float | None:
        """A score in task units as a share of the way from random to best."""
        return None if self.bounds is None else (value - self.bounds.low) / self.bounds.gap


def with_points(card: TaskCard, low: float, high: float) -> TaskCard:
    """The card with points for random and best play that were given, exact as they are.

    Raises:
        BadInput: unless ``high`` is above ``low`` and both are finite.
    """
    Bounds(low, high, source=f"{GIVEN} for {card.id}")
    points = {role: Reference(value, 0.0, 0, GIVEN, "") for role, value in (("random", low), ("best", high))}
    return replace(card, references={**card.references, **points})


def facts_of(card: TaskCard) -> TaskFacts:
    """Facts of one task. Never raises for unusable reference points."""
    low, high = card.references.get("random"), card.references.get("best")
    if low is None or high is None:
        lost = [name for name in ("random", "best") if name not in card.references]
        return TaskFacts(card, None, f"its card has no {' and no '.join(lost)} reference point")
    try:
        bounds = Bounds(
            low.value, high.value, low.n, low.se, high.n, high.se,
            f"0 = {low.policy}, 1 = {high.policy}", card.hash()[:12],
        )  # fmt: skip
    except BadInput as error:
        return TaskFacts(card, None, str(error))
    if not bounds.is_usable:
        return TaskFacts(card, None, "its reference points are closer than five of their standard errors")
    return TaskFacts(card, bounds)
