"""How a stack of vertices learns: what the language says, and the settings where it says nothing. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlnet_bench.learning.config import Encoder, PpoConfig
    from rlnet_bench.networks.stacks import Stack


@dataclass(frozen=True)
class Settled:
    """The recipe of a stack with nothing left open, see :class:`~rlnet_bench.networks.spec.Recipe`.

    ``log_std`` None is that of every policy here, ``target_kl`` None no limit.
    """

    learning_rate: float
    entropy: float
    log_std: float | None
    epochs: int
    clip: float
    target_kl: float | None
    encoder: Encoder
    instruction_gain: float


def settled(stack: Stack, config: PpoConfig) -> Settled:
    """How the vertices of a stack learn.

    What the file leaves open the settings say, as for any method. One default differs: an entropy bonus on Gaussian
    instructions would act on the noise before it is squashed and let it grow, so a vertex that sends such has none.
    """
    v, said = stack.vertex, stack.vertex.recipe
    noisy = not stack.is_motor and v.sends.kind == "continuous"

    def first(value: Any, otherwise: Any) -> Any:
        return otherwise if value is None else value

    return Settled(
        learning_rate=first(said.learning_rate, config.learning_rate),
        entropy=first(said.entropy, 0.0 if noisy else config.entropy_weight),
        log_std=said.log_std,
        epochs=first(said.epochs, config.epochs),
        clip=first(said.clip, config.clip),
        target_kl=said.target_kl,
        encoder=first(said.encoder, config.encoder),
        instruction_gain=first(said.instruction_gain, 1.0),
    )
