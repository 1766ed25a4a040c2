"""``torch.compile`` that never gets in the way: eager execution, with one warning, where it does not work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled version of a pure function of tensors, or the function itself after one warning."""
    fast = torch.compile(function, dynamic=False)
    chosen: list[Callable[..., Any]] = []

    def call(*args: Any) -> Any:
        if chosen:
            return chosen[0](*args)
        try:
            # After 8 shapes of one function in a process the default is to go on eagerly, which would
            # make a cell's speed and last bits depend on the cells that ran before it.
            with torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=8192):
                result = fast(*args)
        except Exception as error:  # whatever the compiler raises, stepping must go on
            lines = str(error).strip().splitlines() or [repr(error)]
            warnings.warn(f"torch.compile is not usable here, running eagerly: {lines[0][:200]}", stacklevel=3)
            chosen.append(function)
            return function(*args)
        chosen.append(fast)
        return result

    return call
