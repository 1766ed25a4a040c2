"""The whole state of a VMAS batch: found, captured, restored, merged.

VMAS offers no state dict, and its scenarios keep what they like where they like: tensors replaced at every
step, tensors changed in place, two names for one tensor, Python numbers, lists in changing order, objects of
other packages. So the object graph behind an environment is walked. Every mutable object on the way is a
*node* with a name, the path on which it was found first; agents, landmarks and the world are named in
advance, because they outlive every reset and lists of them may be reordered.

Tensors are captured as views on their storages and each storage once: aliases stay aliases, strides stay
strides (a kernel may round differently for others), and expanded tensors stay small.

Restoring needs an environment of the same task that has stepped at least once, so that what scenarios create
on the way is there.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMAT = 1
_SCALARS = frozenset((type(None), bool, int, float, str))
_FIXED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, torch.device, torch.dtype, range)
# Attributes of the environment object that never change, or belong to windows.
_SKIPPED = frozenset(("action_space", "observation_space", "viewer", "text_lines", "visible_display"))
_SEQUENCES = (list, deque)


class UncapturedState(RuntimeError):
    """Raised when an object on the way has a state that cannot be read or put back."""


@dataclass
class Node:
    """A mutable object and what it holds."""

    name: str
    thing: Any
    keys: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def put(self, position: int, value: Any) -> None:
        """Replace the value at a position of ``keys``."""
        thing = self.thing
        if isinstance(thing, tuple):
            raise UncapturedState(f"{self.name}: a tensor inside a tuple must be replaced, use a list")
        key = self.keys[position]
        if isinstance(thing, (dict, *_SEQUENCES)):
            thing[key] = value
        else:
            thing.__dict__[key] = value


class Graph:
    """Every node reachable from an environment, by name and by identity."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.nodes: dict[str, Node] = {}
        self.names: dict[int, str] = {}
        world = env.scenario.world
        known = {"world": world, "scenario": env.scenario, "env": env}
        known |= {f"agent{i}": agent for i, agent in enumerate(world.agents)}
        known |= {f"landmark{i}": landmark for i, landmark in enumerate(world.landmarks)}
        for name, thing in known.items():
            self.names[id(thing)] = name
        for name, thing in known.items():
            self._walk(thing, name)

    def _walk(self, thing: Any, name: str) -> None:
        """Note a node and everything below it that has no name yet."""
        waiting, names = [(thing, name)], self.names
        while waiting:
            thing, name = waiting.pop()
            items = list(_items(thing))
            if thing is self.env:
                items = [(key, value) for key, value in items if key not in _SKIPPED]
            keys, values = [key for key, _ in items], [value for _, value in items]
            self.nodes[name] = Node(name, thing, keys, values)
            for position, value in enumerate(values):
                kind = type(value)
                if kind in _SCALARS or kind is Tensor or id(value) in names or isinstance(value, Tensor):
                    continue
                if _is_node(value, name):
                    key = keys[position]
                    path = f"{name}.{key}" if type(key) in (str, int) else f"{name}.#{position + 1}"
                    names[id(value)] = path
                    waiting.append((value, path))


def _items(thing: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(thing, dict):
        yield from thing.items()
    elif isinstance(thing, (list, tuple, deque)):
        yield from enumerate(thing)
    else:
        yield from thing.__dict__.items()


def _is_node(value: Any, where: str) -> bool:
    """Whether a value (no scalar, no tensor) is to be walked into."""
    if isinstance(value, tuple):
        return not all(type(v) in _SCALARS for v in value)
    if isinstance(value, (dict, list, deque)):
        return True
    if isinstance(value, (Enum, *_FIXED, set, frozenset, np.generic, np.ndarray, torch.Generator)):
        return False
    return hasattr(value, "__dict__") and not isinstance(value, random.Random)


# -- capture and restore ---------------------------------------------------------------------------------


class _Tensors:
    """Tensors as views on storages, each storage once."""

    def __init__(self) -> None:
        self.index: dict[int, int] = {}
        self.places: dict[tuple[int, int], int] = {}
        self.views: list[Any] = []
        self.storages: list[Tensor] = []

    def add(self, tensor: Tensor) -> int:
        """The number of a tensor."""
        if id(tensor) not in self.index:
            storage = tensor.untyped_storage()
            place = (storage.data_ptr(), storage.nbytes())
            if place not in self.places or not place[1]:
                self.places[place] = len(self.storages)
                flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
                self.storages.append(flat.set_(storage).clone())
            kind = str(tensor.dtype).removeprefix("torch.")
            view = [
                self.places[place], kind, tensor.storage_offset(), list(tensor.shape), list(tensor.stride())
            ]  # fmt: skip
            self.index[id(tensor)] = len(self.views)
            self.views.append(view)
        return self.index[id(tensor)]


def capture(env: Any) -> dict[str, Any]:
    """The state of an environment as nested dicts and lists of tensors, numbers and strings.

    Raises:
        UncapturedState: when an object on the way has a state that cannot be read.
    """
    graph, tensors = Graph(env), _Tensors()
    nodes = [
        {
            "name": node.name,
            "keys": [_encode(key, graph, tensors, node.name) for key in node.keys],
            "values": [_encode(value, graph, tensors, node.name) for value in node.values],
        }
        for node in graph.nodes.values()
    ]
    kinds = [type(node.thing).__name__ for node in graph.nodes.values()]
    return {
        "format": FORMAT, "nodes": nodes, "kinds": kinds, "views": tensors.views, "storages": tensors.storages
    }  # fmt: skip


def _encode(value: Any, graph: Graph, tensors: _Tensors, where: str) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Tensor):
        return {"tensor": tensors.add(value)}
    if id(value) in graph.names:
        return {"node": graph.names[id(value)]}
    if isinstance(value, tuple):
        kind = "size" if isinstance(value, torch.Size) else "tuple"
        return {kind: [_encode(v, graph, tensors, where) for v in value]}
    if isinstance(value, (set, frozenset)) and all(type(v) in _SCALARS for v in value):
        return {type(value).__name__: sorted(value, key=repr)}
    if isinstance(value, Enum):
        return {"enum": [type(value).__module__, type(value).__qualname__, value.name]}
    if isinstance(value, np.generic):
        return {"numpy": [value.dtype.str, value.item()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": torch.from_numpy(np.ascontiguousarray(value).copy()), "shape": list(value.shape)}
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if isinstance(value, (*_FIXED, set, frozenset)) or callable(value):
        return {"fixed": type(value).__name__}
    raise UncapturedState(f"{where}: a {type(value).__qualname__} has a state that cannot be captured")


def restore(env: Any, state: dict[str, Any], device: torch.device) -> None:
    """Bring an environment of the same task, which has stepped at least once, into a captured state.

    Raises:
        UncapturedState: when the environment lacks an object that cannot be made from data.
    """
    graph = Graph(env)
    storages = [s.to(device, copy=True) for s in state["storages"]]
    tensors = [
        storages[k].view(getattr(torch, kind)).as_strided(shape, stride, offset)
        for k, kind, offset, shape, stride in state["views"]
    ]
    things: dict[str, Any] = {name: node.thing for name, node in graph.nodes.items()}
    makers = {"list": list, "dict": dict, "deque": deque}
    for node, kind in zip(state["nodes"], state["kinds"]):
        name = node["name"]
        if kind == "tuple":
            continue
        if name not in things or type(things[name]).__name__ != kind:
            if kind not in makers:
                raise UncapturedState(f"{name}: expected an object of class {kind} to restore, found none")
            things[name] = makers[kind]()
    content = {node["name"]: node for node in state["nodes"]}

    def decode(code: Any, current: Any) -> Any:
        if not isinstance(code, dict):
            return code
        kind, value = next(iter(code.items()))
        if kind == "tensor":
            return tensors[value]
        if kind == "node":
            if value in content and value not in things:  # a tuple: made again from its parts
                things[value] = tuple(decode(v, None) for v in content[value]["values"])
            return things[value]
        if kind == "size":
            return torch.Size(value)
        if kind == "tuple":
            return tuple(decode(v, None) for v in value)
        if kind in ("set", "frozenset"):
            return (set if kind == "set" else frozenset)(value)
        if kind == "enum":
            return getattr(sys.modules[value[0]], value[1])[value[2]]
        if kind == "numpy":
            return np.dtype(value[0]).type(value[1])
        if kind == "array":
            return value.cpu().numpy().copy().reshape(code["shape"])
        if kind == "generator":
            current.set_state(value.cpu())
        return current  # fixed: functions, classes and the like are not state

    for name, thing in list(things.items()):
        if isinstance(thing, tuple) and name in content:
            del things[name]
    for name, node in content.items():
        if name in things:
            _fill(things[name], node, decode)


def _fill(thing: Any, node: dict[str, Any], decode: Any) -> None:
    """Give a container exactly the entries of a captured node, in their order."""
    if isinstance(thing, tuple):
        return
    if isinstance(thing, _SEQUENCES):
        old = list(thing)
        thing.clear()
        thing.extend(decode(v, old[i] if i < len(old) else None) for i, v in enumerate(node["values"]))
        return
    inside = thing if isinstance(thing, dict) else thing.__dict__
    own = list(inside)
    kept = {k: inside[k] for k in own if k in _SKIPPED} if node["name"] == "env" else {}
    new = {}
    for i, (code, value) in enumerate(zip(node["keys"], node["values"])):
        key = decode(code, own[i] if i < len(own) else None)
        new[key] = decode(value, inside.get(key))
    inside.clear()
    inside.update(kept | new)
