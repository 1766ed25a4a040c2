"""Rows beside checkpoints: stored once, named by their digest, swept when no kept checkpoint needs them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlnet_bench.errors import StoreError
from rlnet_bench.learning.learner import Piece, Segment
from rlnet_bench.runs import segments
from rlnet_bench.runs.checkpoint import flatten, read_newest, write_checkpoint

CAPACITY = 8


class Ring:
    """The smallest thing that only grows: row k is the number k, the newest 8 are held."""

    def __init__(self) -> None:
        self.position = 0
        self.segments: Any = ()

    @property
    def first(self) -> int:
        return max(0, self.position - CAPACITY)

    def pieces(self, start: int) -> Iterator[Piece]:
        if max(start, self.first) < self.position:
            rows = torch.arange(max(start, self.first), self.position)
            yield Piece(int(rows[0]), self.position, {"row": rows, "square": rows.float() ** 2})

    def load(self, stored: Any) -> None:
        held = {int(k) for piece in stored.pieces(stored.first) for k in piece.tensors["row"]}
        assert set(range(stored.first, stored.position)) <= held
        self.position, self.segments = stored.position, stored.segments


def files(folder: Path) -> set[str]:
    return {p.name for p in (folder / segments.ROWS).iterdir()}


def write(folder: Path, ring: Ring, position: int) -> None:
    ring.position = position
    write_checkpoint(folder, position, {"learner": {"ring": ring, "w": torch.ones(1), "list": [1, ring]}})


def read(folder: Path) -> tuple[Ring, list[str]]:
    state, notes = read_newest(folder)
    ring = Ring()
    if state is not None:
        ring.load(state["learner"]["ring"])
    return ring, notes


def spans(ring: Ring) -> list[tuple[int, int]]:
    return [(s.start, s.stop) for s in ring.segments]


def test_a_checkpoint_costs_what_changed(tmp_path: Path) -> None:
    ring = Ring()
    write(tmp_path, ring, 6)
    before = {name: (tmp_path / segments.ROWS / name).stat().st_mtime_ns for name in files(tmp_path)}
    write(tmp_path, ring, 7)
    assert spans(ring) == [(0, 6), (6, 7)] and len(files(tmp_path)) == 2
    assert all((tmp_path / segments.ROWS / n).stat().st_mtime_ns == t for n, t in before.items())
    assert spans(read(tmp_path)[0]) == [(0, 6), (6, 7)]


def test_what_neither_kept_checkpoint_needs_is_removed(tmp_path: Path) -> None:
    ring = Ring()
    for position in (3, 6, 9, 12, 15):
        write(tmp_path, ring, position)
    assert spans(ring) == [(6, 9), (9, 12), (12, 15)]  # rows 7 to 14 are held
    assert len(files(tmp_path)) == 4  # and 3 to 6, which the checkpoint before needs (rows 4 to 11)
    write(tmp_path, ring, 60)  # everything before was overwritten meanwhile
    assert spans(ring) == [(52, 60)] and len(files(tmp_path)) == 4
    write(tmp_path, ring, 60)
    write(tmp_path, ring, 61)
    assert spans(ring) == [(52, 60), (60, 61)] and len(files(tmp_path)) == 2


HARMS = {
    "cut": lambda f: os.truncate(f, f.stat().st_size - 1),
    "empty": lambda f: os.truncate(f, 0),
    "one bit": lambda f: f.write_bytes(f.read_bytes()[:-3] + bytes([f.read_bytes()[-3] ^ 4]) + f.read_bytes()[-2:]),
    "gone": lambda f: f.unlink(),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_damage_falls_back_and_is_mended(tmp_path: Path, harm: Any) -> None:
    ring = Ring()
    write(tmp_path, ring, 4)
    write(tmp_path, ring, 6)
    name = segments.file_name(ring.segments[-1].sha256)
    harm(tmp_path / segments.ROWS / name)
    with pytest.raises(StoreError):
        segments.verify(tmp_path / segments.ROWS, [ring.segments[-1].sha256])
    ring, notes = read(tmp_path)
    assert ring.position == 4 and spans(ring) == [(0, 4)]
    assert len(notes) == 1 and notes[0].startswith(f"checkpoint {6:015d} is damaged (")
    write(tmp_path, ring, 6)  # the same rows, made again
    assert read(tmp_path)[0].position == 6 and name in files(tmp_path)


def test_damage_of_what_both_need_leaves_none(tmp_path: Path) -> None:
    ring = Ring()
    write(tmp_path, ring, 4)
    write(tmp_path, ring, 6)
    (tmp_path / segments.ROWS / segments.file_name(ring.segments[0].sha256)).unlink()
    found, notes = read(tmp_path)
    assert found.position == 0 and len(notes) == 2


def test_rows_beyond_the_checkpoint_that_is_resumed_go(tmp_path: Path) -> None:
    ring = Ring()
    write(tmp_path, ring, 4)
    write(tmp_path, ring, 6)
    lost = segments.file_name(ring.segments[-1].sha256)
    (tmp_path / f"{6:015d}" / "state.json").write_text("{")
    ring, _ = read(tmp_path)
    write(tmp_path, ring, 5)
    assert lost not in files(tmp_path) and spans(read(tmp_path)[0]) == [(0, 4), (4, 5)]


def test_another_folder_gets_all_of_it(tmp_path: Path) -> None:
    ring = Ring()
    write(tmp_path / "a", ring, 4)
    write(tmp_path / "b", ring, 6)
    assert spans(read(tmp_path / "b")[0]) == [(0, 6)]


def test_a_writer_that_was_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    ring = Ring()
    write(tmp_path, ring, 4)
    (tmp_path / segments.ROWS / ".4-6.77").write_text("half")
    write(tmp_path, ring, 5)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    ring = Ring()
    write(tmp_path, ring, 4)
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write(tmp_path, ring, 6)
    assert spans(ring) == [(0, 4)]
    assert read(tmp_path)[0].position == 4
    write(tmp_path, ring, 6)
    assert spans(read(tmp_path)[0]) == [(0, 4), (4, 6)]


def test_rows_are_compared_whole() -> None:
    ring = Ring()
    ring.position = 3
    ring.segments = (Segment(0, 3, "x"),)
    _, tensors = flatten({"ring": ring})
    assert tensors["ring/pieces/0/row"].tolist() == [0, 1, 2]
