"""``torch.compile``, or a refusal: numbers may differ in the last bit, so eager never stands in for compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rlnet_bench.errors import BadInput


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled version of a pure function of tensors.

    Raises:
        BadInput: from the first call, where torch cannot compile on this machine.
    """
    fast = torch.compile(function, dynamic=False)
    worked = False

    def call(*args: Any) -> Any:
        nonlocal worked
        if worked:
            return fast(*args)
        try:
            # After 8 shapes of one function in a process the default is to go on eagerly, which would
            # make a cell's speed and last bits depend on the cells that ran before it.
            with torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=8192):
                result = fast(*args)
        except Exception as error:  # whatever the compiler raises
            lines = str(error).strip().splitlines() or [repr(error)]
            raise BadInput(
                f"compile: expected a machine on which torch.compile works, found: {lines[0][:200]}. Install what is "
                f"missing, or leave `compile` out: eager numbers may differ in the last bit."
            ) from error
        worked = True
        return result

    return call
