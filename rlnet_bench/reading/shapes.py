"""What a piece of plain data must look like: a small language of shapes, and one function that checks them.

A shape is a type (``int`` means a whole number of at least 0, ``float`` any finite number), a tuple of allowed
values, a list of one shape (a list of such items), a dict (these keys; ``"key?"`` may be absent, others are let
through), :class:`Each` (a mapping of keys to one shape), :class:`Maybe` (or null), or a function
``(value, where) -> value``, which raises.

>>> check({"status": "ok", "seeds": [0, 1]}, {"status": ("ok", "failed"), "seeds": [int], "reason?": str}, "x")
>>> check({"seeds": ["0"]}, {"seeds": [int]}, "status.json")
Traceback (most recent call last):
rlnet_bench.errors.Malformed: status.json: seeds/0: expected a whole number of at least 0, found '0'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlnet_bench.errors import Malformed

Shape = Any  # see above: a type, a tuple, a list, a dict, Each, Maybe, or a function

MAX_COUNT = 2**62
WHOLE = "a whole number of at least 0"
_WORDS = {str: "text", bool: "true or false", dict: "a mapping", list: "a list", int: WHOLE, float: "a finite number"}


@dataclass(frozen=True)
class Each:
    """A mapping, all of whose keys and values have one shape."""

    value: Shape
    key: Callable[[str, str], object] | None = None


@dataclass(frozen=True)
class Maybe:
    """A shape, or null."""

    shape: Shape


def check(value: Any, shape: Shape, where: str, path: str = "") -> None:
    """Raise Malformed, with the path to it, for the first thing that is not as its shape says."""
    at = f"{where}: {path}" if path else where
    if isinstance(shape, type):
        if not _is(value, shape):
            raise Malformed(at, _WORDS[shape], value)
    elif isinstance(shape, Maybe):
        if value is not None:
            check(value, shape.shape, where, path)
    elif isinstance(shape, tuple):
        if not any(type(value) is type(one) and value == one for one in shape):
            raise Malformed(at, f"one of {', '.join(map(str, shape))}", value)
    elif isinstance(shape, list):
        check(value, list, where, path)
        for i, item in enumerate(value):
            check(item, shape[0], where, _join(path, str(i)))
    elif isinstance(shape, dict):
        check(value, dict, where, path)
        for name, inner in shape.items():
            key = name.removesuffix("?")
            if key in value:
                check(value[key], inner, where, _join(path, key))
            elif key == name:
                raise Malformed(at, f"a key {key!r}", sorted(value)[:20] or "nothing")
    elif isinstance(shape, Each):
        check(value, dict, where, path)
        for key, item in value.items():
            if shape.key is not None:
                shape.key(key, at)
            check(item, shape.value, where, _join(path, repr(key)[1:-1]))
    else:
        shape(value, at)


def seed_text(key: str, where: str) -> int:
    """The key of a seed in a JSON mapping: a whole number as its shortest text."""
    if not (key.isascii() and key.isdigit() and len(key) <= 18 and str(int(key)) == key):
        raise Malformed(where, "seeds as whole numbers of at least 0", key)
    return int(key)


def _is(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and 0 <= value <= MAX_COUNT
    if kind is float:
        return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= MAX_COUNT)
    return type(value) is kind


def _join(path: str, key: str) -> str:
    return f"{path}/{key}"[:300] if path else key
