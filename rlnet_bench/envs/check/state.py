"""Checks of ``state_dict``, ``load_state_dict`` and ``current``: continuing to the bit, also from a file."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from rlnet_bench.envs.check.play import Recording, Subject, copy, differences, play, proceed
from rlnet_bench.envs.check.rules import Skip, require, rule

_LEAVES = (int, float, bool, str, type(None))


@rule
def state_round_trip(subject: Subject) -> str:
    """``state_dict`` continues to the bit in a fresh batch, also through JSON and safetensors."""
    if not subject.card.resumable:
        raise Skip("the card says resumable=False")
    half = subject.card.horizon // 2 + 1
    noise, rest = subject.noise[:half], subject.noise[half : half + subject.window]
    with subject.fresh() as env:
        start = play(env, subject.seeds, noise)
        mask = (start.steps[-1]).action_mask
        state = env.state_dict()
        require(_strange_leaves(state, "state_dict()"))
        stored = encode(state)
        onward = Recording(start.start, proceed(env, mask, rest))
    found = []
    # The object itself first: it must have survived the original stepping on. Twice: loading must copy.
    trials = [("the same object", state), ("the same object again", state), ("a file", decode(stored))]
    for what, content in trials:
        with subject.fresh() as env:
            env.load_state_dict(content)
            twin = Recording(start.start, proceed(env, mask, rest))
        found += [f"continued from {what}: {s}" for s in differences(onward, twin, subject.rows, subject.rows)]
    require(found)
    return f"{len(rest)} steps continue bit for bit"


@rule
def current(subject: Subject) -> str:
    """``current()`` shows what the last ``reset`` or ``step`` showed, also after loading a state."""
    half = subject.card.horizon // 2 + 1
    with subject.fresh() as env:
        last = play(env, subject.seeds, subject.noise[:half]).steps[-1]
        try:
            shown = {"after step": copy(env.current())}
        except NotImplementedError as reason:
            raise Skip(str(reason)) from None
        if subject.card.resumable:
            state = env.state_dict()
            with subject.fresh() as twin:
                twin.load_state_dict(state)
                shown["after load_state_dict"] = copy(twin.current())
    found = []
    for when, now in shown.items():
        for name, value in now._asdict().items():
            before = getattr(last, name)
            if (value is None) != (before is None) or (value is not None and not torch.equal(value, before)):
                found.append(f"{when}: {name} is not what the last step returned")
    require(found)
    return "shows what the last step returned"


def _strange_leaves(value: Any, where: str) -> list[str]:
    if isinstance(value, dict):
        found = [f"{where}: expected str keys, found {k!r}" for k in value if not isinstance(k, str)]
        return found + [s for k, v in value.items() for s in _strange_leaves(v, f"{where}[{k!r}]")]
    if isinstance(value, list):
        return [s for i, v in enumerate(value) for s in _strange_leaves(v, f"{where}[{i}]")]
    if isinstance(value, Tensor) or type(value) in _LEAVES:
        return []
    return [f"{where}: expected a tensor, number, string, None, list or dict, found {type(value).__name__}"]


def encode(state: dict[str, Any]) -> tuple[str, bytes]:
    """A state as JSON text and safetensors bytes: tensors are named by their path."""
    tensors: dict[str, Tensor] = {}

    def strip(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value.detach().cpu().contiguous().clone()
            return {"__tensor__": path}
        if isinstance(value, dict):
            return {k: strip(v, f"{path}/{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [strip(v, f"{path}/{i}") for i, v in enumerate(value)]
        return value

    return json.dumps(strip(state, "")), save(tensors)


def decode(stored: tuple[str, bytes]) -> dict[str, Any]:
    """The inverse of :func:`encode`; tensors come back on the CPU."""
    tensors = load(stored[1])

    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"__tensor__"}:
                return tensors[value["__tensor__"]]
            return {k: restore(v) for k, v in value.items()}
        return [restore(v) for v in value] if isinstance(value, list) else value

    return restore(json.loads(stored[0]))
