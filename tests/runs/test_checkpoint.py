"""Checkpoints: whole or absent, verified, pruned, never pickled."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from rlnet_bench.errors import StoreError
from rlnet_bench.runs import checkpoint
from rlnet_bench.runs.checkpoint import KEEP, flatten, read_checkpoint, read_newest, unflatten, write_checkpoint


def state(n: int) -> dict[str, Any]:
    return {
        "frames": n, "rate": 0.1, "name": "x", "none": None, "flag": True, "list": [1, torch.ones(2)],
        "nested": {"w": torch.arange(3) * n, "empty": {}, "bool": torch.tensor([True, False])},
        "strange": torch.tensor([float("nan"), float("inf"), -0.0]), "big": torch.tensor([2**62], dtype=torch.int64),
    }  # fmt: skip


def names(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.iterdir())


def test_round_trip_to_the_bit(tmp_path: Path) -> None:
    back = read_checkpoint(write_checkpoint(tmp_path, 7, state(7)))
    assert json.dumps(flatten(back)[0]) == json.dumps(flatten(state(7))[0])
    for (name, a), (other, b) in zip(flatten(back)[1].items(), flatten(state(7))[1].items()):
        assert name == other and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def test_tensors_that_share_memory_and_views_are_stored_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0).view(2, 3)
    back = read_checkpoint(write_checkpoint(tmp_path, 1, {"a": base, "b": base, "c": base.t()}))
    assert torch.equal(back["a"], base) and torch.equal(back["b"], base) and torch.equal(back["c"], base.t())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"x": object()}, "x: cannot checkpoint a object"),
        ({"x": {"y": [{1, 2}]}}, r"x/y/0: cannot checkpoint a set"),
        ({3: 1}, "state keys must be strings without '/', found 3"),
        ({"a/b": 1}, "state keys must be strings without '/', found 'a/b'"),
    ],
)
def test_what_is_no_plain_data_is_named(tmp_path: Path, bad: dict[Any, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        write_checkpoint(tmp_path, 1, bad)
    assert not list(tmp_path.iterdir())


def test_tuples_come_back_as_lists() -> None:
    assert unflatten(*flatten({"a": (1, (2, 3))})) == {"a": [1, [2, 3]]}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for n in (10, 20, 30, 100, 1000):
        write_checkpoint(tmp_path, n, state(n))
    assert KEEP == 2 and names(tmp_path) == [100, 1000]
    newest, notes = read_newest(tmp_path)
    assert newest is not None and newest["frames"] == 1000 and notes == []


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert read_newest(tmp_path) == (None, []) and read_newest(tmp_path / "absent") == (None, [])


HARMS = {
    "cut": lambda p: os.truncate(p / "state.safetensors", 40),
    "empty": lambda p: os.truncate(p / "state.safetensors", 0),
    "changed": lambda p: (p / "state.safetensors").write_bytes((p / "state.safetensors").read_bytes()[:-1] + b"\x7f"),
    "no tensors": lambda p: (p / "state.safetensors").unlink(),
    "no tree": lambda p: (p / "state.json").unlink(),
    "cut tree": lambda p: os.truncate(p / "state.json", 20),
    "other format": lambda p: (p / "state.json").write_text('{"format": 99}'),
    "no directory": lambda p: [*(f.unlink() for f in p.iterdir()), p.rmdir(), p.write_text("")],
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_one_falls_back_with_a_sentence(tmp_path: Path, harm: Any) -> None:
    for n in (10, 20):
        write_checkpoint(tmp_path, n, state(n))
    harm(tmp_path / f"{20:015d}")
    newest, notes = read_newest(tmp_path)
    assert newest is not None and newest["frames"] == 10
    assert len(notes) == 1 and notes[0].startswith(f"checkpoint {20:015d} is damaged (")
    assert notes[0].endswith("; using the one before.")


def test_damaged_ones_ahead_do_not_crowd_out_new_ones(tmp_path: Path) -> None:
    for n in (100, 200):
        write_checkpoint(tmp_path, n, state(n))
        (tmp_path / f"{n:015d}" / "state.json").write_text("{")
    assert read_newest(tmp_path)[0] is None
    write_checkpoint(tmp_path, 10, state(10))
    newest, notes = read_newest(tmp_path)
    assert newest is not None and newest["frames"] == 10 and notes == [] and names(tmp_path) == [10]


def test_one_that_is_ahead_of_the_records_is_passed_over(tmp_path: Path) -> None:
    for n in (10, 20):
        write_checkpoint(tmp_path, n, state(n))
    newest, notes = read_newest(tmp_path, lambda found: found["frames"] < 15)
    assert newest is not None and newest["frames"] == 10
    assert notes == [f"checkpoint {20:015d} is ahead of the records, which lost lines; using the one before."]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    write_checkpoint(tmp_path, 10, state(10))

    def no(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, no)
        with pytest.raises(StoreError, match=r"cannot write a checkpoint \(No space left.*; the one before is safe"):
            write_checkpoint(tmp_path, 20, state(20))
    assert names(tmp_path) == [10] and read_newest(tmp_path)[0] is not None


def test_a_full_disk_inside_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any) -> None:
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", no)
    with pytest.raises(StoreError, match="No space left on device"):
        write_checkpoint(tmp_path, 20, state(20))


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".000000000000005.999").mkdir(parents=True)
    (tmp_path / ".000000000000005.999" / "state.json").write_text("{")
    assert read_newest(tmp_path) == (None, [])
    write_checkpoint(tmp_path, 10, state(10))
    assert names(tmp_path) == [10]


def test_writing_the_same_frame_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 10, state(1))
    write_checkpoint(tmp_path, 10, state(2))
    newest, _ = read_newest(tmp_path)
    assert newest is not None and newest["frames"] == 2


def test_nothing_is_pickled(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 10, state(10))
    assert sorted(p.name for p in folder.iterdir()) == ["state.json", "state.safetensors"]
