"""Strict YAML: plain data only, every value knows its line, every refusal says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput
from rlnet_bench.reading.yaml import MAX_BYTES, MAX_DEPTH, load


def test_every_value_knows_its_line() -> None:
    document = load("name: a\ntasks:\n  - x\n  - y\nbudget: {frames: 5}\n", "s.yaml")
    assert document.data == {"name": "a", "tasks": ["x", "y"], "budget": {"frames": 5}}
    lines = {("name",): 1, ("tasks",): 2, ("tasks", 1): 4, ("budget", "frames"): 5}
    assert {path: document.line(path) for path in lines} == lines
    assert document.where(("budget", "nothing", "deeper")) == "s.yaml:5"
    assert document.where() == "s.yaml:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\n", r"s:3: not valid YAML: "),
        ("a: 1\na: 2\n", r"s:2: key 'a' appears twice \(first on line 1\)"),
        ("a: {b: 1}\nc:\n  d: 1\n  d: 2\n", r"s:4: key 'd' appears twice \(first on line 3\)"),
        ("a: &x 1\nb: 2\n", r"s:1: anchors and aliases .* are not allowed"),
        ("a: 1\nb: *x\n", r"s:2: "),
        ("a: !!python/object/apply:os.system [ls]\n", r"s:1: the tag .* is not allowed"),
        ("a: !!str 5\n", r"s:1: the tag .* is not allowed"),
        ("a: 1\n[1, 2]: 3\n", r"s:2: a key must be a plain word"),
        ("x: 1\n<<: {a: 1}\n", r"s:2: '<<' is not a valid key"),
        ("2020-99-99: 1\n", r"s:1: '2020-99-99' is not a valid key"),
        ("a: 2020-99-99\n", r"s:1: '2020-99-99' is not a valid value"),
        ("a: " + "9" * 5000 + "\n", r"s:1: .* is not a valid value"),
        ("a: 2020-01-01\n", r"s:1: '2020-01-01' is not a valid value"),
        ("a: .inf\n", r"s:1: expected a finite number"),
        ("a: 1e999\nb: .nan\n", r"s:2: expected a finite number"),
        ("\na: " + "9" * 400 + "\n", r"s:2: expected a whole number of at most 128 bits"),
        ('a: "\\ud800"\n', r"s:1: expected Unicode text, found a half of a surrogate pair"),
        ("a: [" + "1, " * 20_000 + "1]\n", r"s:1: expected at most 20000 values, found more"),
        ("a: 1\n---\nb: 2\n", r"s:2: not valid YAML"),
        ("a: \x00\n", r"s: not valid YAML|s:1: not valid YAML"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), rf"s:1: nested deeper than {MAX_DEPTH} levels"),
        ("a" * (MAX_BYTES + 1), r"s: expected at most 256 KiB"),
    ],
)
def test_refusals_say_where(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load(text, "s")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.yaml: expected a regular file, found nothing there"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(BadInput, match="expected a regular file, found a folder"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(BadInput, match=r"latin\.yaml, line 1: expected UTF-8 text"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(BadInput, match="expected at most 256 KiB, found a file of 257 KiB"):
        load(tmp_path / "big.yaml")


def test_empty_is_nothing() -> None:
    assert load("", "s").data is None and load("# only a comment\n", "s").data is None


def test_a_billion_laughs_are_refused_before_they_are_built() -> None:
    text = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi"))
    with pytest.raises(BadInput, match="anchors and aliases"):
        load(text, "s")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("ab:-[]{}&*!<>|#\n '\"0123.~", max_size=60))
def test_any_text_is_plain_data_or_a_sentence(text: str) -> None:
    try:
        load(text, "s")
    except BadInput as error:
        assert str(error).startswith("s")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text("abc é", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(plain)
def test_round_trip(data: object) -> None:
    import yaml

    assert load(yaml.safe_dump(data, allow_unicode=True), "s").data == data
