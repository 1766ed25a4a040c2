"""What a run tells the world while it goes on. Imports without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Event:
    """Something that happened in a run.

    Kinds: ``progress`` (after an iteration: frames, budget, rate, metrics), ``evaluated``, ``checkpoint``,
    ``resumed``, ``diverged``, ``note``.
    """

    kind: str
    data: Mapping[str, Any]


class Callback(Protocol):
    """Anything that listens. Exceptions raised here stop the run."""

    def on_event(self, event: Event) -> None:
        """Called in the worker, after the event."""
        ...
