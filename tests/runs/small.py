"""Suites that run in a fraction of a second, and ways to interrupt them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.loop import run_group
from rlnet_bench.runs.plan import Group, Plan, make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite

SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-continuous-v1"
TINY: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 10, "hidden": [8], "critic_hidden": [8], "epochs": 1, "minibatches": 1,
}  # fmt: skip
REPLAY: dict[str, Any] = {
    "num_envs": 4, "rollout_steps": 10, "hidden": [8], "batch_size": 8, "buffer_size": 64, "learning_starts": 48,
    "updates_per_iteration": 2, "target_every": 2,
}  # fmt: skip
_TINY = {"ippo": TINY, "mappo": TINY, "iql": REPLAY, "vdn": REPLAY, "qmix": REPLAY}


def method(name: str = "ippo", **settings: Any) -> dict[str, Any]:
    """An entry of a suite; trained methods are tiny, and so are networks (``zoo/NAME``)."""
    kind = "network" if name.startswith("zoo/") else "id"
    return {kind: name, "set": {**(_TINY.get(name, TINY if kind == "network" else {})), **settings}}


def suite(*methods: Any, **changes: Any) -> Suite:
    """A suite with a budget of four iterations."""
    data = {
        "name": "small", "tasks": [SPREAD], "methods": [*methods] or [method()], "seeds": 2,
        "budget": {"frames": 160}, "evaluation": {"every": 80, "episodes": 2, "absolute_episodes": 3},
    }  # fmt: skip
    return Suite.model_validate({**data, **changes})


def plan(*methods: Any, **changes: Any) -> Plan:
    """Its plan."""
    return make_plan(suite(*methods, **changes))


def group(*methods: Any, **changes: Any) -> Group:
    """Its first group."""
    return plan(*methods, **changes).groups[0]


def store(root: Path, *methods: Any, **changes: Any) -> tuple[Store, Plan]:
    """A store that holds the plan."""
    made, planned = Store.create(root), plan(*methods, **changes)
    made.add_plan(planned)
    return made, planned


class Stop(BaseException):
    """An injected interruption."""


class StopAt:
    """A callback that raises at its n-th event of a kind."""

    def __init__(self, n: int, kind: str | None = None, error: BaseException | None = None) -> None:
        self.left, self.kind, self.error = n, kind, error or Stop()

    def on_event(self, event: Event) -> None:
        self.left -= self.kind in (None, event.kind)
        if self.left == 0:
            self.left = -1
            raise self.error


class Heard:
    """A callback that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[Event]:
        return [e for e in self.events if e.kind == kind]


def whole(folder: Path, *methods: Any, **changes: Any) -> Path:
    """The folder of an uninterrupted run."""
    run_group(folder, group(*methods, **changes).config)
    return folder


def products(folder: Path) -> dict[str, bytes]:
    """What must be the same to the bit after any interruption."""
    files = [folder / "evals.jsonl", *sorted((folder / "policies").iterdir())]
    return {file.name: file.read_bytes() for file in files}
