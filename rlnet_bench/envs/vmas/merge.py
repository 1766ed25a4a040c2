"""One reset of a whole VMAS batch, kept only where an episode has ended.

VMAS resets all environments at once or one by index, and both cost the same. So all are reset, and what
belongs to the environments that go on is put back, tensor by tensor along the batch axis. What has no batch
axis is shared by the batch: it is put back too, and so changes only when all episodes end together.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.vmas.state import Graph, Node


class Before:
    """What a batch held before a reset."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.graph = Graph(env)
        self.copies: dict[int, Tensor] = {}
        self.versions: dict[int, int] = {}
        for node in self.graph.nodes.values():
            for value in node.values:
                if isinstance(value, Tensor) and id(value) not in self.copies:
                    self.copies[id(value)] = value.clone()
                    self.versions[id(value)] = value._version

    def merge(self, fresh: Tensor) -> None:
        """Put back what was, except in the environments that start afresh.

        Args:
            fresh: bool [B].
        """
        after = Graph(self.env)
        work = _Merge(self, after, fresh)
        for name, node in after.nodes.items():
            if name in self.graph.nodes:
                work.node(self.graph.nodes[name], node)


class _Merge:
    def __init__(self, before: Before, after: Graph, fresh: Tensor) -> None:
        self.before, self.after, self.fresh, self.batch = before, after, fresh, len(fresh)
        self.masks: dict[tuple[int, int], Tensor] = {}  # (axis, dimensions) -> fresh in that shape
        self.done: dict[tuple[int, int], Tensor] = {}
        self.owners: dict[int, int] = {}  # storage after the reset -> storage before, of the first merge

    def node(self, old: Node, new: Node) -> None:
        """Merge the entries of a node that was there before and is there after."""
        if old.keys != new.keys:
            self._common(old, new)
            return
        versions = self.before.versions
        for position, (was, now) in enumerate(zip(old.values, new.values)):
            # An untouched tensor stays, and what the same object holds is merged in its own node.
            if was is not now or (isinstance(now, Tensor) and now._version != versions[id(now)]):
                self._value(new, position, was, now)

    def _common(self, old: Node, new: Node) -> None:
        """Entries came or went with the reset."""
        if isinstance(new.thing, (list, deque)):  # its length is shared by the batch: as it was
            new.thing.clear()
            new.thing.extend(self.before.copies.get(id(v), v) for v in old.values)
            return
        positions = {key: i for i, key in enumerate(old.keys)}
        for position, key in enumerate(new.keys):
            if key in positions:
                self._value(new, position, old.values[positions[key]], new.values[position])

    def _value(self, node: Node, position: int, was: Any, now: Any) -> None:
        if isinstance(was, Tensor) and isinstance(now, Tensor):
            result = self._tensor(was, now)
            if result is not now:
                node.put(position, result)
        elif isinstance(was, Tensor):
            node.put(position, self.before.copies[id(was)])
        elif was is not now and not isinstance(now, Tensor) and self._shared(was, now):
            node.put(position, was)

    def _shared(self, was: Any, now: Any) -> bool:
        """Whether something shared by the batch changed: another number, another known object."""
        name, other = self.before.graph.names.get(id(was)), self.after.names.get(id(now))
        # A list or an object that was made anew has the name of its predecessor: its contents are merged.
        return name != other or name is None

    def _tensor(self, was: Tensor, now: Tensor) -> Tensor:
        if was is now and now._version == self.before.versions[id(was)]:
            return now
        pair = (id(was), id(now))
        if pair not in self.done:
            self.done[pair] = self._merged(was, now, self.before.copies[id(was)])
        return self.done[pair]

    def _merged(self, was: Tensor, now: Tensor, old: Tensor) -> Tensor:
        if now.shape != old.shape or now.dtype != old.dtype:
            return now
        # In place, so that views and other names of this tensor follow. Not where elements share memory, and
        # not where tensors that were separate before have become one: those get memory of their own.
        mask = self._mask(now)
        if not now.is_contiguous() and any(step == 0 and size > 1 for step, size in zip(now.stride(), now.shape)):
            value = old if mask is None else torch.where(mask, now, old)
            return now if torch.equal(now, value) else value
        place, origin = now.untyped_storage().data_ptr(), was.untyped_storage().data_ptr()
        if self.owners.setdefault(place, origin) != origin:
            return old if mask is None else torch.where(mask, now, old)
        if mask is None:
            now.copy_(old)
        else:
            torch.where(mask, now, old, out=now)
        return now

    def _mask(self, tensor: Tensor) -> Tensor | None:
        """``fresh`` along the batch axis of a tensor, None where there is none.

        VMAS batches along the first axis; another one is taken only when the first has another size.
        """
        axis = next((axis for axis, size in enumerate(tensor.shape) if size == self.batch), None)
        if axis is None:
            return None
        dims = tensor.dim()
        if (axis, dims) not in self.masks:
            self.masks[axis, dims] = self.fresh.view([-1 if k == axis else 1 for k in range(dims)])
        return self.masks[axis, dims]
