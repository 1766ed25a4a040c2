"""TensorBoard and Weights & Biases as callbacks. Never required; never part of a record.

    rlnet-bench run quick --log tensorboard --log wandb

TensorBoard files lie in ``STORE/tensorboard/<run id>/``. W&B follows its own environment variables:
``WANDB_MODE=offline`` keeps everything in ``STORE/wandb``, ``WANDB_PROJECT`` names the project (the suite's
name by default).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlnet_bench.errors import MissingExtra, UnknownName
from rlnet_bench.runs.callbacks import Callback, Event
from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.store import Store

SECONDS = 2.0  # at most one progress line per group in so many seconds; evaluations are always logged


class Logger(Callback, Protocol):
    """A callback with an end."""

    def close(self) -> None:
        """Flush and close."""
        ...


def scalars(event: Event, seeds: Sequence[int]) -> Iterator[tuple[str, float]]:
    """(name, value) of an event: what is measured per replica gets its seed's name."""
    if event.kind == "progress":
        yield "progress/frames_per_second", float(event.data["rate"])
        for name, values in event.data.get("metrics", {}).items():
            yield from _per_seed(f"training/{name}", values, seeds)
    elif event.kind == "evaluated":
        yield from _per_seed("evaluation/best_return", event.data["best"], seeds)


def _per_seed(name: str, values: Any, seeds: Sequence[int]) -> Iterator[tuple[str, float]]:
    found = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(found, list):
        yield name, float(found)
        return
    for seed, value in zip(seeds, found):
        if isinstance(value, (int, float)) and abs(value) != float("inf"):
            yield f"{name}/seed {seed}", float(value)


class _Throttled:
    """Leaves out progress that comes too soon after the last, so that logging costs nothing that counts."""

    def __init__(self, group: Group, clock: Callable[[], float]) -> None:
        self.seeds, self.clock, self.last = group.config["seeds"], clock, -float("inf")
        self.frames = 0

    def wanted(self, event: Event) -> dict[str, float]:
        self.frames = event.data.get("frames", self.frames)
        if event.kind == "progress":
            if self.clock() - self.last < SECONDS:
                return {}
            self.last = self.clock()
        return dict(scalars(event, self.seeds))


class TensorBoardLogger(_Throttled):
    """Writes event files; raises MissingExtra when TensorBoard is not installed."""

    def __init__(self, group: Group, folder: Path, project: str, clock: Callable[[], float]) -> None:
        super().__init__(group, clock)
        require("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard" / group.run_id))
        self.writer.add_text("group", group.describe())

    def on_event(self, event: Event) -> None:
        """Write the scalars of an event."""
        for name, value in self.wanted(event).items():
            self.writer.add_scalar(name, value, self.frames)

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()


class WandbLogger(_Throttled):
    """One W&B run per group, which a resumed group goes on with; raises MissingExtra without wandb."""

    def __init__(self, group: Group, folder: Path, project: str, clock: Callable[[], float]) -> None:
        super().__init__(group, clock)
        require("wandb")
        import os

        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", project), id=group.run_id, name=group.describe(), resume="allow",
            group=group.label, dir=str(folder), config=dict(group.config),
        )  # fmt: skip

    def on_event(self, event: Event) -> None:
        """Log the scalars of an event, by frames."""
        found = self.wanted(event)
        if found:
            self.run.log({**found, "frames": self.frames})

    def close(self) -> None:
        """End the run."""
        self.run.finish()


LOGGERS: Mapping[str, tuple[type[TensorBoardLogger] | type[WandbLogger], str]] = {
    "tensorboard": (TensorBoardLogger, "tensorboard"),
    "wandb": (WandbLogger, "wandb"),
}


def require(name: str) -> None:
    """Raise UnknownName or MissingExtra when a logger cannot be used here."""
    if name not in LOGGERS:
        raise UnknownName("logger", name, LOGGERS, hint=f"Loggers: {', '.join(LOGGERS)}.")
    try:
        found = importlib.util.find_spec(LOGGERS[name][1]) is not None
    except ValueError:  # a module that was put there by hand
        found = True
    if not found:
        raise MissingExtra(LOGGERS[name][1], name, f"--log {name}")


class Loggers:
    """The loggers of one worker: at most one group's are open at a time."""

    def __init__(
        self, names: Sequence[str], store: Store, project: str, clock: Callable[[], float] | None = None
    ) -> None:
        import time

        for name in names:
            require(name)
        self.names, self.store, self.project, self.clock = tuple(names), store, project, clock or time.monotonic
        self.open: tuple[Logger, ...] = ()

    def of(self, group: Group) -> tuple[Callback, ...]:
        """Fresh loggers for a group; closes those of the group before."""
        self.close()
        self.open = tuple(LOGGERS[n][0](group, self.store.root, self.project, self.clock) for n in self.names)
        return self.open

    def close(self) -> None:
        """Flush and close."""
        for logger in self.open:
            logger.close()
        self.open = ()

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
