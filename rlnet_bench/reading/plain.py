"""JSON as plain data of bounded depth, count and size: finite numbers of moderate length, no key twice."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import MAX_BYTES, as_text, read_bytes
from rlnet_bench.reading.shapes import check

T = TypeVar("T")

MAX_DEPTH = 40
MAX_VALUES = 8_000_000  # of one document
MAX_TEXT = 1 << 20  # characters of one string
MAX_WHOLE = 2**128  # states of generators are long; where a number is counted with, its shape has a lower limit


def read_json(path: Path, most: int = MAX_BYTES, *, links: bool = False, shape: Any = None) -> Any:
    """A JSON file as plain data, of a shape (:mod:`rlnet_bench.reading.shapes`) where one is given.

    Raises:
        Absent: when there is none.
        Malformed: with file, and line or key, for everything else.
    """
    found = parse_json(read_bytes(path, most, links=links), str(path))
    if shape is not None:
        check(found, shape, str(path))
    return found


def parse_json(data: bytes | str, where: str, *, finite: bool = True) -> Any:
    """JSON text as plain data; raises Malformed. NaN and infinities are refused unless ``finite`` is False."""
    text = data if isinstance(data, str) else as_text(data, where)
    if len(text) > MAX_VALUES and text.count(",") + text.count("{") + text.count("[") > MAX_VALUES:
        raise Malformed(where, f"at most {MAX_VALUES} values", "a document of more")
    try:
        found = (_DECODER if finite else _LENIENT).decode(text)
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}" if "\n" in text else where
        raise Malformed(place, "JSON", f"a syntax error ({error.msg})") from None
    except RecursionError:
        raise Malformed(where, f"at most {MAX_DEPTH} levels", "a deeper nesting") from None
    except _Twice as error:
        raise Malformed(where, f"the key {str(error)[:80]!r} once in its object", "a second one") from None
    except ValueError as error:  # of _no_constant, or an integer of thousands of digits
        raise Malformed(where, "finite numbers of moderate length", f"a number that is not one ({error})") from None
    bounded(found, where, finite=finite)
    return found


def signed(data: Mapping[str, Any]) -> str:
    """JSON text that carries the digest of itself: a change by hand or by accident is seen, a forger's is not."""
    body = json.dumps(data)
    return f'{body[:-1]}, "check": "{hashlib.sha256(body.encode()).hexdigest()[:16]}"}}'


def parse_signed(text: bytes, where: str) -> Any:
    """What :func:`signed` wrote, without the digest.

    Raises:
        Malformed: when it is anything else.
    """
    text = text.rstrip(b"\n")
    check, body = _CHECK.fullmatch(text, max(0, len(text) - _CHECK_BYTES)), text[:-_CHECK_BYTES] + b"}"
    if check is None or check[1].decode() != hashlib.sha256(body).hexdigest()[:16]:
        raise Malformed(where, "the text that its own digest was made of", "a changed one")
    return parse_json(body, where)


_CHECK = re.compile(rb', "check": "([0-9a-f]{16})"\}')
_CHECK_BYTES = len(', "check": "0123456789abcdef"}')


def read_lines(path: Path, parse: Callable[[bytes, str], T]) -> tuple[list[T], int]:
    """What ``parse(bytes, where)`` makes of every complete line, and the length in bytes of that part.

    A torn last line (no newline, or not to be parsed) is left out: a process was killed while writing it. Nothing
    is read of a file that is absent.

    Raises:
        Malformed: for a broken line that is not the last.
    """
    try:
        data = read_bytes(path)
    except Malformed:
        if not os.path.lexists(path):
            return [], 0
        raise
    found: list[T] = []
    good = 0
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces[:-1], 1):
        try:
            found.append(parse(piece, f"{path}: line {number}"))
        except Malformed:
            if number == len(pieces) - 1 and not pieces[-1]:
                break
            raise
        good += len(piece) + 1
    return found, good


class _Twice(Exception):
    """A key that is twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        raise _Twice(next(key for key in names if names.count(key) > 1))
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
_LENIENT = json.JSONDecoder(object_pairs_hook=_once)


def bounded(value: Any, where: str, *, finite: bool = True) -> None:
    """Raise Malformed, with the key, for depth, long text, lone surrogates, and numbers nobody can store."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                deeper += item.values()
                deeper += item  # the keys are text, too
            elif kind is list:
                deeper += item
            elif (
                (kind is float and finite and not math.isfinite(item))
                or (kind is int and not -MAX_WHOLE < item < MAX_WHOLE)
                or (kind is str and (len(item) > MAX_TEXT or not _is_text(item)))
            ):
                raise Malformed(*_complaint(value, item, where))
        level = deeper
        if not level:
            return
    raise Malformed(where, f"at most {MAX_DEPTH} levels", "a deeper nesting")


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _complaint(root: Any, bad: Any, where: str) -> tuple[str, str, str]:
    at = f"{where}{_path_to(root, bad)}"
    if isinstance(bad, float):
        return at, "a finite number", f"a number that is none ({bad})"
    if isinstance(bad, int):
        return at, "a whole number of at most 128 bits", f"a number of {bad.bit_length()} bits"
    if len(bad) > MAX_TEXT:
        return at, f"text of at most {MAX_TEXT} characters", "a longer one"
    return at, "Unicode text", "a half of a surrogate pair"


def _path_to(root: Any, bad: Any) -> str:
    """``: a/b/3``, where an object stands in plain data."""
    stack: list[tuple[Any, tuple[str, ...]]] = [(root, ())]
    while stack:
        item, path = stack.pop()
        if item is bad:
            return ": " + "/".join(path)[:200] if path else ""
        if isinstance(item, dict):
            stack += ((v, (*path, repr(k)[1:-1])) for k, v in item.items())
        elif isinstance(item, list):
            stack += ((v, (*path, str(i))) for i, v in enumerate(item))
    return ""
