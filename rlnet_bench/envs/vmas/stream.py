"""A random stream of its own for each VMAS batch.

VMAS keeps one stream per process, shared by all of its environments: making or resetting one changes what
another draws next. It also swaps the caller's global streams for its own around every call, and leaves them
swapped when the call raises. Here every batch owns its stream, and the caller's streams come back whatever
happens, the CUDA generator of the batch's device included.

Swapping numpy's stream costs 0.12 ms, a tenth of a small step, so it stays where a scenario cannot draw from it.
"""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class _Streams(NamedTuple):
    """The states of the global generators."""

    torch: Tensor
    cuda: Tensor | None
    numpy: Any  # None where only torch's generators are swapped
    python: Any


class Stream:
    """A context in which the global generators of torch, numpy and ``random`` are this stream's.

    Not reentrant. What is drawn inside moves this stream and no other.

    Args:
        device: where the batch lives; the generator of a CUDA device is swapped like the others.
        only_torch: leave numpy's and Python's generators alone, for code that does not draw from them.
    """

    def __init__(self, device: torch.device, only_torch: bool = False) -> None:
        self.device, self.only_torch = device, only_torch
        self._outer: _Streams | None = None
        with self:  # only to have a valid state of every generator to start from
            self.seed(0)

    def seed(self, seed: int) -> None:
        """Restart the stream; call it inside the context. ``seed`` is any integer of 64 bits."""
        # torch.manual_seed would reseed every CUDA generator of the process, the caller's too.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)
        if self.only_torch:
            return
        np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 - scenarios draw from the global stream
        random.seed(seed)

    def position(self) -> Any:
        """Where the stream stands; call it inside the context."""
        return self._read()

    def move_to(self, position: Any) -> None:
        """Go back to a :meth:`position`; call it inside the context."""
        self._write(position)

    def __enter__(self) -> Stream:
        self._outer = self._read()
        if hasattr(self, "_own"):
            self._write(self._own)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._outer is not None
        self._own = self._read()
        self._write(self._outer)
        self._outer = None

    def state_dict(self) -> dict[str, Any]:
        """The stream as tensors and plain numbers."""
        own = self._own
        state: dict[str, Any] = {
            "torch": own.torch.clone(),
            "cuda": None if own.cuda is None else own.cuda.clone(),
        }
        if not self.only_torch:
            _, keys, *rest = own.numpy
            version, internal, gauss_next = own.python
            state["numpy"] = torch.from_numpy(keys.astype(np.int64))
            state["numpy_rest"] = [int(rest[0]), int(rest[1]), float(rest[2])]
            state["python"] = torch.tensor(internal, dtype=torch.int64)
            state["python_rest"] = [version, gauss_next]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        numpy = python = None
        if not self.only_torch:
            keys = state["numpy"].cpu().numpy().astype(np.uint32)
            numpy = ("MT19937", keys, *state["numpy_rest"])
            version, gauss_next = state["python_rest"]
            python = (version, tuple(state["python"].tolist()), gauss_next)
        cuda = state["cuda"] if self.device.type == "cuda" else None
        self._own = _Streams(state["torch"].cpu().clone(), None if cuda is None else cuda.cpu().clone(), numpy, python)

    def _read(self) -> _Streams:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        if self.only_torch:
            return _Streams(torch.get_rng_state(), cuda, None, None)
        return _Streams(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())  # noqa: NPY002

    def _write(self, streams: _Streams) -> None:
        torch.set_rng_state(streams.torch)
        if streams.cuda is not None:
            torch.cuda.set_rng_state(streams.cuda, self.device)
        if not self.only_torch:
            np.random.set_state(streams.numpy)  # noqa: NPY002
            random.setstate(streams.python)
