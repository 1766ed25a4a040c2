"""What the word after ``learner:`` means: how a vertex decides, and what of it is trained. Imports without torch.

A new kind of vertex is a new line of :data:`KINDS`; what the words do is said in docs/networks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class VertexKind:
    """How vertices of one learner word decide what they send or do."""

    trains: bool = False  # by PPO, within the network
    has_actor: bool = True  # a network of its own decides, trained or not
    is_exact: bool = False  # its instructions are that network's outputs, never samples
    noise: Literal["always", "with samples"] | None = None
    """Its instruction is noise, in deterministic play, too, or (around zero) only where actions are sampled."""

    @property
    def reads(self) -> bool:
        """What others send and what is observed decides."""
        return self.noise is None


KINDS = {
    "ppo": VertexKind(trains=True),
    "noise": VertexKind(has_actor=False, noise="always"),
    "jitter": VertexKind(has_actor=False, noise="with samples"),
    "frozen": VertexKind(),
    "features": VertexKind(is_exact=True),
}
HOSTED = VertexKind(has_actor=False)  # ``method:NAME``: the policy of another method decides


def kind_of(learner: str) -> VertexKind:
    """The kind of a learner word that :mod:`rlnet_bench.networks._fields` let pass."""
    return KINDS.get(learner, HOSTED)
