"""JSON, shapes, names and safetensors: plain data of bounded size, or a sentence with its place."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.names import checked_name, harmless
from rlnet_bench.reading.plain import MAX_DEPTH, MAX_TEXT, parse_json
from rlnet_bench.reading.shapes import Each, Maybe, check, seed_text
from rlnet_bench.reading.tensors import checked_tensors, read_arrays


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "f: expected JSON, found a syntax error"),
        ('{"a": 1,\n"b": }', "f, line 2: expected JSON, found a syntax error"),
        ('{"a": 1, "a": 2}', "f: expected the key 'a' once in its object, found a second one"),
        ('{"a": [0, NaN]}', "f: expected finite numbers of moderate length, found a number that is not one"),
        ('{"a": -Infinity}', "expected finite numbers of moderate length"),
        ('{"a": [0, 1e999]}', "f: a/1: expected a finite number, found a number that is none"),
        ('{"a": ' + "9" * 400 + "}", "f: a: expected a whole number of at most 128 bits, found a number of 1329 bits"),
        ('{"a": ' + "9" * 5000 + "}", "expected finite numbers of moderate length"),
        ("[" * 100_000 + "]" * 100_000, f"f: expected at most {MAX_DEPTH} levels, found a deeper nesting"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"expected at most {MAX_DEPTH} levels"),
        ('{"a": "\\ud800"}', "f: a: expected Unicode text, found a half of a surrogate pair"),
        ('{"\\ud800": 1}', "expected Unicode text"),
        ('"' + "x" * (MAX_TEXT + 1) + '"', "expected text of at most 1048576 characters"),
        ("[" + "[]," * 8_000_001 + "1]", "expected at most 8000000 values, found a document of more"),
        ('{"a": "\0"}', "f, line 1: expected text, found a zero byte"),
        ("\x00", "expected text, found a zero byte"),
    ],
    ids=lambda x: x[:24],
)
def test_refusals_say_where(text: str, sentence: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_json(text.encode("utf-8", "surrogatepass"), "f")
    assert sentence in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_within_bounds_is_read() -> None:
    for value in ({"a": [1, 2.5, None, True, "ü"]}, [2**127, -(2**127)], "x", json.loads("[" * 39 + "]" * 39)):
        assert parse_json(json.dumps(value), "f") == value


@given(st.text(max_size=60) | st.text('{}[]",:0123456789.eE+-truefalsn\\ud8', max_size=60))
def test_any_text_is_plain_data_or_a_sentence(text: str) -> None:
    try:
        json.dumps(parse_json(text.encode("utf-8", "surrogatepass"), "f"), allow_nan=False)
    except Malformed as error:
        assert str(error).startswith("f")


SHAPE = {
    "status": ("ok", "failed"), "seeds": Each(("ok",), seed_text), "count": int, "rates?": [float],
    "name?": checked_name, "inner?": Maybe({"flag": bool}),
}  # fmt: skip
GOOD: dict[str, Any] = {"status": "ok", "seeds": {"0": "ok", "12": "ok"}, "count": 3, "inner": None, "more": [1]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "fine"}, "f: status: expected one of ok, failed, found 'fine'"),
        ({"status": ["ok"]}, "f: status: expected one of ok, failed, found ['ok']"),
        ({"seeds": []}, "f: seeds: expected a mapping, found []"),
        ({"seeds": {"x": "ok"}}, "f: seeds: expected seeds as whole numbers of at least 0, found 'x'"),
        ({"seeds": {"00": "ok"}}, "expected seeds as whole numbers"),
        ({"seeds": {"²": "ok"}}, "expected seeds as whole numbers"),
        ({"seeds": {"0": "no"}}, "f: seeds/0: expected one of ok"),
        ({"count": True}, "f: count: expected a whole number of at least 0, found True"),
        ({"count": -1}, "f: count: expected a whole number"),
        ({"count": 1.0}, "f: count: expected a whole number"),
        ({"rates": [1, "2"]}, "f: rates/1: expected a finite number, found '2'"),
        ({"rates": 1}, "f: rates: expected a list, found 1"),
        ({"name": "a\x1b"}, "f: name: expected a name of 1 to 200 printable characters, found 'a\\x1b'"),
        ({"inner": {"flag": 1}}, "f: inner/flag: expected true or false, found 1"),
        ({"inner": {}}, "f: inner: expected a key 'flag', found nothing"),
    ],
)
def test_shapes(change: dict[str, Any], sentence: str) -> None:
    check(GOOD, SHAPE, "f")
    with pytest.raises(Malformed) as caught:
        check({**GOOD, **change}, SHAPE, "f")
    assert str(caught.value).startswith(sentence) or sentence in str(caught.value)


UNSEEN = [
    "",
    " ",
    "a\n",
    "a\x1b]0;t\x07",
    "\u202egpj",
    "a\u200bb",
    "a\u2028b",
    "\ufeff",
    "x" * 201,
    "a\x7f",
    5,
    None,
    "\x85",
]


@pytest.mark.parametrize("name", UNSEEN)
def test_names_are_seen_as_they_are(name: Any) -> None:
    with pytest.raises(Malformed, match="expected a name of 1 to 200 printable characters"):
        checked_name(name, "f")


def test_names_of_every_tongue_are_names() -> None:
    for name in ("mappo", "zoo/tag-3ppo", "my.py:Mine", "Ünïcode", "方法", "метод", "a b", "ippo\xa0wide"):
        assert checked_name(name, "f") == name


@given(st.text())
def test_nothing_that_a_terminal_obeys_comes_through(text: str) -> None:
    shown = harmless(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
    assert not set(shown) & set("\u202a\u202e\u2066\u200b")
    assert harmless(shown) == shown
    shown.encode()


def tensors(**arrays: np.ndarray) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


def test_safetensors_come_back(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(tensors(a=np.arange(6.0).reshape(2, 3), b=np.zeros((0, 2), dtype=np.float32)))
    assert read_arrays(file)["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and read_arrays(file)["b"].shape == (0, 2)


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def test_a_pickle_under_another_name_is_refused_and_not_run(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "w.safetensors"
    file.write_bytes(pickle.dumps(Canary(str(canary))))
    with pytest.raises(Malformed, match=r"w\.safetensors: expected safetensors, found a file without its header"):
        read_arrays(file)
    assert not canary.exists()
    pickle.load(io.BytesIO(file.read_bytes())).close()
    assert canary.exists()  # it is one


@pytest.mark.parametrize(
    "header",
    [
        [], {"a": 1}, {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1]}}, {"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, {},
    ],
)  # fmt: skip
def test_a_header_describes_what_follows_it(header: Any) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(Malformed, match="w"):
        checked_tensors(len(text).to_bytes(8, "little") + text + b"1234", "w")
    for data in (b"", b"123", (2**63).to_bytes(8, "little") + b"{}", tensors(a=np.zeros(2))[:-1]):
        with pytest.raises(Malformed, match="w"):
            checked_tensors(data, "w")
