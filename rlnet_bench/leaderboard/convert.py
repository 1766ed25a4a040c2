"""Actors that were trained elsewhere, as frozen policies of ours: read as data, rewired, checked on what they did.

A declaration (YAML) says what is in the file of weights and in which order the network reads and answers. That order
is folded into the first and last layer, so that what comes out is an ordinary policy, which reads our observations.
Nothing of the other package is imported.

Axes: **N** agents, **O** our observation width, **F** inputs of the network, **A** actions, **T** recorded steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.leaderboard.submission import TaskId, policy_folder, weights_file
from rlnet_bench.reading.files import read_bytes
from rlnet_bench.reading.tensors import read_arrays, read_npz
from rlnet_bench.reading.torch_file import read_torch
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.strict import Strict, explained

if TYPE_CHECKING:
    from rlnet_bench.envs.card import TaskCard
    from rlnet_bench.learning.policy import ActorPolicy

Package = Literal["epymarl", "benchmarl", "jaxmarl", "mava"]
AGREES = 0.999  # share of recorded actions that the policy must repeat; a tie may fall either way
CLOSE = 1e-4  # of continuous actions, as a share of their range
Index = Annotated[int, Field(ge=0, lt=100_000)]


class Declaration(Strict):
    """What the file of weights does not say of itself."""

    package: Package
    task: TaskId
    activation: Literal["tanh", "relu"]
    memory: Literal["none", "gru"] = "none"
    share_parameters: bool = True
    """One network for all agents, or one each (stacked along the first axis, or ``agents.0``, ``agents.1``, ...)."""
    prefix: str = ""
    """Where the actor is in the file: names of its tensors begin so."""
    layers: list[str] = Field(default_factory=list)
    """Names of the linear layers below the prefix, first to last; found by the package's custom where absent."""
    observation: list[Index | Literal["agent", "zero"]]
    """For each input of the network, in its order: the number of our observation that it reads; ``agent``: the next
    place of the agent's one-hot id; ``zero``: a constant."""
    actions: list[Index] = Field(default_factory=list)
    """For each of our options, the number of the network's output; as they come where absent."""


@dataclass(frozen=True)
class Linear:
    """A layer [M, in, out] with its bias [M, out], one copy for all agents or one each."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Network:
    """What is in the file: linear layers, and a gated recurrent unit before the last one."""

    layers: tuple[Linear, ...]
    gru: tuple[Linear, Linear] | None = None  # [M, H, 3H] of what is read and of what is remembered: reset, update, new


def read_declaration(file: Path) -> Declaration:
    """A declaration; raises BadInput with file, line and key."""
    document = load(file)
    try:
        return Declaration.model_validate(document.data or {})
    except ValidationError as error:
        raise BadInput(explained(error, document.where, lambda _: Declaration)) from None


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Tensors of a file by name, whichever of the packages' formats it is in: torch.save, safetensors, npz.

    Raises:
        Absent, Malformed: when there is none, or it is anything else. Nothing in it is ever called.
    """
    if file.suffix == ".npz":
        return read_npz(file)
    return read_arrays(file) if file.suffix == ".safetensors" else read_torch(file)


def convert(declaration: Declaration, weights: Path) -> ActorPolicy:
    """A policy with one replica from a declaration and a file of weights.

    Raises:
        BadInput: naming the tensor, layer or input that does not fit the task or the declaration.
        Malformed: for a file that is not what it should be.
    """
    import torch

    from rlnet_bench.learning.actor import Actor, ActorSpec
    from rlnet_bench.learning.policy import ActorPolicy

    card = task_card(declaration.task)
    found = {k: v for k, v in read_weights(weights).items() if k.startswith(declaration.prefix)}
    if not found:
        raise BadInput(
            f"{weights}: prefix: expected tensors whose names begin with {declaration.prefix!r}, found none."
        )
    network = _folded(_network(declaration, found, str(weights), card), declaration, card)
    hidden = tuple(layer.bias.shape[1] for layer in network.layers[:-1])
    copies = network.layers[0].weight.shape[0]
    spec = ActorSpec(hidden, declaration.activation, copies == 1, memory=declaration.memory)
    policy = ActorPolicy(Actor(card, spec, (0,)))
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v, np.float32)) for k, v in _named(network).items()}
    if card.action_kind == "continuous":
        tensors["log_std"] = torch.full((copies, policy.actor.actions.outputs), -20.0)
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise BadInput(f"{weights}: expected finite numbers, found NaN or an infinity.")
    try:
        policy.load_state_dict(tensors)
    except ValueError as error:
        raise BadInput(f"{weights}: {error}.") from None
    policy.plays = card
    return policy


def _named(network: Network) -> dict[str, np.ndarray]:
    """Tensors under the names that our actors give them."""
    *trunk, last = network.layers
    out: dict[str, np.ndarray] = {}
    for i, layer in enumerate(network.layers if network.gru is None else trunk):
        out[f"weight.{i}"], out[f"bias.{i}"] = layer.weight, layer.bias[:, None]
    if network.gru is not None:
        out["head.weight.0"], out["head.bias.0"] = last.weight, last.bias[:, None]
        for name, side in zip(("read", "recall"), network.gru):
            out[f"gru.{name}"], out[f"gru.{name}_bias"] = side.weight, side.bias[:, None]
    return out


# -- what is in the file -----------------------------------------------------------------------------------------


def _network(d: Declaration, found: Mapping[str, np.ndarray], where: str, card: TaskCard) -> Network:
    """The layers that a declaration names, or that a package's files usually have, in order."""
    copies = 1 if d.share_parameters else card.num_agents
    names = [d.prefix + name for name in d.layers] or _usual(d, found)
    if not names:
        raise BadInput(f"{where}: layers: expected linear layers below {d.prefix!r}, found {_some(found)}.")
    layers = tuple(_linear(d, found, name, where, copies) for name in names)
    for before, after, name in zip(layers, layers[1:], names[1:]):
        if before.weight.shape[2] != after.weight.shape[1]:
            raise BadInput(f"{where}: {name}: expected {before.weight.shape[2]} inputs, as the layer before has "
                           f"outputs, found {after.weight.shape[1]}; list the actor's layers.")  # fmt: skip
    return Network(layers, _gru(d, found, where, copies) if d.memory == "gru" else None)


def _usual(d: Declaration, found: Mapping[str, np.ndarray]) -> list[str]:
    """Names of linear layers by the custom of a package, in the order of their numbers."""
    ending = r"[,/.]kernel$" if d.package in ("jaxmarl", "mava") else r"\.weight$"
    inner = re.compile(r"(^|[,/.])(ir|iz|in|hr|hz|hn|rnn|agents[.]\d+[.]rnn)$")
    stems = {re.sub(ending, "", name) for name, x in found.items() if re.search(ending, name) and x.ndim >= 2}
    plain = {re.sub(r"agents[.]\d+[.]", "agents.0.", s) for s in stems}  # agent by agent in EPyMARL's files
    return sorted((s for s in plain if not (d.memory == "gru" and inner.search(s))), key=_numbers)


def _numbers(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(x)) if x.isdigit() else (1, x) for x in re.split(r"(\d+)", name) if x]


def _linear(d: Declaration, found: Mapping[str, np.ndarray], name: str, where: str, copies: int) -> Linear:
    if d.package in ("jaxmarl", "mava"):
        sign = next((s for s in (",", "/", ".") if f"{name}{s}kernel" in found), ",")
        return Linear(
            _stacked(found, f"{name}{sign}kernel", where, copies, 2),
            _stacked(found, f"{name}{sign}bias", where, copies, 1),
        )
    weight = _stacked(found, f"{name}.weight", where, copies, 2)
    return Linear(weight.transpose(0, 2, 1), _stacked(found, f"{name}.bias", where, copies, 1))


def _stacked(found: Mapping[str, np.ndarray], name: str, where: str, copies: int, rank: int) -> np.ndarray:
    """A tensor [M, ...]: the shared one, the agents' along its first axis, or ``agents.0``, ``agents.1``, ..."""
    each = [re.sub(r"agents[.]0[.]", f"agents.{i}.", name) for i in range(copies)]
    lost = next((n for n in each if n not in found), None)
    if lost is not None:
        raise BadInput(f"{where}: expected a tensor {lost!r}, found {_some(found)}.")
    if len(set(each)) > 1:
        array = np.stack([found[n] for n in each])
    else:
        array = found[name]
        array = array[None] if array.ndim == rank and copies == 1 else array
    if array.ndim != rank + 1 or array.shape[0] != copies:
        raise BadInput(f"{where}: {name}: expected {copies} x {rank} axes (share_parameters), "
                       f"found shape {tuple(array.shape)}.")  # fmt: skip
    return array.astype(np.float32)


def _gru(d: Declaration, found: Mapping[str, np.ndarray], where: str, copies: int) -> tuple[Linear, Linear]:
    """The recurrent unit: gates in the order reset, update, new."""
    if d.package in ("jaxmarl", "mava"):
        cell = next((m[1] for n in found if (m := re.match(r"(.*[,/.])ir[,/.]kernel$", n))), None)
        if cell is None:
            raise BadInput(f"{where}: expected a GRU cell (ir, iz, in, hr, hz, hn), found {_some(found)}.")
        sign = cell[-1]
        read = [_linear(d, found, f"{cell}i{g}", where, copies) for g in "rzn"]
        recall = [_stacked(found, f"{cell}h{g}{sign}kernel", where, copies, 2) for g in "rzn"]
        last = _stacked(found, f"{cell}hn{sign}bias", where, copies, 1)
        zero = np.zeros_like(last)  # flax has a bias of what is remembered at the candidate alone
        return (
            Linear(np.concatenate([g.weight for g in read], 2), np.concatenate([g.bias for g in read], 1)),
            Linear(np.concatenate(recall, 2), np.concatenate([zero, zero, last], 1)),
        )
    # torch.nn.GRUCell (GRU: with _l0): gates reset, update, new, stacked along the outputs.
    cell, end = next(((m[1], m[2]) for n in sorted(found) if (m := re.match(r"(.*)weight_ih(_l0)?$", n))), (None, ""))
    if cell is None:
        raise BadInput(f"{where}: expected a GRU cell (weight_ih, weight_hh), found {_some(found)}.")
    end = end or ""

    def side(which: str) -> Linear:
        weight = _stacked(found, f"{cell}weight_{which}{end}", where, copies, 2)
        return Linear(weight.transpose(0, 2, 1), _stacked(found, f"{cell}bias_{which}{end}", where, copies, 1))

    return side("ih"), side("hh")


def _some(found: Mapping[str, np.ndarray]) -> str:
    names = sorted(found)
    return ", ".join(f"{n[:60]} {tuple(found[n].shape)}" for n in names[:8]) + (", ..." if len(names) > 8 else "")


# -- in which order it reads and answers -------------------------------------------------------------------------


def _folded(network: Network, d: Declaration, card: TaskCard) -> Network:
    """The same network, reading our observations (and the agent's id after them, where shared) and our actions."""
    first, last = network.layers[0], network.layers[-1]
    copies, inputs, _ = first.weight.shape
    order, ids = d.observation, [k for k, x in enumerate(d.observation) if x == "agent"]
    if len(order) != inputs:
        raise BadInput(f"observation: expected an entry for each of the network's {inputs} inputs, found {len(order)}.")
    if len(ids) not in (0, card.num_agents):
        raise BadInput(f"observation: expected no place of the agent's id or {card.num_agents}, found {len(ids)}.")
    read = [x for x in order if isinstance(x, int)]
    if len(set(read)) < len(read) or any(x >= card.observation_size for x in read):
        wrong = next((x for x in read if x >= card.observation_size or read.count(x) > 1), None)
        raise BadInput(f"observation: expected numbers below {card.observation_size}, each once, found {wrong}.")
    width = card.observation_size + (card.num_agents if copies == 1 else 0)
    weight = np.zeros((copies, width, first.weight.shape[2]), np.float32)
    bias = first.bias.copy()
    for k, source in enumerate(order):
        if isinstance(source, int):
            weight[:, source] = first.weight[:, k]
    for agent, k in enumerate(ids):
        if copies == 1:
            weight[:, card.observation_size + agent] = first.weight[:, k]
        else:
            bias[agent] += first.weight[agent, k]
    outputs = sum(card.action_factors) if card.action_factors else card.action_size
    given = last.weight.shape[2]
    if card.action_kind == "continuous" and given == 2 * outputs:  # a mean and a spread of each
        given = outputs
    answers = d.actions or list(range(outputs))
    if len(answers) != outputs or any(a >= given for a in answers) or len(set(answers)) < len(answers):
        raise BadInput(f"actions: expected {outputs} different numbers below {given}, the outputs of the network, "
                       f"found {answers if d.actions else f'{given} outputs'}.")  # fmt: skip
    layers = [Linear(weight, bias), *network.layers[1:]]
    layers[-1] = Linear(layers[-1].weight[:, :, answers], layers[-1].bias[:, answers])
    return Network(tuple(layers), network.gru)


# -- what it did ---------------------------------------------------------------------------------------------------


def check_pairs(policy: ActorPolicy, declaration: Declaration, pairs: Path) -> float:
    """Hold a policy against what the original did: the share of actions that it repeats.

    Args:
        policy: from :func:`convert`.
        declaration: in whose order observations were recorded.
        pairs: safetensors or npz with ``observation`` [T, N, F] in the network's own order, ``action`` [T, N(, A)], as
            the original chose them without sampling, and with memory ``begins`` [T], 1 where an episode begins.

    Raises:
        BadInput: when it repeats fewer than :data:`AGREES` of them.
        Malformed: for pairs of another shape.
    """
    import torch

    card = policy.plays
    assert card is not None
    found = read_weights(pairs)
    shape = (card.num_agents, len(declaration.observation))
    seen, did = found.get("observation"), found.get("action")
    if seen is None or did is None or seen.shape[1:] != shape or did.shape[:2] != seen.shape[:2] or not len(seen):
        expected = f"observation [T, {shape[0]}, {shape[1]}] and action [T, {shape[0]}, ...]"
        raise Malformed(str(pairs), expected, _some(found))
    begins = found.get("begins", np.zeros(len(seen)))
    ours = np.zeros((len(seen), card.num_agents, card.observation_size), np.float32)
    for k, source in enumerate(declaration.observation):
        if isinstance(source, int):
            ours[:, :, source] = seen[:, :, k]
    state = policy.initial_state(1)
    rows = []
    for t in range(len(seen)):
        reset = torch.tensor([t == 0 or bool(begins[t])])
        action, state = policy.act(torch.from_numpy(ours[t : t + 1]), state, None, reset)
        rows.append(action[0].numpy())
    mine = np.stack(rows)
    if card.action_kind == "discrete":
        back = np.array(declaration.actions or range(card.action_size))
        same = back[mine] == did
    else:
        span = np.maximum(_span(card), 1e-9)
        same = (np.abs(mine - did.reshape(mine.shape)) <= CLOSE * span).all(axis=-1)
    share = float(same.mean())
    if share < AGREES:
        t, agent = (int(x[0]) for x in np.nonzero(~same))
        raise BadInput(
            f"{pairs}: expected to repeat at least {AGREES:.1%} of the recorded actions, found {share:.1%}; first at "
            f"step {t}, agent {agent}: recorded {did[t, agent].tolist()}, here {mine[t, agent].tolist()}. Look at "
            "activation, layers, memory and share_parameters."
        )
    return share


def _span(card: TaskCard) -> np.ndarray:
    if card.action_lows is None or card.action_highs is None:
        return np.full((card.num_agents, card.action_size), card.action_high - card.action_low)
    return np.array(card.action_highs, float) - np.array(card.action_lows, float)


def write_policy(policy: ActorPolicy, folder: Path, seed: int, package: Package) -> list[Path]:
    """Write a policy into a submission's folder: ``policies/<task>/policy.json`` and its weights.

    Raises:
        BadInput: when policies of another architecture are there already.
    """
    from rlnet_bench.learning.channel import needs
    from rlnet_bench.learning.information import execution_class, information_flow
    from rlnet_bench.runs.policies import FORMAT, save_weights

    card = policy.plays
    assert card is not None
    depends = information_flow(policy, card)
    described: dict[str, Any] = {
        "format": FORMAT, "execution": execution_class(policy, depends),
        "actor_parameters": sum(w.numel() for w in policy.state_dict().values()),
        "columns": needs(depends, card), "policy": policy.spec(), "converted_from": package,
    }  # fmt: skip
    place = policy_folder(folder, card.id)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "policy.json"
    text = json.dumps(described, indent=1) + "\n"
    if file.exists() and read_bytes(file).decode(errors="replace") != text:
        raise BadInput(f"{file}: is of another architecture; give another --out.")
    write_atomic(file, text)
    weights = weights_file(folder, card.id, seed)
    save_weights(weights, policy.state_dict())
    return [file, weights]
