"""The contract between learners and the run loop. Imports without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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


@dataclass(frozen=True)
class Segment:
    """Rows [start, stop) as they are stored beside checkpoints, under their digest."""

    start: int
    stop: int
    sha256: str


@dataclass(frozen=True)
class Piece:
    """Rows [start, stop) on their way to the disk and back."""

    start: int
    stop: int
    tensors: Mapping[str, Tensor]


@runtime_checkable
class Rows(Protocol):
    """The third kind of leaf of a learner's state, beside tensors and plain data: rows that are only appended.

    A checkpoint stores the rows that are new since the last one, and the positions; the rest is stored already.
    """

    first: int  # the oldest row that is held
    position: int  # how many rows were ever written; rows [first, position) are held
    segments: Sequence[Segment]  # what the last checkpoint stored of them, oldest first

    def pieces(self, start: int) -> Iterator[Piece]:
        """The rows from ``start`` on (at least ``first``), in order."""
        ...


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
        """Nested dict of tensors, numbers, strings, :class:`Rows` and lists of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        ...
