"""Models of the zoo that are trained as one piece: their settings, and where they are made. Torch-free.

In the network language the graph says who acts before whom, and every vertex has losses of its own. A model that
decides at every step who acts before whom, or whose joint action has one ratio, is a team's network like a baseline's
instead. Its zoo file says who tells whom what, so that costs, class and drawing are those of any network.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import Field

from rlnet_bench.learning.config import Positive
from rlnet_bench.networks.method import NetworkConfig
from rlnet_bench.networks.spec import NetworkSpec


class ModelConfig(NetworkConfig):
    """What models in one piece share: attention over agents."""

    attention_heads: Positive = 1
    """Of every attention; they share the width."""
    blocks: Positive = 1
    """Blocks of attention of the encoder (and of the decoder)."""
    normalise_observation: Literal["none"] = "none"
    """Layers of the transformer normalise what is read."""
    encoder: Literal["plain"] = "plain"
    """A token is an agent's whole observation."""


class CmatConfig(ModelConfig):
    """One joint PPO for ``model: cmat``. ``hidden`` is of the head that chooses, ``critic_hidden`` of the values'."""

    share_parameters: Literal[True] = True
    """There is one network, and it is the team's."""


class LearnedGraphConfig(ModelConfig):
    """PPO for ``model: learned-graph``; ``hidden`` is that of the motors and of the generator's tokens."""

    depth_weight: Annotated[float, Field(ge=0.0)] = 0.01
    """Of the penalty on chains of agents that wait for each other, from 0 (none is possible) to 1 (all are sure)."""


CONFIGS: dict[str, type[ModelConfig]] = {"cmat": CmatConfig, "learned-graph": LearnedGraphConfig}

SMALL: dict[str, dict[str, Any]] = {"cmat": {
    "encoder.action": {"continuous": 8, "per_subordinate": True}, "consensus.action": {"continuous": 8},
}}  # fmt: skip
"""Changes of a model's file with which a check sees all that it does."""


def module(model: str) -> Any:
    """The module with a model's ``Learner`` and ``rebuild``; imports torch."""
    return import_module(f"rlnet_bench.networks.{model.replace('-', '_')}")


def tokens(spec: NetworkSpec, config: Any) -> tuple[int, ...]:
    """Widths of the layers that make an agent's token; the last is the token's."""
    if spec.model == "cmat":
        return (spec.vertex("encoder").sends.size,)
    widths: tuple[int, ...] = spec.vertex("generator").hidden if config.hidden is None else config.hidden
    return widths


def settled(spec: NetworkSpec, config: Any) -> Any:
    """The settings with the file's widths where they say nothing: of motors, and of critics."""
    motor = spec.vertex("motor")
    value = spec.vertex("encoder") if spec.model == "cmat" else motor
    return config.model_copy(update={
        "hidden": motor.hidden if config.hidden is None else config.hidden,
        "critic_hidden": value.hidden if config.critic_hidden is None else config.critic_hidden,
    })  # fmt: skip


def unfit(spec: NetworkSpec, config: Any) -> str | None:
    """Why these settings do not fit a model in one piece, naming the vertex; None when they do."""
    first = spec.vertices[0]
    head = f"{spec.where(first.line)}vertex {first.name!r}: "
    if spec.model == "learned-graph" and () in (config.hidden, spec.vertex("motor").hidden, first.hidden):
        return f"{head}`model: learned-graph` needs a hidden layer, at motors too; found hidden = []."
    if any(v.recipe.encoder == "entities" for v in spec.vertices):
        return (
            f"{head}in `model: {spec.model}` a token is an agent's whole observation; expected no `encoder: entities`."
        )
    wide = tokens(spec, config)[-1]
    if spec.model == "cmat" and (other := spec.vertex("consensus").sends.size) != wide:
        return f"{head}sends {wide} numbers and 'consensus' {other}; in `model: cmat` they are equal."
    if wide % config.attention_heads:
        return (f"{head}expected a width that is a multiple of attention_heads = {config.attention_heads}, "
                f"found {wide}.")  # fmt: skip
    return None
