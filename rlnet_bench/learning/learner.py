"""The contract between learners and the run loop. Imports without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from rlnet_bench.learning.policy import Policy


@dataclass(frozen=True)
class Divergence:
    """A replica that stopped being a number: which seed, which tensor, after how many frames."""

    seed: int
    tensor: str
    frames: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Learner(Protocol):
    """Trains R replicas side by side. On-policy and off-policy learners alike.

    Obligations: everything random is a function of (seed, counters); :meth:`state_dict` continues to
    the bit; a replica whose numbers stop being finite is frozen and listed in ``divergences`` while the
    others go on untouched; evaluation never calls anything that changes the learner.
    """

    frames: int  # environment frames per replica so far
    updates: int
    divergences: Sequence[Divergence]

    @property
    def frames_per_iteration(self) -> int:
        """Frames per replica that one :meth:`iterate` consumes."""
        ...

    def iterate(self) -> Mapping[str, Tensor]:
        """Collect and learn once; metrics per replica [R]."""
        ...

    def policy(self) -> Policy:
        """The current policy of all R replicas."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Nested dict of tensors, numbers, strings and lists of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        ...
