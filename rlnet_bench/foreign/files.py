"""What other tools write: the values that their formats are made of, each with the place of every complaint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.reading.files import MiB, read_text
from rlnet_bench.reading.plain import parse_json, read_json

MAX_BYTES = 1024 * MiB  # of CSV, which is read row by row
MAX_FILES = 20_000


def load_text(path: Path) -> str:
    """A text file as UTF-8; raises Malformed. The user named it, so that it may be a link."""
    return read_text(path, MAX_BYTES, links=True)


def load_json(path: Path, *, finite: bool = True) -> Any:
    """A JSON file; raises Malformed, as :func:`~rlnet_bench.reading.plain.parse_json`."""
    return read_json(path, links=True) if finite else parse_json(load_text(path), str(path), finite=False)


def mapping(value: Any, where: str, what: str = "an object") -> dict[str, Any]:
    """The value, if it is an object with something in it."""
    if not isinstance(value, dict) or not value:
        raise Malformed(where, what, value)
    return value


def number(value: Any, where: str) -> float:
    """A finite number; sacred's wrapped numpy numbers (``{"value": 1.0, ...}``) are unwrapped."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    try:
        is_good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        is_good = False
    if not is_good:
        raise Malformed(where, "a finite number", value)
    return float(value)


def whole(value: Any, where: str) -> int:
    """A whole number of at least 0."""
    found = number(value, where)
    if found < 0 or found != math.floor(found) or found > 2**62:
        raise Malformed(where, "a whole number of at least 0", value)
    return int(found)


def numbers(value: Any, where: str) -> list[float]:
    """A non-empty list of finite numbers; a bare number is a list of one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list) or not value:
        raise Malformed(where, "a list of numbers", value)
    return [number(x, f"{where}[{i}]") for i, x in enumerate(value)]


def found_files(root: Path, pattern: str) -> list[Path]:
    """The file itself, or the files of a directory that match a pattern, sorted.

    Raises:
        BadInput: when there is none, or far too many.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such file or directory.")
    files = []
    for path in root.rglob(pattern):
        files.append(path)
        if len(files) > MAX_FILES:
            raise BadInput(f"{root}: more than {MAX_FILES} files match {pattern}; give a smaller directory.")
    if not files:
        raise BadInput(f"{root}: expected a file {pattern} in it or below, found none.")
    return sorted(files)


def seed_of(text: str, fallback: int | None = None) -> int | None:
    """The whole number at the end of ``seed_3``, ``run_3`` or ``3``."""
    digits = ""
    for character in reversed(text.strip()):
        if not (character.isascii() and character.isdigit()):
            break
        digits = character + digits
    return int(digits) if digits and len(digits) <= 18 else fallback
