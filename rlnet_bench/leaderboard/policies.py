"""The policies of a submission: modules that we build, with its weights in them, or a refusal.

Axes: **R** policies, one per training run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, Malformed, RlnetError
from rlnet_bench.leaderboard.folder import MAX_WEIGHTS, Folder
from rlnet_bench.leaderboard.submission import NETWORK, weights_file
from rlnet_bench.methods import Method, catalogued
from rlnet_bench.reading.tensors import read_tensors
from rlnet_bench.runs.policies import rebuild_policy

if TYPE_CHECKING:
    from rlnet_bench.learning.policy import Policy
    from rlnet_bench.networks.spec import NetworkSpec

MAX_COUNT = 64  # of blocks, heads, rounds
MAX_LAYERS = 16
_COUNTS = ("blocks", "attention_heads", "rounds")


def weights_of(folder: Folder, task: str, seed: int) -> dict[str, Tensor]:
    """The weights of one policy: float32, finite.

    Raises:
        Malformed: naming the tensor.
    """
    file = weights_file(folder.path, task, seed)
    found = read_tensors(file, most=MAX_WEIGHTS)
    if not found:
        raise Malformed(str(file), "weights", "a file without tensors")
    for name, tensor in found.items():
        at = f"{file}: {name[:80]!r}"
        if tensor.dtype != torch.float32:
            raise Malformed(at, "float32", str(tensor.dtype).removeprefix("torch."))
        if tensor.ndim == 0 or not bool(tensor.isfinite().all()):
            raise Malformed(at, "finite numbers in rows", "NaN, an infinity, or a single number")
    return found


def digest_of(weights: Mapping[str, Tensor], network: str = "") -> str:
    """sha256 of weights and network alone: what else is in the folder draws no other episodes."""
    total = hashlib.sha256(network.encode())
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        total.update(f"{name}\0{tuple(tensor.shape)}\0".encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def digests(folder: Folder, task: str) -> dict[int, str]:
    """The digest of every policy of a task, by seed."""
    network = folder.network.digest() if folder.network is not None else ""
    return {seed: digest_of(weights_of(folder, task, seed), network) for seed in folder.seeds[task]}


def build(folder: Folder, task: str) -> Policy:
    """The policies of a task, R of them side by side.

    Raises:
        BadInput, Malformed: when they cannot be built from what is given, or are larger than their weights.
    """
    card, seeds = task_card(task), tuple(folder.seeds[task])
    each = [weights_of(folder, task, seed) for seed in seeds]
    names = set(each[0])
    for seed, weights in zip(seeds, each, strict=True):
        if set(weights) != names or any(weights[n].shape != each[0][n].shape for n in names):
            raise Malformed(str(weights_file(folder.path, task, seed)), f"tensors as of seed {seeds[0]}", "others")
    described = folder.description(task)
    spec = described.get("policy", described)
    try:
        method = _builder(folder, described, spec)
        affordable(spec, card, sum(w.numel() for w in each[0].values()))
        stacked = {name: torch.cat([w[name] for w in each]) for name in each[0]}
        policy = rebuild_policy(method, described, stacked, seeds, card)
    except RlnetError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        where = f"{folder.path.name}: policy.json of {task}"
        raise Malformed(
            where, "the plain data of a policy of ours", f"a thing that none is made of ({error})"
        ) from None
    policy.plays = card
    return policy


def _builder(folder: Folder, described: Mapping[str, Any], spec: Mapping[str, Any]) -> type[Method]:
    """Whose ``rebuild`` makes it: the network's, a catalogued method's, or that of the kinds that all share."""
    from rlnet_bench.networks.method import method_from_json

    if folder.network is not None:
        if spec.get("kind") != "network" or spec.get("network") != folder.network.to_json():
            raise BadInput(f"{folder.path.name}: policy.json: expected the network of {NETWORK}, found another one.")
        return method_from_json(folder.network.to_json())
    if spec.get("kind") == "network":
        raise BadInput(f"{folder.path.name}: policy.json: a network is submitted as `kind: network`, with {NETWORK}.")
    name = described.get("method", "")
    if not name:
        return Method
    found = catalogued(name) if isinstance(name, str) else None
    if found is None or not found.capabilities.trains:
        raise BadInput(f"{folder.path.name}: policy.json: method: expected a trained method of the catalogue, "
                       f"found {str(name)[:80]!r}.")  # fmt: skip
    return found


def affordable(spec: Mapping[str, Any], card: TaskCard, numbers: int) -> None:
    """Refuse a module that would be larger than its weights, before anything is allocated.

    Raises:
        BadInput: for widths that ``numbers`` weights cannot fill.
    """
    if spec.get("kind") == "network":
        needed = _network_numbers(spec, card)
    else:
        needed = max(_numbers(part, card) for part in _mappings(spec))
    if needed > numbers:
        raise BadInput(
            f"a policy on {card.id}: its layers need at least {needed:,} weights, and {numbers:,} are given."
        )


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _mappings(item)


def _whole(value: Any, most: int, what: str) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise BadInput(f"policy.json: {what}: expected a whole number from 1 to {most:,}, found {str(value)[:80]!r}.")
    return value


def _numbers(part: Mapping[str, Any], card: TaskCard) -> int:
    """At least how many weights a mapping of settings asks for."""
    for name in _COUNTS:
        if name in part:
            _whole(part[name], MAX_COUNT, name)
    wide = _whole(part["width"], MAX_WEIGHTS, "width") ** 2 if "width" in part else 0
    hidden = part.get("hidden")
    if not hidden:
        return wide
    if not isinstance(hidden, list) or len(hidden) > MAX_LAYERS:
        raise BadInput(f"policy.json: hidden: expected at most {MAX_LAYERS} widths, found {str(hidden)[:80]}.")
    layers = [_whole(x, MAX_WEIGHTS, "hidden") for x in hidden]
    reads = card.observation_size * (card.num_agents if part.get("observe") == "all" else 1)
    copies = card.num_agents if part.get("share_parameters") is False else 1
    return wide + copies * sum(a * b for a, b in zip([reads, *layers], layers, strict=False))


def _network_numbers(spec: Mapping[str, Any], card: TaskCard) -> int:
    from rlnet_bench.networks.graph import expand
    from rlnet_bench.networks.spec import NetworkSpec
    from rlnet_bench.networks.wiring import wire

    settings = spec["settings"]
    if not isinstance(settings, Mapping) or not isinstance(settings.get("share_parameters"), bool):
        raise BadInput("policy.json: settings: expected hidden, activation and share_parameters.")
    network = NetworkSpec.from_json(spec["network"])
    if network.model:
        return _model_numbers(network, settings)
    wiring = wire(expand(network, card), share_motors=settings["share_parameters"])
    needed = 0
    for stack in wiring.stacks:
        widths = stack.vertex.hidden if settings.get("hidden") is None else settings["hidden"]
        layers = [_whole(x, MAX_WEIGHTS, "hidden") for x in widths][:MAX_LAYERS]
        for reads in [stack.reads.width] * stack.acts + [m.width for m in (stack.message,) if m is not None]:
            needed += len(stack.copies) * sum(a * b for a, b in zip([reads, *layers], layers, strict=False))
    return needed


def _model_numbers(network: NetworkSpec, settings: Mapping[str, Any]) -> int:
    """At least how many weights a model in one piece asks for: its tokens are mixed in every block."""
    from rlnet_bench.networks.models import CONFIGS, tokens

    blocks = _whole(settings.get("blocks"), MAX_COUNT, "blocks")
    _whole(settings.get("attention_heads"), MAX_COUNT, "attention_heads")
    hidden = settings.get("hidden")
    widths = [] if hidden is None else [_whole(x, MAX_WEIGHTS, "hidden") for x in hidden]
    config = CONFIGS[network.model].model_construct(hidden=tuple(widths[:MAX_LAYERS]) or None)
    return blocks * tokens(network, config)[-1] ** 2
