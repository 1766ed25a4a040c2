"""Networks of a team (or of the vertices of one stack): one for all agents of a replica, or one each.

Axes: **R** replicas, **T** steps, **n** rows, **K** agents or vertices, **F** features, **H** numbers remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from rlnet_bench.envs.layout import Layout
from rlnet_bench.learning.entities import Entities
from rlnet_bench.learning.inputs import Normalise, Running, by_row
from rlnet_bench.learning.recurrent import Recurrent
from rlnet_bench.learning.stacked import StackedMLP, load_tensors, named

ACTOR, CRITIC = 0, 1  # network numbers for initialisation keys
Memory = Literal["none", "gru"]


class AgentNetwork:
    """K agents of R replicas: [R, n, K, F] -> [R, n, K, out]; without memory or with a gated recurrent unit."""

    gru: Recurrent | None = None
    mlp: StackedMLP | None = None  # where it does not remember
    parts: Mapping[str, Any] = MappingProxyType({})  # networks that a subclass is made of, in place of both
    running: Running | None = None  # of what it reads
    entities: Entities | None = None  # as which it reads it

    def __init__(
        self, sizes: Sequence[int], keys: Sequence[int], replicas: int, agents: int, *, memory: Memory = "none",
        normalise: Normalise = "none", layout: Layout | None = None, **options: Any,
    ) -> None:  # fmt: skip
        """Freshly initialised.

        Args:
            sizes: layer widths, input first.
            keys: initialisation keys, replica-major: one per replica (shared by its agents) or one per agent.
            replicas: R.
            agents: K.
            memory: ``gru`` puts a recurrent unit, as wide as the last hidden layer, before the output.
            normalise: what is read (:mod:`rlnet_bench.learning.inputs`).
            layout: read it as entities (:mod:`rlnet_bench.learning.entities`), with layers behind that.
            options: of :class:`~rlnet_bench.learning.stacked.StackedMLP`.
        """
        self.replicas, self.agents, self.copies = replicas, agents, len(keys) // replicas
        self.share = self.copies == 1 and agents > 1
        if layout is not None:
            more = {"activation": options.get("activation", "tanh"), "device": options.get("device", "cpu")}
            self.entities = Entities(layout, sizes[0], keys, **more)
            sizes = (self.entities.width, *sizes[1:])
        self.gru = Recurrent(sizes, keys, **options) if memory == "gru" else None
        self.mlp = StackedMLP(sizes, keys, **options) if self.gru is None else None
        if normalise == "running":
            self.running = Running(len(keys), sizes[0], options.get("device", "cpu"))
        self.read = self.entities or (by_row if normalise == "layer" else self.running)

    @property
    def is_recurrent(self) -> bool:
        """It remembers; then call :meth:`along`."""
        return self.gru is not None

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> [R, n, K, out], without memory."""
        assert self.mlp is not None
        r, n, k, _ = x.shape
        rows = self._rows(x)
        out = self.mlp(rows if self.read is None else self.read(rows))
        return out.view(r, n, k, -1) if self.share else out.view(r, k, n, -1).transpose(1, 2)

    def _rows(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> [M, rows, F], by copies."""
        r, n, k, width = x.shape
        return x.reshape(r, n * k, width) if self.share else x.transpose(1, 2).reshape(r * k, n, width)

    def see(self, x: Tensor) -> None:
        """What was learned from, [R, n, K, F]: running moments move."""
        if self.running is not None:
            self.running.see(self._rows(x))

    def along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """T steps with memory.

        Args:
            x: features [R, T, n, K, F].
            h: what is remembered before the first step, [R, n, K, H].
            begins: [R, T, n] bool, an episode begins with this step; None: nowhere.

        Returns:
            (outputs [R, T, n, K, out], what is remembered after every step [R, T, n, K, H]).
        """
        assert self.gru is not None
        r, steps, n, k, _ = x.shape

        def laid(y: Tensor) -> Tensor:
            """[R, T, n, K, F] -> [M, T, rows, F]."""
            if self.share:
                return y.reshape(r, y.shape[1], n * k, -1)
            return y.permute(0, 3, 1, 2, 4).reshape(r * k, y.shape[1], n, -1)

        def back(y: Tensor) -> Tensor:
            if self.share:
                return y.view(r, steps, n, k, -1)
            return y.view(r, k, steps, n, -1).permute(0, 2, 3, 1, 4)

        fresh = None if begins is None else laid(begins[..., None, None].expand(-1, -1, -1, k, -1))
        rows = laid(x)
        if self.read is not None:
            rows = self.read(rows.flatten(1, 2)).unflatten(1, rows.shape[1:3])
        out, after = self.gru(rows, laid(h[:, None])[:, 0], fresh)
        return back(out), back(after)

    def initial_memory(self, num_envs: int) -> Tensor:
        """What is remembered before the first step, zeros [num_envs, K, H] (H = 0 without memory)."""
        width = 0 if self.gru is None else self.gru.width
        return torch.zeros(num_envs, self.agents, width, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    def first_weights(self) -> list[tuple[Tensor, Sequence[int]]]:
        """Weights [R * copies, rows, hidden] that read the features directly, and which feature each row reads."""
        if self.entities is not None:
            return self.entities.first_weights()
        first = next(self.parameters())
        return [(first, range(first.shape[1]))]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [R * copies, ...]."""
        module = self.gru or self.mlp
        yield from named(self.parts) if module is None else module.named_parameters()
        if self.entities is not None:
            for name, p in self.entities.named_parameters():
                yield f"entities.{name}", p

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each [R * copies, ...]."""
        return (p for _, p in self.named_parameters())

    def statistics(self) -> dict[str, Tensor]:
        """What belongs to the weights and is not trained, each [R * copies, ...]."""
        return {} if self.running is None else self.running.tensors()

    def state_dict(self) -> dict[str, Tensor]:
        """Detached parameters and statistics by name."""
        return {name: p.detach() for name, p in self.named_parameters()} | self.statistics()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        load_tensors(dict(self.named_parameters()) | self.statistics(), state)


def with_ids(x: Tensor, ids: Tensor | None) -> Tensor:
    """What agents read, [..., K, F], then who they are: their rows of ``ids`` [K, K], where there are any."""
    if ids is None:
        return x
    each = ids.expand(*x.shape[:-1], -1).contiguous()  # what is laid out plainly is put side by side twice as fast
    return torch.cat((x, each), dim=-1)
