"""Checks that ``step`` stays on its device: no copies to the host, no Python branch on a tensor.

On the CPU such operations cost nothing and go unnoticed; on a GPU each one stops the pipeline. Two torch
modes therefore watch every operation: the function mode sees methods that never reach the dispatcher
(``numpy``, ``cpu``, ``tolist``), the dispatch mode sees what runs inside others (``bool(x)``, ``x[mask]``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rlnet_bench.envs.check.play import Subject, choose, proceed
from rlnet_bench.envs.check.rules import Skip, Violation, require, rule

# Families that step somebody else's code, and why the rule cannot be asked of it.
WRAPPED = {
    "vmas": "vmas steps its own scenarios, which branch on tensors",
    "pettingzoo": "a wrapped ParallelEnv steps in numpy on the host",
}

_OPERATIONS = {
    "_local_scalar_dense": "a number taken out of a tensor (item, bool, int, float or a Python branch)",
    "is_nonzero": "a Python branch on a tensor",
    "equal": "torch.equal",
    "allclose": "torch.allclose",
    "nonzero": "nonzero, whose size depends on values",
    "masked_select": "masked_select, whose size depends on values",
    "_unique": "unique, whose size depends on values",
    "_unique2": "unique, whose size depends on values",
    "unique_dim": "unique, whose size depends on values",
    "unique_consecutive": "unique, whose size depends on values",
    "bincount": "bincount, whose size depends on values",
}
_METHODS = {
    Tensor.numpy: "Tensor.numpy()",
    Tensor.cpu: "Tensor.cpu()",
    Tensor.tolist: "Tensor.tolist()",
    Tensor.__array__: "numpy conversion",
    torch.tensor: "torch.tensor, a copy from the host",
    torch.as_tensor: "torch.as_tensor, a copy from the host",
    torch.from_numpy: "torch.from_numpy, a copy from the host",
    Tensor.new_tensor: "Tensor.new_tensor, a copy from the host",
}
_SKIPPED_FILES = (str(Path(torch.__file__).parent), __file__)


class _Log:
    """Where each forbidden operation was called, without repetitions."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, what: str) -> None:
        """Note an operation at the innermost frame outside torch."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_SKIPPED_FILES):
            frame = frame.f_back
        where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} ({frame.f_code.co_name})"
        self.found.setdefault(where, what)


class _Operations(TorchDispatchMode):
    def __init__(self, log: _Log) -> None:
        super().__init__()
        self.log = log

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _OPERATIONS:
            self.log.add(_OPERATIONS[name])
        elif name == "repeat_interleave" and (kwargs or {}).get("output_size") is None:
            self.log.add("repeat_interleave without output_size, whose size depends on values")
        elif (
            name in ("index", "index_put", "index_put_")
            and _is_masked(args[1])
            # Writing one number through a mask becomes a masked fill; anything else counts the mask.
            and not (name != "index" and args[2].numel() == 1)
        ):
            self.log.add("indexing with a boolean mask, whose size depends on values (use torch.where)")
        return func(*args, **(kwargs or {}))


def _is_masked(indices: Any) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


class _Methods(TorchFunctionMode):
    def __init__(self, log: _Log) -> None:
        super().__init__()
        self.log = log

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            what = _METHODS.get(func)
        except TypeError:  # an unhashable callable
            what = None
        if what is not None and not (func is torch.as_tensor and isinstance(args[0], Tensor)):
            self.log.add(what)
        elif func in (Tensor.__getitem__, Tensor.__setitem__) and _has_sequence(args[1]):
            self.log.add("indexing with a Python sequence, a copy from the host (use a slice or a tensor)")
        return func(*args, **(kwargs or {}))


def _has_sequence(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, (list, tuple, range)) or type(p).__name__ == "ndarray" for p in parts)


@rule
def host_copies(subject: Subject) -> str:
    """``step`` neither copies between host and device nor branches on a tensor (watched on the CPU)."""
    if subject.card.family in WRAPPED:
        raise Skip(WRAPPED[subject.card.family])
    env, log = subject.factory(subject.num_envs, "cpu"), _Log()
    try:
        mask = env.reset(subject.seeds.cpu()).action_mask
        for row in subject.noise[: subject.window].cpu():
            actions = choose(subject.card, row, mask)
            with _Methods(log), _Operations(log):
                mask = env.step(actions).action_mask
    finally:
        env.close()
    require([f"{where}: {what}" for where, what in log.found.items()])
    return f"{subject.window} steps with every operation watched"


@rule
def cuda(subject: Subject) -> str:
    """On a GPU, stepping through an episode end raises under ``set_sync_debug_mode("error")`` nowhere."""
    if subject.card.family in WRAPPED:
        raise Skip(WRAPPED[subject.card.family])
    if not torch.cuda.is_available():
        raise Skip("no CUDA device")
    noise = subject.noise[: subject.window].cuda()
    mode = torch.cuda.get_sync_debug_mode()
    env = subject.factory(subject.num_envs, "cuda")
    try:
        mask = env.reset(subject.seeds.cuda()).action_mask
        # One step without the watch: first calls may load kernels and libraries.
        mask = proceed(env, mask, noise[:1])[0].action_mask
        for row in noise[1:]:
            actions = choose(subject.card, row, mask)
            torch.cuda.set_sync_debug_mode("error")
            try:
                transition = env.step(actions)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
            mask = transition.action_mask
            if transition.observation.device.type != "cuda":
                raise Violation(f"expected observations on cuda, found {transition.observation.device}")
    finally:
        env.close()
    return f"{len(noise)} steps without a synchronisation"
