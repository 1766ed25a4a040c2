"""Records: chained lines, torn ends, tampering, lines made again."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnet_bench.errors import NotReproducible, StoreError
from rlnet_bench.runs.recorder import Recorder
from rlnet_bench.runs.records import (
    CHAIN_START,
    DamagedRecord,
    EvalLine,
    chained,
    check_chain,
    parse_line,
    read_evals,
    read_timings,
)


def line(point: int, seed: int = 0, value: float = 0.1) -> EvalLine:
    returns = np.full((2, 3), np.float32(value), dtype=np.float64)
    return EvalLine(
        "curve", "deterministic", seed, point, point * 10, point * 10, point, returns, np.ones(2),
        np.full(2, 25), "abc",
    )  # fmt: skip


def write(folder: Path, *lines: EvalLine) -> Path:
    recorder = Recorder(folder)
    for one in lines:
        recorder.record(one)
    recorder.sync()
    recorder.close()
    return folder / "evals.jsonl"


LINES = [line(p, s, 0.1 + p + s) for p in range(3) for s in (0, 1)]


def test_lines_are_chained_per_seed(tmp_path: Path) -> None:
    data = read_evals(write(tmp_path, *LINES))[0]
    assert check_chain(data) is None and len(data) == 6
    assert json.loads(chained(LINES[0], CHAIN_START))["chain"] == data[0].chain
    assert json.loads(chained(LINES[2], data[0].chain))["chain"] == data[2].chain
    assert len({x.chain for x in data}) == 6


@pytest.mark.parametrize("stop", range(7))
def test_stopping_anywhere_and_going_on_makes_the_same_file(tmp_path: Path, stop: int) -> None:
    expected = write(tmp_path / "whole", *LINES).read_bytes()
    write(tmp_path / "twice", *LINES[:stop])
    for start in range(stop + 1):  # a resumed run makes again what came after its checkpoint
        assert write(tmp_path / "twice", *LINES[start:]).read_bytes() == expected


@pytest.mark.parametrize("cut", [1, 5, 100])
@pytest.mark.parametrize("tail", [b"", b"\x00\x00", b'{"half'])
def test_a_torn_last_line_is_cut(tmp_path: Path, cut: int, tail: bytes) -> None:
    file = write(tmp_path, *LINES)
    expected = file.read_bytes()
    file.write_bytes(expected[:-cut] + tail)
    assert len(read_evals(file)[0]) == 5
    assert write(tmp_path, LINES[5]).read_bytes() == expected


def test_a_last_line_of_nonsense_with_a_newline_is_cut(tmp_path: Path) -> None:
    file = write(tmp_path, *LINES)
    expected = file.read_bytes()
    file.write_bytes(expected + b"\x00\x00\n")
    assert write(tmp_path).read_bytes() == expected


def test_torn_timings_are_cut(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.timing(frames=1)
    recorder.close()
    with (tmp_path / "timings.jsonl").open("a") as handle:
        handle.write('{"fra')
    again = Recorder(tmp_path)
    again.timing(frames=2)
    assert [x["frames"] for x in read_timings(tmp_path / "timings.jsonl")[0]] == [1, 2]


def test_tampering_is_detected_wherever_it_is(tmp_path: Path) -> None:
    file = write(tmp_path, *LINES)
    good = file.read_text().splitlines()
    for i in range(len(good)):
        changed = good.copy()
        changed[i] = changed[i].replace('"updates": ', '"updates": 1')
        file.write_text("\n".join(changed) + "\n")
        with pytest.raises(DamagedRecord, match=rf"line {i + 1} \(seed .\): chain digest .* was changed after it was"):
            Recorder(tmp_path)


def test_a_removed_or_swapped_line_is_detected(tmp_path: Path) -> None:
    file = write(tmp_path, *LINES)
    good = file.read_text().splitlines()
    for changed in (good[1:], good[:2] + good[3:], [good[2], good[1], good[0], *good[3:]]):
        file.write_text("\n".join(changed) + "\n")
        with pytest.raises(DamagedRecord, match="chain digest"):
            Recorder(tmp_path)


def test_a_broken_line_in_the_middle_is_damage(tmp_path: Path) -> None:
    file = write(tmp_path, *LINES)
    good = file.read_text().splitlines()
    file.write_text("\n".join([good[0], "{", *good[2:]]) + "\n")
    with pytest.raises(DamagedRecord, match=r"evals\.jsonl: line 2 is not JSON"):
        Recorder(tmp_path)


def test_a_line_made_again_must_be_the_same(tmp_path: Path) -> None:
    write(tmp_path, *LINES)
    recorder = Recorder(tmp_path)
    recorder.record(LINES[2])
    other = replace(LINES[2], returns=LINES[2].returns + 1e-6)
    with pytest.raises(NotReproducible, match=r"the curve line of seed 0 at frame 10 \(deterministic\) was made again"):
        recorder.record(other)
    with pytest.raises(NotReproducible):
        recorder.record(replace(LINES[2], weights="other"))


def test_heads_say_how_far_a_record_went(tmp_path: Path) -> None:
    write(tmp_path, *LINES[:4])
    heads = Recorder(tmp_path).heads()
    file = write(tmp_path, *LINES[4:])
    assert Recorder(tmp_path).holds(heads)
    assert not Recorder(tmp_path / "elsewhere").holds(heads)
    file.write_text("".join(x + "\n" for x in file.read_text().splitlines()[:3]))
    assert not Recorder(tmp_path).holds(heads) and Recorder(tmp_path).holds({})


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    """A worker that slept through its lease finds that another has gone on."""
    sleeper, other = Recorder(tmp_path), Recorder(tmp_path)
    other.record(LINES[0])
    with pytest.raises(StoreError, match="another process wrote here; this worker has lost its lease"):
        sleeper.record(LINES[0])
    assert len(read_evals(tmp_path / "evals.jsonl")[0]) == 1


@pytest.mark.parametrize("function", ["write", "fsync"])
def test_a_full_disk_is_a_sentence_and_earlier_lines_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    recorder = Recorder(tmp_path)
    recorder.record(LINES[0])
    recorder.sync()

    def no(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, no)
        with pytest.raises(StoreError, match=r"evals\.jsonl: cannot be written \(No space left on device\)"):
            recorder.record(LINES[1])
            recorder.sync()
    recorder.close()
    assert write(tmp_path, *LINES).read_bytes() == write(tmp_path / "whole", *LINES).read_bytes()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_numbers_come_back_as_the_same_float32(values: list[float]) -> None:
    data = replace(line(0), returns=np.array([values]), success=np.zeros(1), length=np.zeros(1, dtype=np.int64))
    back = parse_line(chained(data, CHAIN_START).encode(), "here")
    assert back.returns.astype(np.float32).tobytes() == np.array([values], dtype=np.float32).tobytes()
    assert chained(back, CHAIN_START) == chained(data, CHAIN_START)


def test_malformed_lines_are_refused() -> None:
    good = chained(LINES[0], CHAIN_START)
    for old, new, complaint in (
        ("[[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]", "[1.0, 2.0]", "expected an evaluation line as it was written, with ret"),
        (
            "[[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]",
            "[[1.0, 2.0]]",
            "expected 1 episodes of 2 agents, found 2 ret",
        ),
        ("[[0.1, 0.1, 0.1],", "[[0.1, NaN, 0.1],", "returns: expected numbers alone, found other characters"),
        ("[[0.1, 0.1, 0.1],", '[[0.1, "0.1", 0.1],', "returns: expected numbers alone, found other characters"),
        ('"frames": 0', '"frames": -1', "frames: expected a whole number of at least 0, found -1"),
        ('"frames": 0', '"frames": 0, "frames": 0', "expected the key 'frames' once in its object"),
        ('"frames": 0', '"frames": 0, "more": 0', "expected the fields kind, mode, seed"),
        ('"kind": "curve"', '"kind": ["curve"]', r"kind: expected one of curve, final, .*, found \['curve'\]"),
        (', "chain"', ',"chain"', "expected a line that ends with its chain digest"),
    ):
        assert old in good
        with pytest.raises(StoreError, match=f"here: {complaint}"):
            parse_line(good.replace(old, new).encode(), "here")


@pytest.mark.parametrize("number", ["1e999", "1.2.3", "9" * 5000, "--1"])
def test_numbers_that_are_none_are_a_sentence_when_they_are_asked_for(number: str) -> None:
    line = parse_line(chained(LINES[0], CHAIN_START).replace("[[0.1", f"[[{number}").encode(), "here")
    with pytest.raises(DamagedRecord, match="here: returns: expected finite numbers, found others"):
        line.team  # noqa: B018


def test_what_has_no_numbers_at_all_ends_in_a_sentence() -> None:
    deep = chained(LINES[0], CHAIN_START).replace("[[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]", "[" * 9999 + "1" + "]" * 9999)
    with pytest.raises(StoreError, match="here"):
        parse_line(deep.encode(), "here").team  # noqa: B018
