"""TensorBoard and W&B as callbacks: what they log, that they are optional, and that they change no record."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small
import torch

from rlnet_bench.errors import MissingExtra, UnknownName
from rlnet_bench.runs.callbacks import Event
from rlnet_bench.runs.loggers import Loggers, require, scalars
from rlnet_bench.runs.worker import work


def test_values_per_replica_get_their_seeds_name() -> None:
    event = Event("progress", {"frames": 40, "rate": 10.0, "metrics": {"loss": torch.tensor([1.0, 2.0])}})
    assert dict(scalars(event, [3, 7])) == {
        "progress/frames_per_second": 10.0, "training/loss/seed 3": 1.0, "training/loss/seed 7": 2.0,
    }  # fmt: skip
    best = Event("evaluated", {"best": [-float("inf"), 2.0]})
    assert dict(scalars(best, [3, 7])) == {"evaluation/best_return/seed 7": 2.0}
    assert dict(scalars(Event("checkpoint", {"frames": 1}), [3])) == {}


def test_tensorboard_writes_files_and_changes_no_record(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is in the lock file")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain, plan = small.store(tmp_path / "plain")
    work(plain, plan.groups)
    logged, _ = small.store(tmp_path / "logged")
    with Loggers(["tensorboard"], logged, "small") as loggers:
        work(logged, plan.groups, callbacks=loggers.of)
    (group,) = plan.groups
    assert small.products(logged.folder(group)) == small.products(plain.folder(group))
    events = EventAccumulator(str(logged.root / "tensorboard" / group.run_id)).Reload()
    points = events.Scalars("evaluation/best_return/seed 0")
    assert [p.step for p in points] == [0, 80, 160]


def test_wandb_gets_one_run_per_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    logged: list[dict[str, float]] = []

    def init(**options: Any) -> Any:
        started.append(options)
        return SimpleNamespace(log=logged.append, finish=lambda: started.append({"finished": True}))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=None))
    store, plan = small.store(tmp_path / "s")
    with Loggers(["wandb"], store, "small") as loggers:
        work(store, plan.groups, callbacks=loggers.of)
    assert started[0]["id"] == plan.groups[0].run_id
    assert started[0]["resume"] == "allow"
    assert started[-1] == {"finished": True}
    assert any("evaluation/best_return/seed 0" in row and row["frames"] == 160 for row in logged)


def test_what_is_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlnet_bench.runs.loggers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "rlnet-bench\[wandb\]"'):
        require("wandb")
    with pytest.raises(UnknownName, match="Did you mean 'tensorboard'"):
        require("tensorbord")
